/**
 * The mutations (WRITE, TRIM, WRITE_ZEROES) of one device that are in flight or wait, over all its
 * connections. Those that overlap take effect in the order in which they arrived: clients resend
 * a request on another connection, and a late old copy must not undo newer data.
 *
 * What is done at once never gets here; while nothing is in flight the order costs one comparison.
 * Invariant: `blockers` of a request is the number of earlier requests here that overlap it.
 */
import type { NbdRequest, RequestOwner } from './request.ts'

export class MutationOrder {
  /** In no particular order. */
  readonly #requests: NbdRequest[] = []
  #waiting = 0
  #sequence = 0

  get isEmpty(): boolean {
    return this.#requests.length === 0
  }

  /** @returns true: it has to wait, and its owner hears of it by `unblocked` */
  mustWait(request: NbdRequest): boolean {
    let blockers = 0
    for (const earlier of this.#requests) if (overlap(earlier, request)) blockers++
    if (blockers === 0) return false
    request.blockers = blockers
    this.#waiting++
    this.add(request)
    return true
  }

  /** Later ones have to wait for it from now on, until `remove`. */
  add(request: NbdRequest): void {
    request.sequence = this.#sequence++
    request.orderIndex = this.#requests.length
    this.#requests.push(request)
  }

  /** It is finished, or dropped without having begun. */
  remove(request: NbdRequest): void {
    const last = this.#requests.pop()
    if (last !== undefined && last !== request) {
      this.#requests[request.orderIndex] = last
      last.orderIndex = request.orderIndex
    }
    request.orderIndex = -1
    if (request.blockers > 0) this.#waiting--
    request.blockers = 0
    if (this.#waiting > 0) this.#unblock(request)
  }

  /** Those of an owner that have not begun, oldest last. */
  waitingFor(owner: RequestOwner): NbdRequest[] {
    return this.#requests
      .filter((request) => request.blockers > 0 && request.owner === owner)
      .sort((a, b) => b.sequence - a.sequence)
  }

  #unblock(finished: NbdRequest): void {
    for (const later of this.#requests) {
      if (later.blockers === 0 || later.sequence < finished.sequence) continue
      if (!overlap(later, finished) || --later.blockers > 0) continue
      this.#waiting--
      later.owner?.unblocked(later)
    }
  }
}

function overlap(a: NbdRequest, b: NbdRequest): boolean {
  return a.wireOffset < b.wireOffset + b.wireLength && b.wireOffset < a.wireOffset + a.wireLength
}
