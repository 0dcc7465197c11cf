/**
 * Decides whether writes go to the kernel at once or by a thread. The kernel usually takes a write
 * in microseconds, but when too much is dirty it makes the writer wait: the loop must not. After a
 * write that took long the next ones go to threads for a while; if the first at once is slow
 * again, twice as long. One slow write alone may only mean that we were not on the processor.
 */

/** A write that took this long was made to wait. */
const SLOW_MS = 4
const PERIOD_MS_MIN = 4
const PERIOD_MS_MAX = 512
/** So many quick writes in a row, and the next slow one counts as the first. */
const QUICK_COUNT = 64

export class Slowness {
  #untilMs = 0
  #periodMs = PERIOD_MS_MIN
  #quick = 0

  /** @param now milliseconds of `performance.now()` */
  mustAvoid(now: number): boolean {
    return now < this.#untilMs
  }

  /** A write was given to the kernel at once, from `start` to `end`. */
  took(start: number, end: number): void {
    if (end - start < SLOW_MS) {
      if (this.#quick < QUICK_COUNT && ++this.#quick === QUICK_COUNT) this.#periodMs = PERIOD_MS_MIN
      return
    }
    this.#quick = 0
    this.#untilMs = end + this.#periodMs
    this.#periodMs = Math.min(2 * this.#periodMs, PERIOD_MS_MAX)
  }
}
