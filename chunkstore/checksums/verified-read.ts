/**
 * Reads a piece of a chunk that has checksums, and compares. A read that overlapped a change of
 * its region may have seen the old data, the new or half of both. If it does not match, it is
 * tried once more, alone. What does not match then is damaged.
 */
import { DONE, PENDING, RequestFlag, type Status } from '../../device/device.ts'
import { ExtentFlag } from '../../device/extents.ts'
import type { Chunk } from '../chunk.ts'
import { RETRY } from '../kind.ts'
import { PAGE_SIZE } from '../limits.ts'
import type { Operation } from '../operation.ts'
import { cut, giveZeros, inHole, place, readFailed, wantsHoles } from '../holes.ts'
import type { ChunkChecksums } from './chunk-checksums.ts'
import type { Region } from './region.ts'

const EIO = 5

export function readVerified(
  operation: Operation,
  chunk: Chunk,
  checksums: ChunkChecksums,
): Status {
  const { store, position } = operation
  const region = checksums.regionAt(position)
  cut(operation, region.end)
  if (!store.checksums.mayRead(region, operation, position, operation.pieceLength)) return PENDING
  if (!(operation.isAlone ? useAlone(operation, chunk) : store.use(chunk, operation))) {
    return PENDING
  }
  operation.chunk = chunk
  operation.fd = chunk.fd
  if (!operation.isAlone && wantsHoles(operation) && inHole(operation)) {
    // A hole that the sums do not know of is read as data, and found out.
    if (region.isZero(position, operation.pieceLength)) {
      store.release(chunk)
      return giveZeros(operation)
    }
  }
  return readData(operation, region)
}

/** @returns false: the operation was parked */
function useAlone(operation: Operation, chunk: Chunk): boolean {
  const { store } = operation
  if (!store.beginExclusive(chunk, operation)) return false
  if (chunk.fd >= 0) return true
  // It was closed meanwhile: opened, it is tried again.
  chunk.exclusive = false
  store.use(chunk, operation)
  return false
}

function readData(operation: Operation, region: Region): Status {
  place(operation)
  operation.atOnce = ((operation.request?.flags ?? 0) & RequestFlag.AT_ONCE) !== 0
  operation.step = afterRead
  operation.region = region
  operation.changes = region.changes
  region.pins++
  return operation.store.files.read(operation) ? afterRead(operation) : PENDING
}

function afterRead(operation: Operation): Status {
  const { store, chunk, region, result, length, isAlone } = operation
  if (chunk === null || region === null) return EIO
  const isOverlapped = region.mutations > 0 || region.changes !== operation.changes
  region.pins--
  operation.isAlone = false
  if (isAlone) store.endExclusive(chunk, 0)
  else store.release(chunk)
  if (result < length) return readFailed(operation)
  const { buffer, bufferOffset, position } = operation
  const bad = region.verify(buffer, bufferOffset, position, length)
  if (bad >= 0) {
    if (!isOverlapped || isAlone) return mismatch(operation, chunk, region, bad)
    operation.isAlone = true
    return RETRY
  }
  operation.extents?.append(length, ExtentFlag.DATA)
  return DONE
}

/** The pages before the bad one are good; the request fails at that. */
function mismatch(operation: Operation, chunk: Chunk, region: Region, bad: number): Status {
  const good = bad * PAGE_SIZE
  operation.extents?.append(good, ExtentFlag.DATA)
  operation.at += good
  const { position, at: offset, store } = operation
  const fields = { chunk: chunk.index, position: position + good, offset }
  const damaged = region.isSuspect ? 'it or its checksum file is damaged' : 'it is damaged'
  // Each page is told of: the log leaves out what it has told just now.
  const what = `the page at ${offset} of the disk does not match its checksum: ${damaged}`
  store.faults.report(chunk.path, EIO, what, fields)
  return EIO
}
