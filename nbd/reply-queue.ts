/**
 * Replies of one connection on their way out. They are written back to back into slabs, so that
 * what has accumulated while the last send was under way leaves as few pieces in one send:
 *
 *   slab  | sent | committed, committed | reserved | committed |  room  |
 *
 * A place is reserved, filled (perhaps late, by the device), then committed or cancelled; places
 * behind it do not wait for it. Each reserved place and each unsent piece holds a reference to its
 * slab. Only committed bytes are sent.
 */
import type { Stream } from '../io/io.ts'
import { REPLY_SLAB_BYTES } from './limits.ts'
import type { MemoryUse } from './memory-use.ts'
import type { Slab, SlabPool } from './slab.ts'

/** A reply whose data lie in a file. */
export interface FilePlace {
  /** A slab of its own, with one reference; it has room for the data. */
  readonly slab: Slab
  readonly start: number
  readonly dataStart: number
  readonly end: number
  readonly fd: number
  /** Bytes from the start of the file. */
  readonly position: number
}

export class ReplyQueue {
  /** Committed and not yet sent. */
  bytes = 0
  /** Where the place begins that was reserved last. */
  position = 0
  readonly #slabs: SlabPool
  readonly #memory: MemoryUse
  #slab: Slab | null = null
  /** Where the room in `#slab` begins. */
  #tail = 0
  // The committed pieces, oldest first.
  #pieceSlabs: Slab[] = []
  #pieceStarts: number[] = []
  #pieceEnds: number[] = []
  // What is being sent.
  #sendingSlabs: Slab[] = []
  readonly #sendingPieces: Uint8Array[] = []
  #sendingBytes = 0

  constructor(slabs: SlabPool, memory: MemoryUse) {
    this.#slabs = slabs
    this.#memory = memory
  }

  /** What was given to the stream has not left yet. */
  get isSending(): boolean {
    return this.#sendingBytes > 0
  }

  /** @returns the slab in which `length` bytes from `position` on are now the caller's */
  reserve(length: number): Slab {
    let slab = this.#slab
    if (slab === null || slab.bytes.length - this.#tail < length) {
      slab?.release()
      slab = this.#slabs.take(Math.max(REPLY_SLAB_BYTES, length))
      this.#slab = slab
      this.#tail = 0
    }
    slab.references++
    this.position = this.#tail
    this.#tail += length
    return slab
  }

  /**
   * Lets the bytes from `start` to `end` be sent, behind all that was committed before. Takes over
   * one reference of the caller to the slab, which need not be one of this queue.
   */
  commit(slab: Slab, start: number, end: number): void {
    const last = this.#pieceSlabs.length - 1
    if (last >= 0 && this.#pieceSlabs[last] === slab && this.#pieceEnds[last] === start) {
      this.#pieceEnds[last] = end
      slab.references--
    } else {
      this.#pieceSlabs.push(slab)
      this.#pieceStarts.push(start)
      this.#pieceEnds.push(end)
    }
    this.bytes += end - start
    this.#memory.bytes += end - start
  }

  /** Gives back the place from `start` to `end`, which will not be committed. */
  cancel(slab: Slab, start: number, end: number): void {
    this.giveBack(slab, start, end)
    slab.release()
  }

  /** Gives back the unused end of a place. */
  giveBack(slab: Slab, start: number, end: number): void {
    if (slab === this.#slab && end === this.#tail) this.#tail = start
  }

  /**
   * As `commit`, but what is behind `dataStart` comes from a file, and everything is sent at once.
   * Not while a send is under way, and only on a stream which can.
   */
  sendFile(place: FilePlace, stream: Stream): void {
    const { slab, start, dataStart, end } = place
    this.commit(slab, start, end)
    this.#gather()
    const pieces = this.#sendingPieces
    pieces.pop()
    pieces.push(slab.bytes.subarray(start, dataStart), slab.bytes.subarray(dataStart, end))
    if (stream.sendFile?.(pieces, place.fd, place.position) === true) this.sent()
  }

  /** Sends everything committed, unless a send is under way: then `sent` is the time for it. */
  send(stream: Stream): void {
    if (this.#sendingBytes > 0 || this.#pieceSlabs.length === 0) return
    this.#gather()
    if (stream.send(this.#sendingPieces)) this.sent()
  }

  /** Everything committed is being sent from here on. */
  #gather(): void {
    for (let index = 0; index < this.#pieceSlabs.length; index++) {
      const { bytes } = this.#pieceSlabs[index]
      this.#sendingPieces.push(bytes.subarray(this.#pieceStarts[index], this.#pieceEnds[index]))
    }
    const slabs = this.#sendingSlabs
    this.#sendingSlabs = this.#pieceSlabs
    this.#sendingBytes = this.bytes
    this.#pieceSlabs = slabs
    this.#pieceStarts.length = this.#pieceEnds.length = 0
  }

  /** What was given to the stream has left. */
  sent(): void {
    this.bytes -= this.#sendingBytes
    this.#memory.bytes -= this.#sendingBytes
    this.#sendingBytes = 0
    this.#sendingPieces.length = 0
    for (const slab of this.#sendingSlabs) slab.release()
    this.#sendingSlabs.length = 0
    if (this.#slab?.references === 1) this.#dropSlab()
  }

  /** The connection is gone: forgets what was not sent. Places still reserved stay valid. */
  discard(): void {
    this.sent()
    this.#memory.bytes -= this.bytes
    this.bytes = 0
    for (const slab of this.#pieceSlabs) slab.release()
    this.#pieceSlabs.length = this.#pieceStarts.length = this.#pieceEnds.length = 0
    if (this.#slab !== null) this.#dropSlab()
  }

  /** An idle connection holds no reply memory; a busy one gets the same slab again. */
  #dropSlab(): void {
    this.#slab?.release()
    this.#slab = null
  }
}
