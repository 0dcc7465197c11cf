/**
 * Replies to READ: where the device puts the data, and the headers around it afterwards. Data is
 * never moved; holes are left out of what is sent.
 *
 *   simple      | reply header 16 | data ...                                 |
 *   structured  | chunk header 28 | data     |(28)| data |(32)  hole         |
 *   extended    | chunk header 40 | data     |(40)| data |(44)  hole         |
 *
 * The header of a chunk that follows a hole lies in the unwritten end of the hole in front of it,
 * and the chunk that tells of a hole in the hole's beginning.
 */
import type { FileOutlet } from '../device/device.ts'
import type { ExtentList } from '../device/extents.ts'
import { ExtentFlag } from '../device/extents.ts'
import { DATA_SLICE_BYTES, HOLE_BYTES_MIN, REPLY_DATA_INLINE_BYTES_MAX } from './limits.ts'
import { CommandFlag, HeaderSize } from './protocol.ts'
import type { ReplyQueue } from './reply-queue.ts'
import { chunkHeaderBytes, dataChunkHeader, holeChunk, noneChunk, simpleReply } from './reply.ts'
import { ReplyStyle } from './reply-style.ts'
import type { NbdRequest } from './request.ts'
import type { ExtentListPool } from './extent-lists.ts'
import type { Stream } from '../io/io.ts'
import { SLAB_LEAD_BYTES } from './slab.ts'
import type { Slab, SlabPool } from './slab.ts'

export class ReadReply implements FileOutlet {
  readonly #replies: ReplyQueue
  readonly #slabs: SlabPool
  readonly #lists: ExtentListPool
  readonly #isChunked: boolean
  /** In front of data. */
  readonly #headerBytes: number
  readonly #stream: Stream
  /** Its data may come from a file, while the device's `read` lasts. */
  #offered: NbdRequest | null = null

  constructor(
    { replies, stream }: Outputs,
    slabs: SlabPool,
    lists: ExtentListPool,
    style: ReplyStyle,
  ) {
    this.#stream = stream
    this.#replies = replies
    this.#slabs = slabs
    this.#lists = lists
    this.#isChunked = style !== ReplyStyle.SIMPLE
    this.#headerBytes = this.#isChunked
      ? chunkHeaderBytes(style === ReplyStyle.EXTENDED) + HeaderSize.OFFSET_DATA
      : HeaderSize.SIMPLE_REPLY
  }

  /** The whole request is answered at once; otherwise every slice is, as soon as it is done. */
  isWhole(request: NbdRequest): boolean {
    return !this.#isChunked || (request.commandFlags & CommandFlag.DF) !== 0
  }

  /** Memory that a request needs at one time. */
  memoryBytes(request: NbdRequest): number {
    const { wireLength } = request
    return this.isWhole(request) ? wireLength : Math.min(wireLength, DATA_SLICE_BYTES)
  }

  /** Gives the slice `length` bytes long its place. @returns false: there is no memory for it */
  prepare(request: NbdRequest, length: number): boolean {
    const isWhole = this.isWhole(request)
    if (request.slab === null) this.#reserve(request, isWhole ? request.wireLength : length)
    if (request.slab === null) return false
    const begin = request.slabOffset + this.#headerBytes
    request.bufferOffset = isWhole ? begin + request.done : begin
    if (isWhole || request.plain) return true
    const list = request.list ?? this.#lists.take()
    list.clear()
    request.list = list
    request.extents = list
    return true
  }

  /** What follows until `withdraw` may be answered from a file. */
  offer(request: NbdRequest): void {
    const isAnswer = !this.isWhole(request) || request.length === request.wireLength
    if (request.reserved || !isAnswer || this.#replies.isSending) return
    if (this.#stream.sendFile === undefined) return
    this.#offered = request
    request.outlet = this
  }

  withdraw(request: NbdRequest): void {
    request.outlet = null
    this.#offered = null
  }

  /** For the device. */
  take(fd: number, position: number, length: number): boolean {
    const request = this.#offered
    const slab = request?.slab
    if (!request || !slab || length !== request.length) return false
    const { slabOffset, offset } = request
    const isLast = request.done + length === request.wireLength
    if (this.#isChunked) dataChunkHeader(slab.view, slabOffset, request, offset, length, isLast)
    else simpleReply(slab.view, slabOffset, request, 0)
    const dataStart = slabOffset + this.#headerBytes
    const end = dataStart + length
    request.slab = null
    this.#replies.sendFile({ slab, start: slabOffset, dataStart, end, fd, position }, this.#stream)
    return true
  }

  /**
   * Answers with the slice that was read, or keeps it if more has to be read before.
   * @returns false: the device could not list all extents; read the slice again, `plain` is set
   */
  sliceDone(request: NbdRequest): boolean {
    const isLast = request.done + request.length === request.wireLength
    const { slab, extents } = request
    // Answered from a file.
    if (slab === null) return true
    if (this.isWhole(request)) {
      if (isLast) this.#commitWhole(request, slab)
      return true
    }
    if (extents !== null && extents.total !== request.length) {
      request.plain = true
      request.extents = null
      return false
    }
    if (extents === null || isAllData(extents)) this.#commitData(request, slab, isLast)
    else this.#commitExtents(request, slab, extents, isLast)
    request.slab = null
    return true
  }

  /** An answer to a READ of nothing. */
  empty(request: NbdRequest): void {
    const slab = this.#replies.reserve(this.#headerBytes)
    const { position } = this.#replies
    const end = this.#isChunked
      ? noneChunk(slab.view, position, request)
      : simpleReply(slab.view, position, request, 0)
    this.#replies.giveBack(slab, end, position + this.#headerBytes)
    this.#replies.commit(slab, position, end)
  }

  /** Gives back the place of a slice that failed or is not wanted any more. */
  cancel(request: NbdRequest): void {
    const { slab } = request
    if (slab === null) return
    request.slab = null
    const dataBytes = this.isWhole(request) ? request.wireLength : request.length
    const end = request.slabOffset + this.#headerBytes + dataBytes
    if (request.reserved) this.#replies.cancel(slab, request.slabOffset, end)
    else slab.release()
  }

  #reserve(request: NbdRequest, dataBytes: number): void {
    request.reserved = dataBytes <= REPLY_DATA_INLINE_BYTES_MAX
    if (request.reserved) {
      request.slab = this.#replies.reserve(this.#headerBytes + dataBytes)
      request.slabOffset = this.#replies.position
    } else {
      request.slab = this.#slabs.tryTake(dataBytes)
      request.slabOffset = SLAB_LEAD_BYTES - this.#headerBytes
    }
    if (request.slab !== null) request.buffer = request.slab.bytes
  }

  #commitWhole(request: NbdRequest, slab: Slab): void {
    const { slabOffset, wireOffset, wireLength } = request
    if (this.#isChunked)
      dataChunkHeader(slab.view, slabOffset, request, wireOffset, wireLength, true)
    else simpleReply(slab.view, slabOffset, request, 0)
    this.#replies.commit(slab, slabOffset, slabOffset + this.#headerBytes + wireLength)
    request.slab = null
  }

  #commitData(request: NbdRequest, slab: Slab, isLast: boolean): void {
    const { slabOffset, offset, length } = request
    const data = dataChunkHeader(slab.view, slabOffset, request, offset, length, isLast)
    this.#replies.commit(slab, slabOffset, data + length)
  }

  #commitExtents(request: NbdRequest, slab: Slab, extents: ExtentList, isLast: boolean): void {
    const { offset, length, bufferOffset } = request
    let at = 0
    let end = 0
    for (let index = 0; index < extents.count;) {
      const begin = at
      const zeros = zeroBytesAt(extents, index)
      const isHole = zeros >= HOLE_BYTES_MIN
      if (isHole) {
        while (at < begin + zeros) at += extents.lengthAt(index++)
      } else {
        while (index < extents.count && zeroBytesAt(extents, index) < HOLE_BYTES_MIN) {
          const bytes = extents.lengthAt(index)
          const from = bufferOffset + at
          if (isZero(extents, index)) slab.bytes.fill(0, from, from + bytes)
          at += bytes
          index++
        }
      }
      const isDone = isLast && at === length
      const data = bufferOffset + begin
      const start = isHole && begin > 0 ? data : data - this.#headerBytes
      const encode = isHole ? holeChunk : dataChunkHeader
      const written = encode(slab.view, start, request, offset + begin, at - begin, isDone)
      end = isHole ? written : bufferOffset + at
      slab.references++
      this.#replies.commit(slab, start, end)
    }
    this.#replies.giveBack(slab, end, bufferOffset + length)
    slab.release()
  }
}

/** Where the replies of a connection go. */
export interface Outputs {
  readonly replies: ReplyQueue
  readonly stream: Stream
}

function isAllData(extents: ExtentList): boolean {
  return extents.count === 1 && !isZero(extents, 0)
}

function isZero(extents: ExtentList, index: number): boolean {
  return (extents.flagsAt(index) & ExtentFlag.ZERO) !== 0
}

/** Zeros from the beginning of an extent on; there may be several kinds of them in a row. */
function zeroBytesAt(extents: ExtentList, index: number): number {
  let bytes = 0
  for (let at = index; at < extents.count && isZero(extents, at); at++)
    bytes += extents.lengthAt(at)
  return bytes
}
