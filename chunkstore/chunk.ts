/**
 * One chunk of one layer: which of its states it is in and who is using its file.
 *
 *   users       operations under way on the file. An exclusive operation (creation, copy-up,
 *               truncation) begins when there are none.
 *   exclusive   such an operation is under way: everybody else waits in `waiting`, in order.
 *   pins        syncs and copies that need the file to stay open; they exclude nobody.
 *
 * A write counts in `modified` when it is complete; a sync that began after it sets `synced`.
 */
import type { ChunkChecksums } from './checksums/chunk-checksums.ts'
import { UNMAPPED_RANGES_MAX } from './limits.ts'
import type { Part } from './part.ts'
import { RangeSet } from './range-set.ts'

export const ChunkState = {
  /** No file: the parent's chunk shows through. Only while its file is being created. */
  ABSENT: 0,
  /** A file of 0 bytes: zeros, hides the parent. */
  EMPTY: 1,
  /** A file of exactly the chunk size, sparse. */
  FULL: 2,
  /** A file of any other size: every access is an I/O error. */
  DAMAGED: 3,
} as const
export type ChunkState = (typeof ChunkState)[keyof typeof ChunkState]

/** An operation that waits for a chunk; woken with an errno if what it waits for failed. */
export interface Waiter {
  readonly mutates: boolean
  wake(errno: number): void
}

export class Chunk {
  readonly index: number
  part: Part
  state: ChunkState
  fd = -1
  /** The file is open for reading only: it could not be opened for writing. */
  cannotWrite = false
  opening = false
  users = 0
  pins = 0
  exclusive = false
  /** Its file was there for a moment: it may come back in a crash, so it stays in this part. */
  isBound = false
  /** Used since the last sweep: not to be closed yet. */
  referenced = false
  modified = 0
  synced = 0
  /** What `modified` was when the disk was opened: an earlier process may have written that. */
  inherited = 0
  inDirtySet = false
  readonly waiting: Waiter[] = []
  /** Null: its layer has none. */
  checksums: ChunkChecksums | null = null
  #unmapped: RangeSet | null = null

  constructor(index: number, part: Part, state: ChunkState) {
    this.index = index
    this.part = part
    this.state = state
  }

  get path(): string {
    return this.part.chunkPath(this.index)
  }

  /** Nobody needs the file to be open. */
  get idle(): boolean {
    return this.users === 0 && this.pins === 0 && !this.exclusive
  }

  /** Ranges known to be unmapped, [start, end) within the chunk. */
  get unmapped(): RangeSet {
    this.#unmapped ??= new RangeSet(UNMAPPED_RANGES_MAX)
    return this.#unmapped
  }

  /** To be called before a range is written. */
  map(start: number, end: number): void {
    if (this.#unmapped !== null) this.#unmapped.remove(start, end)
  }

  forgetUnmapped(): void {
    this.#unmapped = null
  }
}
