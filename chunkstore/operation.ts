/**
 * One request on its way through the chunks: a pooled object that is at the same time the file
 * operation it waits for. It goes through its range in ascending order, a piece (part of one
 * chunk) at a time, as far as it gets without waiting. The first error ends it; what lies behind
 * was never started.
 *
 *   advance ─▶ piece ─▶ DONE ─▶ next piece ... ─▶ sync, if it must be durable ─▶ end
 *                 ├──▶ errno ─▶ end                    (`end` = returned or completed)
 *                 ├──▶ RETRY ─▶ the same piece again
 *                 └──▶ PENDING: complete(), wake() or flushed() goes on
 */
import { DONE, PENDING, type Request, RequestFlag, type Status } from '../device/device.ts'
import type { ExtentList } from '../device/extents.ts'
import { FileOperation } from '../io/io.ts'
import type { Chunk, Waiter } from './chunk.ts'
import type { Region } from './checksums/region.ts'
import type { FlushWaiter } from './flusher.ts'
import { readPiece } from './read.ts'
import { statusPiece } from './block-status.ts'
import { Kind, RETRY } from './kind.ts'
import type { Store } from './store.ts'
import { unmapPiece } from './unmap.ts'
import { writePiece } from './write.ts'

/** What happens when the file operation under way is finished. */
export type Step = (operation: Operation) => Status

const PIECES = [readPiece, writePiece, unmapPiece, unmapPiece, statusPiece] as const

export class Operation extends FileOperation implements Waiter, FlushWaiter {
  readonly store: Store
  kind: Kind = Kind.READ
  request: Request | null = null
  /** Where extents go: of a read (may be null) or a block status. */
  extents: ExtentList | null = null
  /** Absolute offsets: the current piece begins at `at` and has `pieceLength` bytes. */
  at = 0
  end = 0
  pieceLength = 0
  index = 0
  /** The chunk in use by the piece. */
  chunk: Chunk | null = null
  /** Where the piece is, if its layer has checksums: then it lies in one region. */
  region: Region | null = null
  /** Count of the region's changes when its data was asked for. */
  changes = 0
  /** The data did not match while it was changed: it is read again while nobody uses the chunk. */
  isAlone = false
  step: Step = ended
  /** Existing chunks in a wide trim's range, ascending, or null. */
  present: Float64Array | null = null
  budget = 0
  #wakeErrno = 0
  #syncing = false
  /** What it ends with, unless the sync fails. */
  #outcome: Status = DONE
  readonly #recycle: (operation: Operation) => void

  constructor(store: Store, recycle: (operation: Operation) => void) {
    super()
    this.store = store
    this.#recycle = recycle
  }

  get mutates(): boolean {
    return this.kind === Kind.WRITE || this.kind === Kind.TRIM || this.kind === Kind.ZERO
  }

  /** Takes a request as far as it gets. If it does not end here, it completes later. */
  start(kind: Kind, request: Request, extents: ExtentList | null): Status {
    this.kind = kind
    this.request = request
    this.extents = extents
    this.at = request.offset
    this.end = request.offset + request.length
    this.present = null
    this.budget = 0
    this.region = null
    this.isAlone = false
    this.#wakeErrno = 0
    this.#syncing = false
    const status = this.#advance()
    if (status !== PENDING) this.#end(status)
    return status
  }

  /** It is under way, and reads or changes something behind `offset`. */
  reachesBehind(offset: number): boolean {
    const { request } = this
    if (request === null || this.kind === Kind.FLUSH) return false
    return request.offset + request.length > offset
  }

  /** Makes it wait for `flushed`. */
  startFlush(request: Request): void {
    this.kind = Kind.FLUSH
    this.request = request
    this.#outcome = DONE
  }

  /** Ends it without completing anything. */
  abandon(): void {
    this.#end(DONE)
  }

  #advance(): Status {
    const { geometry } = this.store
    const piece = PIECES[this.kind as keyof typeof PIECES & number]
    while (this.at < this.end) {
      if (this.#wakeErrno > 0) return this.#settle(this.#wakeErrno)
      this.index = geometry.chunkOf(this.at)
      this.position = this.at - geometry.startOf(this.index)
      const rest = geometry.usedSizeOf(this.index) - this.position
      this.pieceLength = Math.min(this.end - this.at, rest)
      const status = piece(this)
      if (status === DONE) this.at += this.pieceLength
      else if (status === PENDING) return PENDING
      else if (status !== RETRY) return this.#settle(status)
    }
    return this.#settle(DONE)
  }

  /**
   * A mutation with FUA, or in a mode that syncs every change, ends when it is durable. There also
   * one that failed: what it changed all the same is read, and must not go with the power.
   */
  #settle(outcome: Status): Status {
    const { request, store } = this
    if (request === null || this.#syncing || !this.mutates) return outcome
    const isPromised = outcome === DONE && (request.flags & RequestFlag.FUA) !== 0
    if (!store.cache.through && !isPromised) return outcome
    this.#syncing = true
    this.#outcome = outcome
    const first = store.geometry.chunkOf(request.offset)
    const last = store.geometry.chunkOf(this.end - 1)
    return store.flusher.syncRange(first, last, this) ? outcome : PENDING
  }

  /** The file operation is finished. */
  override complete(): void {
    let status = this.step(this)
    if (status === DONE) this.at += this.pieceLength
    if (status === DONE || status === RETRY) status = this.#advance()
    else if (status !== PENDING) status = this.#settle(status)
    if (status !== PENDING) this.#finish(status)
  }

  /** What the piece waited for has happened (or failed): it is tried again. */
  wake(errno: number): void {
    this.#wakeErrno = errno
    const status = this.#advance()
    if (status !== PENDING) this.#finish(status)
  }

  /** Lets others have a turn of the event loop; then the piece is tried again. */
  pause(): Status {
    setImmediate(this.#goOn)
    return PENDING
  }

  readonly #goOn = (): void => this.wake(0)

  flushed(status: number): void {
    this.#finish(this.#outcome || status)
  }

  #finish(status: Status): void {
    const request = this.request
    this.#end(status)
    if (request !== null) request.complete(status)
  }

  #end(status: Status): void {
    if (status !== DONE && this.request !== null) this.request.errorOffset = this.at
    this.request = null
    this.extents = null
    this.chunk = null
    this.region = null
    this.present = null
    this.#recycle(this)
  }
}

function ended(): Status {
  throw new Error('a file operation completed that was not started')
}
