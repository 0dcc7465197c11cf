/**
 * First in, first out, linked through the items themselves: putting one in allocates nothing.
 * An item is in one queue at a time.
 */
export class LinkedQueue<Item extends { next: Item | null }> {
  #head: Item | null = null
  #tail: Item | null = null

  get empty(): boolean {
    return this.#head === null
  }

  push(item: Item): void {
    item.next = null
    if (this.#tail === null) this.#head = item
    else this.#tail.next = item
    this.#tail = item
  }

  shift(): Item | null {
    const item = this.#head
    if (item === null) return null
    this.#head = item.next
    if (this.#head === null) this.#tail = null
    item.next = null
    return item
  }
}
