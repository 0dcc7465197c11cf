/** A first-in-first-out queue of requests, linked through the requests: it allocates nothing. */
import type { NbdRequest } from './request.ts'

export class RequestQueue {
  length = 0
  #first: NbdRequest | null = null
  #last: NbdRequest | null = null

  /** A request may stand in one queue at a time. */
  push(request: NbdRequest): void {
    if (this.#last === null) this.#first = request
    else this.#last.next = request
    this.#last = request
    this.length++
  }

  shift(): NbdRequest | null {
    const request = this.#first
    if (request === null) return null
    this.#first = request.next
    if (request.next === null) this.#last = null
    request.next = null
    this.length--
    return request
  }
}
