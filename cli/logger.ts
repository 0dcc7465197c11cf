/** The logger: JSON lines on stderr, readable ones when that is a terminal. */
import { type Logger, pino } from 'pino'

export type { Logger }

export const LOG_LEVELS = ['trace', 'debug', 'info', 'warn', 'error', 'fatal', 'silent'] as const
export type LogLevel = (typeof LOG_LEVELS)[number]

/** Writes at once: nothing is logged per request, and nothing may be lost at the end. */
export async function createLogger(level: LogLevel): Promise<Logger> {
  if (!process.stderr.isTTY) return pino({ level, base: null }, pino.destination(TO_STDERR))
  // Loading it takes a tenth of the time to start.
  const { default: pretty } = await import('pino-pretty')
  const stream = pretty({ destination: TO_STDERR.fd, sync: true, ignore: 'pid,hostname' })
  return pino({ level, base: null }, stream)
}

const TO_STDERR = { fd: 2, sync: true }
