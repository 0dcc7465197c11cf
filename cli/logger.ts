/** The logger: JSON lines on stderr, readable ones when that is a terminal. */
import { type Logger, pino } from 'pino'
import pretty from 'pino-pretty'

export type { Logger }

export const LOG_LEVELS = ['trace', 'debug', 'info', 'warn', 'error', 'fatal', 'silent'] as const
export type LogLevel = (typeof LOG_LEVELS)[number]

/** Writes at once: nothing is logged per request, and nothing may be lost at the end. */
export function createLogger(level: LogLevel): Logger {
  const stream = process.stderr.isTTY
    ? pretty({ destination: 2, sync: true, ignore: 'pid,hostname' })
    : pino.destination({ fd: 2, sync: true })
  return pino({ level, base: null }, stream)
}
