/**
 * A reusable list of adjacent ranges with flags: (length, flags), (length, flags), ...
 * The start is known to whoever uses the list. Neighbours with equal flags are merged, so two
 * entries in a row always differ. The list never grows past the capacity it was made with.
 */

/** The bits are those of NBD's `base:allocation` context. */
export const ExtentFlag = {
  DATA: 0,
  /** Not allocated: a later write may need space. */
  HOLE: 1 << 0,
  /** Reads as zeros. */
  ZERO: 1 << 1,
} as const

export class ExtentList {
  /** Number of entries in use. */
  count = 0
  /** Sum of the lengths, bytes. */
  total = 0
  readonly capacity: number
  readonly #lengths: Float64Array
  readonly #flags: Uint32Array

  /** @param capacity most entries it can hold, at least 1 */
  constructor(capacity: number) {
    this.capacity = capacity
    this.#lengths = new Float64Array(capacity)
    this.#flags = new Uint32Array(capacity)
  }

  clear(): void {
    this.count = 0
    this.total = 0
  }

  /** No entry with other flags than the last one can be appended. */
  get full(): boolean {
    return this.count === this.capacity
  }

  lengthAt(index: number): number {
    return this.#lengths[index]
  }

  flagsAt(index: number): number {
    return this.#flags[index]
  }

  /**
   * Appends `length` bytes with `flags`; a length of 0 is ignored.
   * @returns false if there was no room: the list then ends before this range
   */
  append(length: number, flags: number): boolean {
    if (length === 0) return true
    const last = this.count - 1
    if (last >= 0 && this.#flags[last] === flags) {
      this.#lengths[last] += length
    } else {
      if (this.count === this.capacity) return false
      this.#lengths[this.count] = length
      this.#flags[this.count] = flags
      this.count++
    }
    this.total += length
    return true
  }
}
