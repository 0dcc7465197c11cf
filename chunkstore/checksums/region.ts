/**
 * Some pages of a chunk, their sums, and what is going on with them.
 *
 *   slot       the sums in memory, or null: they are in the file, or not known
 *   doubt      pages whose sums nobody knows, because a change of them failed, or because the
 *              last writer was killed: they are computed from the data before they are read
 *   mutations  changes of the data under way; a read that overlapped one proves nothing
 *   pins       reads that will look at the slot when they have their data
 */
import type { Waiter } from '../chunk.ts'
import { CHECKSUM_REGION_PAGES, PAGE_SIZE } from '../limits.ts'
import type { ChunkChecksums } from './chunk-checksums.ts'
import { findMismatch, sumPages } from './crc32c.ts'

export const REGION_BYTES = CHECKSUM_REGION_PAGES * PAGE_SIZE

export class Region {
  readonly owner: ChunkChecksums
  /** Within the chunk. */
  readonly number: number
  slot: Uint32Array | null = null
  /** The file was damaged where the slot came from. */
  isSuspect = false
  /** The slot has what the file has not. */
  isUnsaved = false
  /** Pages from `doubtStart` to before `doubtEnd`, counted from the region's first. */
  doubtStart = 0
  doubtEnd = 0
  mutations = 0
  /** Counts beginnings and ends of changes. */
  changes = 0
  pins = 0
  /** The chunk's count of modifications after the last change: durable when that is synced. */
  modified = 0
  /** When it was changed last, in times of `SETTLE_MS`. */
  touched = -Infinity
  /** Somebody reads the slot from the file, or computes what is in doubt. */
  isLoading = false
  /** No change may begin: what is in doubt is being computed. */
  isResolving = false
  /** Where it is in the list of those with a slot. */
  place = -1
  /** Looked at since the search for one to drop came by. */
  referenced = false
  readonly waiting: Waiter[] = []
  #onQuiet: (() => void) | null = null

  constructor(owner: ChunkChecksums, number: number) {
    this.owner = owner
    this.number = number
  }

  /** Bytes within the chunk. */
  get start(): number {
    return this.number * REGION_BYTES
  }

  get end(): number {
    return Math.min(this.start + REGION_BYTES, this.owner.chunkSize)
  }

  get pageCount(): number {
    return (this.end - this.start) / PAGE_SIZE
  }

  get hasDoubt(): boolean {
    return this.doubtEnd > 0
  }

  /** @param position within the chunk; the range is in the region */
  isInDoubt(position: number, length: number): boolean {
    if (this.doubtEnd === 0) return false
    const first = this.#pageOf(position)
    return first < this.doubtEnd && this.doubtStart < first + length / PAGE_SIZE
  }

  /** Nobody knows what these pages hold. */
  doubt(first: number, end: number): void {
    this.doubtStart = this.hasDoubt ? Math.min(this.doubtStart, first) : first
    this.doubtEnd = Math.max(this.doubtEnd, end)
  }

  doubtAll(): void {
    this.doubt(0, this.pageCount)
  }

  believe(): void {
    this.doubtStart = 0
    this.doubtEnd = 0
  }

  /** A change of the data begins. */
  beginChange(): void {
    this.mutations++
    this.changes++
  }

  /** One that began had no effect. */
  cancelChange(): void {
    this.changes++
    this.#endMutation()
  }

  /** @param position where it was, within the chunk */
  failedChange(position: number, length: number): void {
    const first = this.#pageOf(position)
    this.doubt(first, first + length / PAGE_SIZE)
    this.#changed()
  }

  wrote(position: number, length: number, buffer: Uint8Array, offset: number): void {
    const first = this.#pageOf(position)
    sumPages(buffer, offset, length / PAGE_SIZE, this.#present, first)
    this.#know(first, first + length / PAGE_SIZE)
    this.#changed()
  }

  zeroed(position: number, length: number): void {
    const first = this.#pageOf(position)
    this.#present.fill(0, first, first + length / PAGE_SIZE)
    this.#know(first, first + length / PAGE_SIZE)
    this.#changed()
  }

  /** What is known now; a doubt about more stays. */
  #know(first: number, end: number): void {
    if (first <= this.doubtStart && this.doubtEnd <= end) this.believe()
  }

  #changed(): void {
    this.changes++
    this.isUnsaved = true
    this.modified = this.owner.chunk.modified
    this.touched = this.owner.now
    this.owner.changed.add(this)
    this.#endMutation()
  }

  #endMutation(): void {
    this.mutations--
    if (this.mutations > 0 || this.#onQuiet === null) return
    const onQuiet = this.#onQuiet
    this.#onQuiet = null
    onQuiet()
  }

  /** Resolves when no change is under way. For one caller at a time, who lets none begin. */
  async quiet(): Promise<void> {
    if (this.mutations > 0) await new Promise<void>((resolve) => (this.#onQuiet = resolve))
  }

  /** @returns index of the first page that is not what its sum says, or -1 */
  verify(buffer: Uint8Array, offset: number, position: number, length: number): number {
    const first = this.#pageOf(position)
    return findMismatch(buffer, offset, length / PAGE_SIZE, this.#present, first)
  }

  /** @returns whether the sums say, and nobody doubts, that these pages are zeros */
  isZero(position: number, length: number): boolean {
    if (this.isInDoubt(position, length)) return false
    const slot = this.#present
    const first = this.#pageOf(position)
    const end = first + length / PAGE_SIZE
    for (let page = first; page < end; page++) if (slot[page] !== 0) return false
    return true
  }

  get #present(): Uint32Array {
    if (this.slot === null) throw new Error('the sums of a region are not in memory')
    return this.slot
  }

  #pageOf(position: number): number {
    return (position - this.start) / PAGE_SIZE
  }
}

/** @returns whether the file has its sums, and nothing changed since there were so many changes */
export function isAtRest(region: Region, changesBefore: number): boolean {
  const isKnown = !region.hasDoubt && !region.isUnsaved
  return isKnown && region.mutations === 0 && region.changes === changesBefore
}
