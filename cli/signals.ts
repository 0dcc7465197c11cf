/** What signals mean to a server: SIGTERM and SIGINT end it, SIGHUP makes it read files again. */
import { isatty } from 'node:tty'
import type { Logger } from './logger.ts'

/** One Ctrl+C under `npm start` arrives twice: from the terminal, and forwarded by npm. */
const SAME_KEY_MS = 100

/** @returns a promise that the first SIGTERM or SIGINT fulfils; a second one ends the process */
export function stopSignal(log: Logger): Promise<void> {
  return new Promise((resolve) => {
    let first: { readonly signal: NodeJS.Signals; readonly time: number } | null = null
    const onSignal = (signal: NodeJS.Signals, number: number): void => {
      if (first !== null) {
        const isEcho = signal === 'SIGINT' && signal === first.signal
        if (isEcho && performance.now() - first.time < SAME_KEY_MS) return
        process.exit(128 + number)
      }
      first = { signal, time: performance.now() }
      log.info({ signal }, 'stopping')
      resolve()
    }
    process.on('SIGTERM', onSignal)
    process.on('SIGINT', onSignal)
  })
}

/** Node would open a debugger, to which everybody on the machine can connect. */
export function ignoreDebuggerSignal(): void {
  process.on('SIGUSR1', () => {})
}

/** Something that can be read again while the server runs. */
export interface Reload {
  /** For the log. */
  readonly what: string
  /** @throws Error; then what was there is still in use */
  run(): Promise<void>
}

/**
 * What SIGHUP does: one reload after the other; signals that come before the next round begins
 * share it. One that comes while the server starts is kept: it would end the process. That our
 * terminal has gone ends the server, as ever.
 */
export class HangUps {
  readonly #log: Logger
  readonly #hadTerminal = isatty(TERMINAL)
  /** Null: not known yet. */
  #reloads: readonly Reload[] | null = null
  #last = Promise.resolve()
  #isWaiting = false
  readonly #onSignal = (): void => {
    if (this.#hadTerminal && !isatty(TERMINAL)) return void process.kill(process.pid, 'SIGTERM')
    if (this.#isWaiting) return
    this.#isWaiting = true
    if (this.#reloads !== null) this.#reload(this.#reloads)
  }

  constructor(log: Logger) {
    this.#log = log
    process.on('SIGHUP', this.#onSignal)
  }

  /** @param reloads none: the signal ends the process, one that was kept as well */
  begin(reloads: readonly Reload[]): void {
    this.#reloads = reloads
    if (reloads.length > 0) {
      if (this.#isWaiting) this.#reload(reloads)
      return
    }
    process.off('SIGHUP', this.#onSignal)
    if (this.#isWaiting) process.kill(process.pid, 'SIGHUP')
  }

  #reload(reloads: readonly Reload[]): void {
    this.#last = this.#last.then(() => {
      this.#isWaiting = false
      return reloadAll(reloads, this.#log)
    })
  }
}

/** Standard error: there the log goes. */
const TERMINAL = 2

async function reloadAll(reloads: readonly Reload[], log: Logger): Promise<void> {
  for (const { what, run } of reloads) {
    try {
      await run()
      log.info({ what }, 'reloaded')
    } catch (error) {
      const reason = (error as Error).message
      log.error({ what, reason }, 'not reloaded: what was there stays in use')
    }
  }
}
