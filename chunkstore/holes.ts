/** What reads have in common: the search for holes, zeros, where the data goes, failures. */
import { DONE, type Status } from '../device/device.ts'
import { ExtentFlag } from '../device/extents.ts'
import { Seek } from '../io/io.ts'
import { endsBefore } from './file-end.ts'
import { HOLE_SEARCH_BYTES_MIN, PAGE_SIZE } from './limits.ts'
import type { Operation } from './operation.ts'
import { pageEnd, pageStart } from './page.ts'

const EIO = 5
/** No data behind this position. */
const ENXIO = 6

/** Extent entries kept free, so that data can always be appended after the last hole. */
const EXTENTS_RESERVED = 2

/** Whether who reads wants to be told of zeros, and it is worth it. */
export function wantsHoles(operation: Operation): boolean {
  const { extents } = operation
  if (extents === null || operation.pieceLength < HOLE_SEARCH_BYTES_MIN) return false
  return extents.count + EXTENTS_RESERVED < extents.capacity
}

/** Cuts the piece where data and hole meet. @returns whether what is left of it is a hole */
export function inHole(operation: Operation): boolean {
  const { files } = operation.store
  const start = operation.position
  files.seek(operation, Seek.HOLE)
  // An error: this file system cannot tell, everything is data.
  if (operation.result !== start) {
    if (operation.result > start) cut(operation, pageEnd(operation.result))
    return false
  }
  files.seek(operation, Seek.DATA)
  if (operation.result === -ENXIO) return !endsBefore(operation, start + operation.pieceLength)
  if (operation.result <= start) return false
  const data = pageStart(operation.result)
  cut(operation, Math.max(data, start + PAGE_SIZE))
  return data > start
}

/** Shortens the piece. @param end within the chunk */
export function cut(operation: Operation, end: number): void {
  operation.pieceLength = Math.min(operation.pieceLength, end - operation.position)
}

export function giveZeros(operation: Operation): Status {
  const { extents, pieceLength } = operation
  if (extents !== null && extents.count + EXTENTS_RESERVED <= extents.capacity) {
    extents.append(pieceLength, ExtentFlag.HOLE | ExtentFlag.ZERO)
    return DONE
  }
  place(operation)
  operation.buffer.fill(0, operation.bufferOffset, operation.bufferOffset + pieceLength)
  extents?.append(pieceLength, ExtentFlag.DATA)
  return DONE
}

/** Where in the request's buffer the piece goes. */
export function place(operation: Operation): void {
  const { request } = operation
  if (request === null) return
  operation.buffer = request.buffer
  operation.bufferOffset = request.bufferOffset + (operation.at - request.offset)
  operation.length = operation.pieceLength
}

/** @returns the errno of a read that failed or came to an early end */
export function readFailed({ store, chunk, result, position }: Operation): Status {
  const errno = result < 0 ? -result : EIO
  const what = result < 0 ? 'cannot be read' : 'is shorter than its chunk'
  store.faults.report(chunk?.path ?? '', errno, `chunk file ${what}`, { position })
  return errno
}
