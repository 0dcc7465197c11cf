/**
 * Faults of files as requests meet them. A disk that is full or broken fails a thousand requests a
 * second: the same fault of the same file is logged once in a while, with the number left out.
 */
import { FAULT_LOG_FILES_MAX, FAULT_LOG_MS } from './limits.ts'
import type { Log } from './options.ts'

interface Told {
  readonly time: number
  leftOut: number
}

export class FaultLog {
  readonly #log: Log
  readonly #told = new Map<string, Told>()

  constructor(log: Log) {
    this.#log = log
  }

  /** @param fields what is known beside the file and the errno */
  report(file: string, errno: number, message: string, fields: object = {}): void {
    const key = `${errno} ${message} ${file}`
    const now = performance.now()
    const told = this.#told.get(key)
    if (told !== undefined && now - told.time < FAULT_LOG_MS) {
      told.leftOut++
      return
    }
    if (this.#told.size >= FAULT_LOG_FILES_MAX) this.#told.clear()
    this.#told.set(key, { time: now, leftOut: 0 })
    const again = told === undefined || told.leftOut === 0 ? {} : { leftOut: told.leftOut }
    this.#log.error({ file, errno, ...fields, ...again }, message)
  }
}
