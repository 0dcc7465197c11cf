/**
 * Decides which pages of aligned reads are worth keeping: those asked for again while they are
 * still remembered. So one pass over a disk puts nothing into the cache, and reads of a set much
 * larger than the cache pay for looking, not for copying.
 *
 * Remembers page numbers only, in a table without collision lists: a page is forgotten when another
 * falls on its entry. That is its ageing.
 */

/** Entries per page of the cache: how far back it remembers. */
const ENTRIES_PER_PAGE = 2

export class Admission {
  /** Page number plus 1; 0 is nothing. */
  readonly #entries: Float64Array
  readonly #shift: number

  /** @param pages of the cache, at least 1 */
  constructor(pages: number) {
    const bits = Math.max(1, Math.ceil(Math.log2(pages * ENTRIES_PER_PAGE)))
    this.#entries = new Float64Array(2 ** bits)
    this.#shift = 32 - bits
  }

  /** @returns whether the page was asked for before; from now on it was */
  isWanted(page: number): boolean {
    const high = Math.imul((page / 2 ** 32) | 0, 0x9e3779b1)
    const entry = Math.imul(page ^ high, 0x85ebca6b) >>> this.#shift
    const wanted = this.#entries[entry] === page + 1
    this.#entries[entry] = page + 1
    return wanted
  }
}
