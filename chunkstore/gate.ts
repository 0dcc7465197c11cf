/**
 * Keeps requests away from the end of a disk while it is moved. Those that reach behind the limit
 * are refused, as it is the end of the disk; while the gate is closed they wait.
 */
export class Gate {
  /** Bytes. Requests that end at it or before pass; the only thing the data path looks at. */
  limit: number
  #isClosed = false
  #waiting: (() => void)[] = []

  /** @param size of the disk, bytes */
  constructor(size: number) {
    this.limit = size
  }

  /** From now on requests that end behind `limit` wait. */
  close(limit: number): void {
    this.limit = limit
    this.#isClosed = true
  }

  /** Those that wait are tried again, in the order they came. */
  open(size: number): void {
    this.limit = size
    this.#isClosed = false
    const waiting = this.#waiting
    this.#waiting = []
    for (const again of waiting) again()
  }

  /** For a request that ends behind the limit. @returns false: it is refused */
  wait(again: () => void): boolean {
    if (this.#isClosed) this.#waiting.push(again)
    return this.#isClosed
  }
}
