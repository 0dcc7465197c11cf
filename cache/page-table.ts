/**
 * Which page is in which slot, and which slot is given up next. Holds no page data and knows
 * nothing of waiting.
 *
 *   buckets  [ -1 | 7 | 2 | -1 | ... ]   slot numbers; open addressing, linear probing
 *   pages    [ page in slot 0 | page in slot 1 | ... ]
 *   state    [ bits of slot 0 | ... ]
 *
 * Eviction is CLOCK: the hand passes over locked slots and gives referenced ones a second chance.
 * Invariant: a slot is in the free list, or it is USED and found by its page number.
 */
import assert from 'node:assert/strict'
import { PAGES_MAX } from './limits.ts'

/** Bits of `PageTable.state`. */
export const PageState = {
  /** The slot belongs to a page. */
  USED: 1 << 0,
  /** Its bytes are those of the lower device. */
  VALID: 1 << 1,
  /** Somebody owns it: nobody else reads, changes or evicts it. */
  LOCKED: 1 << 2,
  /** Locked, and changed below meanwhile: not kept when it is freed. */
  DOOMED: 1 << 3,
  /** Asked for since the clock's hand passed. */
  REFERENCED: 1 << 4,
} as const

const NONE = -1

export class PageTable {
  readonly slots: number
  /** Slots in use. */
  count = 0
  evictions = 0
  /** Bits of `PageState` for each slot. */
  readonly state: Uint8Array
  /** Page numbers reach 2^41, beyond an Int32. */
  readonly #pages: Float64Array
  readonly #buckets: Int32Array
  readonly #mask: number
  readonly #shift: number
  readonly #free: Int32Array
  #freeCount: number
  #hand = 0

  constructor(slots: number) {
    assert(Number.isInteger(slots) && slots >= 1 && slots <= PAGES_MAX, `${slots} slots`)
    this.slots = slots
    this.state = new Uint8Array(slots)
    this.#pages = new Float64Array(slots)
    const bits = 33 - Math.clz32(slots - 1)
    this.#buckets = new Int32Array(2 ** bits).fill(NONE)
    this.#mask = 2 ** bits - 1
    this.#shift = 32 - bits
    this.#free = new Int32Array(slots)
    for (let index = 0; index < slots; index++) this.#free[index] = slots - 1 - index
    this.#freeCount = slots
  }

  /** @returns the slot of a page, or -1 */
  find(page: number): number {
    const buckets = this.#buckets
    let bucket = this.#home(page)
    for (;;) {
      const slot = buckets[bucket]
      if (slot === NONE || this.#pages[slot] === page) return slot
      bucket = (bucket + 1) & this.#mask
    }
  }

  pageIn(slot: number): number {
    return this.#pages[slot]
  }

  /**
   * Gives a slot to a page that has none; the least recently used page that is not locked makes
   * room if it must. @returns the slot, USED and nothing else, or -1 if all are locked
   */
  insert(page: number): number {
    if (this.#freeCount === 0 && !this.#evict()) return NONE
    const slot = this.#free[--this.#freeCount]
    this.#pages[slot] = page
    this.state[slot] = PageState.USED
    let bucket = this.#home(page)
    while (this.#buckets[bucket] !== NONE) bucket = (bucket + 1) & this.#mask
    this.#buckets[bucket] = slot
    this.count++
    return slot
  }

  remove(slot: number): void {
    this.#removeBucket(slot)
    this.state[slot] = 0
    this.#free[this.#freeCount++] = slot
    this.count--
  }

  #evict(): boolean {
    // The first round may only take reference bits away, the second then finds a victim.
    for (let step = 2 * this.slots; step > 0; step--) {
      const slot = this.#hand
      this.#hand = slot + 1 === this.slots ? 0 : slot + 1
      const bits = this.state[slot]
      if ((bits & PageState.LOCKED) !== 0) continue
      if ((bits & PageState.REFERENCED) === 0) {
        this.remove(slot)
        this.evictions++
        return true
      }
      this.state[slot] = bits & ~PageState.REFERENCED
    }
    return false
  }

  /** Closes the gap by moving later entries of the probe sequence up: no tombstones. */
  #removeBucket(slot: number): void {
    const buckets = this.#buckets
    const mask = this.#mask
    let gap = this.#home(this.#pages[slot])
    while (buckets[gap] !== slot) gap = (gap + 1) & mask
    let bucket = gap
    for (;;) {
      bucket = (bucket + 1) & mask
      const candidate = buckets[bucket]
      if (candidate === NONE) break
      const home = this.#home(this.#pages[candidate])
      if (((bucket - home) & mask) < ((bucket - gap) & mask)) continue
      buckets[gap] = candidate
      gap = bucket
    }
    buckets[gap] = NONE
  }

  /** Multiplicative hash of both halves: neighbours spread, page numbers beyond 2^32 differ. */
  #home(page: number): number {
    const high = Math.imul((page / 2 ** 32) | 0, 0x85ebca6b)
    return Math.imul(page ^ high, 0x9e3779b1) >>> this.#shift
  }
}
