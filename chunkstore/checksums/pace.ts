/** Keeps reading down to a rate. */
import { setTimeout } from 'node:timers/promises'
import { SCRUB_BURST_MS } from '../limits.ts'

export class Pace {
  readonly #bytesPerSecond: number
  /** When what was read until now may have been read, in the time of `performance.now`. */
  #due = 0

  /** @param bytesPerSecond 0: as fast as it goes */
  constructor(bytesPerSecond: number) {
    this.#bytesPerSecond = bytesPerSecond
  }

  /** To be awaited after so many bytes were read. */
  async after(bytes: number): Promise<void> {
    if (this.#bytesPerSecond === 0) return
    const now = performance.now()
    this.#due = Math.max(this.#due, now - SCRUB_BURST_MS)
    this.#due += (bytes * 1000) / this.#bytesPerSecond
    if (this.#due > now) await setTimeout(this.#due - now)
  }
}
