/**
 * Decides whether aligned reads are looked up in the cache at all. Where the reads spread over much
 * more than the cache holds, looking and keeping cost more than the few hits save.
 *
 *   trial ──▶ enough hits in its second half? ── yes ─▶ another trial
 *                └── no ─▶ rest, twice as long each time ─▶ trial
 *
 * What is in the cache stays there meanwhile: a long scan does not empty it.
 */
import { READS_PER_HIT_MAX, REST_TRIALS_MAX, TRIAL_READS_PER_PAGE } from './limits.ts'

export class Usefulness {
  /** Aligned reads are looked up, and kept. */
  isOn = true
  readonly #trialReads: number
  #restTrials = 1
  /** Reads until the state changes. */
  #left: number
  #hits = 0

  /** @param pages of the cache, at least 1 */
  constructor(pages: number) {
    this.#trialReads = 2 * pages * TRIAL_READS_PER_PAGE
    this.#left = this.#trialReads
  }

  /** Counts an aligned read, before it is looked up. */
  count(): void {
    if (--this.#left === 0) this.#change()
  }

  /** The read counted last was found. */
  hit(): void {
    // In the first half the cache only gets filled.
    if (2 * this.#left < this.#trialReads) this.#hits++
  }

  #change(): void {
    const pays = this.#hits * READS_PER_HIT_MAX >= this.#trialReads / 2
    this.#hits = 0
    this.#left = this.#trialReads
    this.isOn = !this.isOn || pays
    if (pays) this.#restTrials = 1
    if (this.isOn) return
    this.#left *= this.#restTrials
    this.#restTrials = Math.min(2 * this.#restTrials, REST_TRIALS_MAX)
  }
}
