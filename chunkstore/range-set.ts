/**
 * Disjoint ranges [start, end) of numbers, sorted, adjacent ones merged. Holds at most a given
 * number of ranges: one more that touches none of them is not remembered.
 */
export class RangeSet {
  readonly #starts: number[] = []
  readonly #ends: number[] = []
  readonly #countMax: number

  constructor(countMax: number) {
    this.#countMax = countMax
  }

  get count(): number {
    return this.#starts.length
  }

  add(start: number, end: number): void {
    const first = this.#firstEndingAtOrAfter(start)
    let after = first
    while (after < this.#starts.length && this.#starts[after] <= end) after++
    if (after === first && this.#starts.length >= this.#countMax) return
    const mergedStart = after > first ? Math.min(start, this.#starts[first]) : start
    const mergedEnd = after > first ? Math.max(end, this.#ends[after - 1]) : end
    this.#starts.splice(first, after - first, mergedStart)
    this.#ends.splice(first, after - first, mergedEnd)
  }

  /** Takes [start, end) out; a range around it is split (the rest is forgotten if that is full). */
  remove(start: number, end: number): void {
    let index = this.#firstEndingAtOrAfter(start + 1)
    while (index < this.#starts.length && this.#starts[index] < end) {
      const oldStart = this.#starts[index]
      const oldEnd = this.#ends[index]
      this.#starts.splice(index, 1)
      this.#ends.splice(index, 1)
      if (oldStart < start) this.#insert(index++, oldStart, start)
      if (oldEnd > end) this.#insert(index++, end, oldEnd)
    }
  }

  #insert(index: number, start: number, end: number): void {
    if (this.#starts.length >= this.#countMax) return
    this.#starts.splice(index, 0, start)
    this.#ends.splice(index, 0, end)
  }

  covers(start: number, end: number): boolean {
    const index = this.#firstEndingAtOrAfter(start + 1)
    return index < this.#starts.length && this.#starts[index] <= start && this.#ends[index] >= end
  }

  clear(): void {
    this.#starts.length = 0
    this.#ends.length = 0
  }

  #firstEndingAtOrAfter(value: number): number {
    let low = 0
    let high = this.#ends.length
    while (low < high) {
      const middle = (low + high) >>> 1
      if (this.#ends[middle] < value) low = middle + 1
      else high = middle
    }
    return low
  }
}
