/** Tells the log who may not have what, and lets nobody fill it. */
import type { Export } from './export.ts'
import { REFUSALS_LOGGED_MS } from './limits.ts'
import type { Log } from './log.ts'

/** Kinds that are remembered; then all are forgotten. */
const REMEMBERED_MAX = 1000

export class RefusalLog {
  readonly #log: Log
  readonly #told = new Map<string, { at: number; since: number }>()

  constructor(log: Log) {
    this.#log = log
  }

  report({ name }: Export, reason: string, remote: string): void {
    this.tell({ export: name, reason }, remote, 'export refused')
  }

  /** The first of a kind in each period; then also how many there were in between. */
  tell(what: Readonly<Record<string, string>>, remote: string, message: string): void {
    const now = performance.now()
    const key = JSON.stringify([message, what])
    const last = this.#told.get(key)
    if (last !== undefined && now - last.at < REFUSALS_LOGGED_MS) {
      last.since++
      return
    }
    if (this.#told.size >= REMEMBERED_MAX) this.#told.clear()
    this.#told.set(key, { at: now, since: 0 })
    const moreBefore = last?.since ?? 0
    this.#log.info({ remote, ...what, moreBefore }, message)
  }
}
