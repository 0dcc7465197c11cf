/**
 * The bytes of replies: headers and small chunks, written into a slab at a given place. What is
 * sent when, and the data of a READ, is the business of others. Every function returns the
 * position behind what it wrote.
 */
import type { ExtentList } from '../device/extents.ts'
import { statusHigh, statusLow } from './extent-status.ts'
import type { MetaContext } from './meta-contexts.ts'
import { HeaderSize, Magic, NbdError, ReplyChunkType, ReplyFlag } from './protocol.ts'
import type { NbdRequest } from './request.ts'
import { encodeString } from './strings.ts'

/** In front of the payload of a chunk. */
export function chunkHeaderBytes(isExtended: boolean): number {
  return isExtended ? HeaderSize.EXTENDED_REPLY : HeaderSize.STRUCTURED_REPLY
}

/**
 * 32 bits  magic
 * 32 bits  error
 * 64 bits  cookie
 */
export function simpleReply(view: DataView, at: number, request: NbdRequest, error: number) {
  view.setUint32(at, Magic.SIMPLE_REPLY)
  view.setUint32(at + 4, error)
  view.setUint32(at + 8, request.cookieHigh)
  view.setUint32(at + 12, request.cookieLow)
  return at + HeaderSize.SIMPLE_REPLY
}

/**
 * structured                       extended
 * 32 bits  magic                   32 bits  magic
 * 16 bits  flags                   16 bits  flags
 * 16 bits  type                    16 bits  type
 * 64 bits  cookie                  64 bits  cookie
 *                                  64 bits  offset of the request
 * 32 bits  length of the payload   64 bits  length of the payload
 */
function chunk(
  view: DataView,
  at: number,
  request: NbdRequest,
  type: number,
  length: number,
  isLast: boolean,
): number {
  view.setUint16(at + 4, isLast ? ReplyFlag.DONE : 0)
  view.setUint16(at + 6, type)
  view.setUint32(at + 8, request.cookieHigh)
  view.setUint32(at + 12, request.cookieLow)
  if (request.isExtended) {
    view.setUint32(at, Magic.EXTENDED_REPLY)
    view.setUint32(at + 16, request.offsetHigh)
    view.setUint32(at + 20, request.offsetLow)
    view.setUint32(at + 24, 0)
    view.setUint32(at + 28, length)
    return at + HeaderSize.EXTENDED_REPLY
  }
  view.setUint32(at, Magic.STRUCTURED_REPLY)
  view.setUint32(at + 16, length)
  return at + HeaderSize.STRUCTURED_REPLY
}

/** The end of a reply that has nothing (more) to say. */
export function noneChunk(view: DataView, at: number, request: NbdRequest): number {
  return chunk(view, at, request, ReplyChunkType.NONE, 0, true)
}

/** The `length` bytes of data follow. */
export function dataChunkHeader(
  view: DataView,
  at: number,
  request: NbdRequest,
  offset: number,
  length: number,
  isLast: boolean,
): number {
  const size = HeaderSize.OFFSET_DATA + length
  const payload = chunk(view, at, request, ReplyChunkType.OFFSET_DATA, size, isLast)
  return setUint64(view, payload, offset)
}

export function holeChunk(
  view: DataView,
  at: number,
  request: NbdRequest,
  offset: number,
  length: number,
  isLast: boolean,
): number {
  const size = HeaderSize.OFFSET_HOLE
  const payload = chunk(view, at, request, ReplyChunkType.OFFSET_HOLE, size, isLast)
  view.setUint32(setUint64(view, payload, offset), length)
  return payload + size
}

/** The payload of a chunk with so many descriptors. */
function statusPayloadBytes(isExtended: boolean, descriptors: number): number {
  return isExtended
    ? HeaderSize.BLOCK_STATUS_EXT + descriptors * HeaderSize.BLOCK_STATUS_EXT_DESCRIPTOR
    : HeaderSize.BLOCK_STATUS + descriptors * HeaderSize.BLOCK_STATUS_DESCRIPTOR
}

export function statusChunkBytes(isExtended: boolean, descriptors: number): number {
  return chunkHeaderBytes(isExtended) + statusPayloadBytes(isExtended, descriptors)
}

/**
 * One context's status of the range from the request's offset on. Neighbours that differ in other
 * contexts only are one; the last descriptor is cut at the request's end.
 * @param descriptorsMax at least 1; `extents` that need more are left out
 */
export function statusChunk(
  view: DataView,
  at: number,
  request: NbdRequest,
  { id, kinds }: MetaContext,
  extents: ExtentList,
  descriptorsMax: number,
  isLast: boolean,
): number {
  const { isExtended } = request
  const fixed = isExtended ? HeaderSize.BLOCK_STATUS_EXT : HeaderSize.BLOCK_STATUS
  let end = at + chunkHeaderBytes(isExtended) + fixed
  let descriptors = 0
  let left = request.wireLength
  for (let index = 0; index < extents.count && left > 0 && descriptors < descriptorsMax;) {
    const behind = indexBehindEqual(kinds, extents, index)
    const low = statusLow(kinds, extents, index)
    const high = statusHigh(kinds, extents, index)
    let length = 0
    while (index < behind) length += extents.lengthAt(index++)
    length = Math.min(length, left)
    left -= length
    end = isExtended ? setUint64(view, end, length) : setUint32(view, end, length)
    if (isExtended) end = setUint32(view, end, high)
    end = setUint32(view, end, low)
    descriptors++
  }
  const type = isExtended ? ReplyChunkType.BLOCK_STATUS_EXT : ReplyChunkType.BLOCK_STATUS
  const size = statusPayloadBytes(isExtended, descriptors)
  const payload = chunk(view, at, request, type, size, isLast)
  view.setUint32(payload, id)
  if (isExtended) view.setUint32(payload + 4, descriptors)
  return end
}

/** @returns the next extent whose status in the context is another */
function indexBehindEqual(kinds: number, extents: ExtentList, index: number): number {
  const low = statusLow(kinds, extents, index)
  const high = statusHigh(kinds, extents, index)
  let behind = index + 1
  while (
    behind < extents.count &&
    statusLow(kinds, extents, behind) === low &&
    statusHigh(kinds, extents, behind) === high
  )
    behind++
  return behind
}

export function errorChunkBytes(isExtended: boolean, error: number): number {
  return chunkHeaderBytes(isExtended) + HeaderSize.ERROR_OFFSET + textOf(error).length
}

/** Ends a reply. @param offset where it failed, or -1: that says nothing here */
export function errorChunk(
  view: DataView,
  at: number,
  bytes: Uint8Array,
  request: NbdRequest,
  error: number,
  offset: number,
): number {
  const text = textOf(error)
  const hasOffset = offset >= 0
  const type = hasOffset ? ReplyChunkType.ERROR_OFFSET : ReplyChunkType.ERROR
  const fixed = hasOffset ? HeaderSize.ERROR_OFFSET : HeaderSize.ERROR
  const payload = chunk(view, at, request, type, fixed + text.length, true)
  view.setUint32(payload, error)
  view.setUint16(payload + 4, text.length)
  bytes.set(text, payload + HeaderSize.ERROR)
  const end = payload + HeaderSize.ERROR + text.length
  return hasOffset ? setUint64(view, end, offset) : end
}

function setUint32(view: DataView, at: number, value: number): number {
  view.setUint32(at, value)
  return at + 4
}

function setUint64(view: DataView, at: number, value: number): number {
  view.setUint32(at, Math.floor(value / 2 ** 32))
  view.setUint32(at + 4, value % 2 ** 32)
  return at + 8
}

function textOf(error: number): Uint8Array {
  return TEXTS.get(error) ?? NO_TEXT
}

const NO_TEXT = new Uint8Array(0)

const TEXTS: ReadonlyMap<number, Uint8Array> = new Map(
  [
    [NbdError.EPERM, 'the export is read-only'],
    [NbdError.EIO, 'input/output error'],
    [NbdError.EINVAL, 'the request is not valid'],
    [NbdError.ENOSPC, 'no space, or beyond the end of the export'],
    [NbdError.ENOTSUP, 'not faster than writing zeros'],
    [NbdError.ESHUTDOWN, 'the server is shutting down'],
  ].map(([error, text]) => [error as number, encodeString(text as string)]),
)
