/** What can own a page, and is parked until it does. */
export abstract class PageWaiter {
  page = -1
  /** The slot of `page` while this is its owner. */
  slot = -1
  /** Link of the one queue it stands in. */
  next: PageWaiter | null = null

  /** The page is this waiter's now, in `slot`. Called from inside `PageLocks.free`. */
  abstract granted(): void
}
