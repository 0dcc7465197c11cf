/**
 * What a client sent and nobody has parsed yet, always in one piece:
 *
 *   | parsed, perhaps lent to the device |  unparsed  | room for the next receive |
 *   0                                  start         end                    capacity
 *
 * A payload is lent to the device where it lies, by taking a reference to `slab`. Bytes behind
 * `end` may then still be appended, but nothing is moved: the unparsed rest goes to a fresh slab.
 * Only `room` moves anything, for what it returned before may still be with the stream.
 */
import { RECEIVE_BYTES_SCARCE, RECEIVE_MEMORY_BYTES_MAX, RECEIVE_ROOM_BYTES_MIN } from './limits.ts'
import type { MemoryUse } from './memory-use.ts'
import type { Slab, SlabPool } from './slab.ts'

export class ReceiveBuffer {
  slab: Slab
  start = 0
  end = 0
  readonly #slabs: SlabPool
  readonly #memory: MemoryUse
  /** Of the slabs that are used when the first is too small; 0: as small as can be. */
  #slabBytes = 0
  /** The last receive left no room: there may be more to come at once. */
  #wasFilled = false

  constructor(slabs: SlabPool, memory: MemoryUse) {
    this.#slabs = slabs
    this.#memory = memory
    this.slab = slabs.takeCell()
    memory.receiveBytes += this.slab.bytes.length
  }

  get unparsed(): number {
    return this.end - this.start
  }

  /** @param bytes size of the slabs that are used when a client has filled the first */
  enlarge(bytes: number): void {
    this.#slabBytes = bytes
  }

  /**
   * @param needed bytes from `start` on that the next step of parsing wants in one piece
   * @returns at least 1 byte for the next receive, to be reported by `received`
   */
  room(needed: number): Uint8Array {
    const idle = this.start === this.end && this.slab.references === 1
    if (idle) this.start = this.end = 0
    if (this.#wasFilled && this.slab.bytes.length < this.#usualBytes) this.#tryToEnlarge()
    else if (
      idle &&
      this.#memory.isReceiveScarce &&
      this.slab.bytes.length > 2 * RECEIVE_BYTES_SCARCE
    ) {
      this.#moveTo(this.#slabs.take(RECEIVE_BYTES_SCARCE))
    }
    const { bytes } = this.slab
    const full = this.end === bytes.length
    const tight = bytes.length - this.end < RECEIVE_ROOM_BYTES_MIN
    const small = this.unparsed < RECEIVE_ROOM_BYTES_MIN
    if (full && this.start === 0) this.#swap(2 * bytes.length)
    else if (full || bytes.length - this.start < needed || (tight && small)) this.#tidy(needed)
    return this.end === 0 ? this.slab.bytes : this.slab.bytes.subarray(this.end)
  }

  get #usualBytes(): number {
    const wanted = this.#memory.receiveBytes + this.#slabBytes
    const isScarce = wanted > RECEIVE_MEMORY_BYTES_MAX
    return isScarce ? Math.min(this.#slabBytes, RECEIVE_BYTES_SCARCE) : this.#slabBytes
  }

  received(bytes: number): void {
    this.end += bytes
    this.#wasFilled = this.end === this.slab.bytes.length
  }

  /** The connection is gone. Payloads that are still lent keep their slab. */
  release(): void {
    this.start = this.end
    this.#memory.receiveBytes -= this.slab.bytes.length
    this.slab.release()
  }

  #tidy(needed: number): void {
    if (this.start === 0 && this.slab.bytes.length >= needed) return
    if (this.slab.references > 1 || this.slab.bytes.length < needed) {
      this.#swap(needed)
    } else {
      this.slab.bytes.copyWithin(0, this.start, this.end)
      this.end -= this.start
      this.start = 0
    }
  }

  /** Without the memory for it, it goes on with what it has. */
  #tryToEnlarge(): void {
    const fresh = this.#slabs.tryTake(Math.max(this.#usualBytes, this.unparsed + 1))
    if (fresh !== null) this.#moveTo(fresh)
  }

  /** @param needed bytes; what is usual is better */
  #swap(needed: number): void {
    const least = Math.max(needed, this.unparsed + 1)
    const usual = this.#slabs.tryTake(Math.max(this.#usualBytes, least))
    this.#moveTo(usual ?? this.#slabs.take(least))
  }

  #moveTo(fresh: Slab): void {
    fresh.bytes.set(this.slab.bytes.subarray(this.start, this.end))
    this.end -= this.start
    this.start = 0
    this.#memory.receiveBytes += fresh.bytes.length - this.slab.bytes.length
    this.slab.release()
    this.slab = fresh
  }
}
