/**
 * Who may touch which page. A page is looked at (`peek`) or owned (`lock` one that is there,
 * `claim` a slot for one that is not) until `free`. Whoever finds a page owned, or no slot left,
 * is parked; `free` hands the page to the one who has waited longest, so nobody overtakes.
 * Does no I/O and does not run the waiter: it is told `granted` and goes on at its own time.
 *
 * Invariants: a page with waiters is locked; if somebody waits for a slot, every slot is locked.
 */
import { LinkedQueue } from './linked-queue.ts'
import { PageState, PageTable } from './page-table.ts'
import type { PageWaiter } from './page-waiter.ts'

/** `lock`: the page is not in the cache. */
export const ABSENT = -1
/** The waiter was parked; `granted` follows. */
export const PARKED = -2

export class PageLocks {
  readonly table: PageTable
  readonly #retain: boolean
  /** Waiters of each page by its slot; made when first needed, then kept. */
  readonly #pageWaiters: (LinkedQueue<PageWaiter> | null)[]
  readonly #slotWaiters = new LinkedQueue<PageWaiter>()
  #lockedCount = 0

  /** @param retain keep a page that nobody uses, for the next one who asks */
  constructor(slots: number, retain: boolean) {
    this.table = new PageTable(slots)
    this.#retain = retain
    this.#pageWaiters = Array.from({ length: slots }, () => null)
  }

  /** @returns the slot of a valid page that nobody owns, or -1. Good until the next call. */
  peek(page: number): number {
    const slot = this.table.find(page)
    if (slot < 0) return -1
    const bits = this.table.state[slot]
    if ((bits & (PageState.VALID | PageState.LOCKED)) !== PageState.VALID) return -1
    this.table.state[slot] = bits | PageState.REFERENCED
    return slot
  }

  /** @returns the slot, owned by the caller now and perhaps not valid; ABSENT; or PARKED */
  lock(page: number, waiter: PageWaiter): number {
    const slot = this.table.find(page)
    if (slot < 0) return ABSENT
    if ((this.table.state[slot] & PageState.LOCKED) !== 0) {
      waiter.page = page
      const waiters = (this.#pageWaiters[slot] ??= new LinkedQueue<PageWaiter>())
      waiters.push(waiter)
      return PARKED
    }
    this.table.state[slot] |= PageState.LOCKED | PageState.REFERENCED
    this.#lockedCount++
    return slot
  }

  /** For an absent page. @returns a slot, not valid and owned by the caller; or PARKED */
  claim(page: number, waiter: PageWaiter): number {
    if (this.#lockedCount === this.table.slots) {
      waiter.page = page
      this.#slotWaiters.push(waiter)
      return PARKED
    }
    const slot = this.table.insert(page)
    this.table.state[slot] |= PageState.LOCKED
    this.#lockedCount++
    return slot
  }

  /** For an absent page whose bytes are at hand. @returns its slot, valid and owned by nobody */
  insertValid(page: number): number {
    if (this.#lockedCount === this.table.slots || this.table.find(page) >= 0) return ABSENT
    const slot = this.table.insert(page)
    this.table.state[slot] |= PageState.VALID
    return slot
  }

  /** The owner gives the page back; a page that is not valid, or doomed, is not kept. */
  free(slot: number): void {
    const state = this.table.state
    if ((state[slot] & PageState.DOOMED) !== 0) {
      state[slot] &= ~(PageState.DOOMED | PageState.VALID)
    }
    const heir = this.#pageWaiters[slot]?.shift() ?? null
    if (heir !== null) {
      heir.slot = slot
      heir.granted()
      return
    }
    state[slot] &= ~PageState.LOCKED
    this.#lockedCount--
    if (!this.#retain || (state[slot] & PageState.VALID) === 0) this.table.remove(slot)
    this.#grantSlots()
  }

  isValid(slot: number): boolean {
    return (this.table.state[slot] & PageState.VALID) !== 0
  }

  /** By the owner: the bytes in the arena are (or are not) those of the lower device. */
  setValid(slot: number, valid: boolean): void {
    if (valid) this.table.state[slot] |= PageState.VALID
    else this.table.state[slot] &= ~PageState.VALID
  }

  /** The pages change below: forgets those nobody owns, dooms the others. */
  drop(firstPage: number, pageCount: number): void {
    const table = this.table
    if (table.count === 0) return
    if (pageCount > table.slots) {
      for (let slot = 0; slot < table.slots; slot++) {
        if ((table.state[slot] & PageState.USED) === 0) continue
        const index = table.pageIn(slot) - firstPage
        if (index >= 0 && index < pageCount) this.#dropSlot(slot)
      }
      return
    }
    for (let index = 0; index < pageCount; index++) {
      const slot = table.find(firstPage + index)
      if (slot >= 0) this.#dropSlot(slot)
    }
  }

  #dropSlot(slot: number): void {
    const bits = this.table.state[slot]
    if ((bits & PageState.LOCKED) === 0) this.table.remove(slot)
    else this.table.state[slot] = (bits | PageState.DOOMED) & ~PageState.VALID
  }

  #grantSlots(): void {
    while (this.#lockedCount < this.table.slots) {
      const waiter = this.#slotWaiters.shift()
      if (waiter === null) return
      let slot = this.lock(waiter.page, waiter)
      if (slot === ABSENT) slot = this.claim(waiter.page, waiter)
      if (slot === PARKED) continue
      waiter.slot = slot
      waiter.granted()
    }
  }
}
