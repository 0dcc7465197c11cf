/**
 * Memory for receiving and sending, taken from a pool and returned when the last reference to it
 * is released. Whoever keeps a place in a slab holds a reference; contents are never cleared, so
 * only bytes that were written for a connection may be sent to it.
 *
 * Sizes are powers of two with `SLAB_LEAD_BYTES` more: a header fits in front of round data. The
 * smallest, the cells, have no more.
 */
import { RECEIVE_BYTES_INITIAL, SLABS_FREE_BYTES_MAX } from './limits.ts'

/** Slabs of this size are cut from a block, and kept: every silent client has one. */
const CELL_BITS = Math.log2(RECEIVE_BYTES_INITIAL)
const CELLS_IN_BLOCK = 256

/** Data that begins here in a slab of its own has room for headers in front, and is aligned. */
export const SLAB_LEAD_BYTES = 4096

const SIZE_BITS_MIN = 12

const NO_BYTES = new Uint8Array(0)

export class Slab {
  readonly bytes: Uint8Array
  readonly view: DataView
  references = 0
  readonly sizeBits: number
  readonly #pool: SlabPool

  constructor(pool: SlabPool, sizeBits: number) {
    this.#pool = pool
    this.sizeBits = sizeBits
    this.bytes =
      sizeBits === CELL_BITS ? pool.allocateCell() : pool.allocate(2 ** sizeBits + SLAB_LEAD_BYTES)
    this.view = new DataView(this.bytes.buffer, this.bytes.byteOffset, this.bytes.length)
  }

  release(): void {
    if (--this.references === 0) this.#pool.give(this)
  }
}

/** @returns `bytes` bytes of any content. Throws a RangeError if there is no memory for them */
export type Allocate = (bytes: number) => Uint8Array

export class SlabPool {
  /** For `Slab`. */
  readonly allocate: Allocate
  /** Free slabs by size. The last one given comes back first: the caches may still hold it. */
  readonly #free: Slab[][] = []
  #freeBytes = 0
  readonly #cells: Slab[] = []
  /** What is left of the block that cells are cut from. */
  #block: Uint8Array = NO_BYTES
  /** Fewest free slabs of each size since the last shrinking: so many were not needed. */
  readonly #fewest: number[] = []
  /** Slabs in use, for tests and statistics. */
  taken = 0

  /** @param allocate memory at a page border is used by O_DIRECT without a copy */
  constructor(allocate: Allocate = (bytes) => new Uint8Array(bytes)) {
    this.allocate = allocate
  }

  /** @returns a cell with one reference */
  takeCell(): Slab {
    const cell = this.#cells.pop() ?? new Slab(this, CELL_BITS)
    this.taken++
    cell.references = 1
    return cell
  }

  /** For `Slab`. */
  allocateCell(): Uint8Array {
    if (this.#block.length === 0) this.#block = this.allocate(CELLS_IN_BLOCK << CELL_BITS)
    const cell = this.#block.subarray(0, 1 << CELL_BITS)
    this.#block = this.#block.subarray(1 << CELL_BITS)
    return cell
  }

  /** @returns a slab with at least `SLAB_LEAD_BYTES` + `bytes` bytes and one reference */
  take(bytes: number): Slab {
    const sizeBits = Math.max(SIZE_BITS_MIN, 32 - Math.clz32(bytes - 1))
    const slab = this.#free[sizeBits]?.pop()
    if (slab === undefined) {
      const fresh = new Slab(this, sizeBits)
      fresh.references = 1
      this.taken++
      return fresh
    }
    this.taken++
    this.#freeBytes -= slab.bytes.length
    const left = this.#free[sizeBits].length
    if (left < this.#fewest[sizeBits]) this.#fewest[sizeBits] = left
    slab.references = 1
    return slab
  }

  get freeBytes(): number {
    return this.#freeBytes
  }

  /**
   * To be called now and then: keeps what was in use at most since the last call.
   * @param giveBack takes the memory of each slab that goes
   */
  shrink(giveBack: (memory: Uint8Array) => void): void {
    for (const [sizeBits, list] of this.#free.entries()) {
      if (list === undefined) continue
      for (const slab of list.splice(0, this.#fewest[sizeBits])) {
        this.#freeBytes -= slab.bytes.length
        giveBack(slab.bytes)
      }
      this.#fewest[sizeBits] = list.length
    }
  }

  /** As `take`, for a request that can be refused. @returns null: there is no memory for it */
  tryTake(bytes: number): Slab | null {
    try {
      return this.take(bytes)
    } catch (error) {
      if (!(error instanceof RangeError)) throw error
      // What is kept for later may be what is missing; the next one finds it free.
      this.#free.length = this.#fewest.length = 0
      this.#freeBytes = 0
      return null
    }
  }

  /** For `Slab.release`. */
  give(slab: Slab): void {
    this.taken--
    if (slab.sizeBits === CELL_BITS) return void this.#cells.push(slab)
    if (this.#freeBytes + slab.bytes.length > SLABS_FREE_BYTES_MAX) return
    const list = (this.#free[slab.sizeBits] ??= [])
    this.#fewest[slab.sizeBits] ??= 0
    list.push(slab)
    this.#freeBytes += slab.bytes.length
  }
}
