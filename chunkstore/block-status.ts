/**
 * Block status of a piece: absent and empty chunks are holes without touching a file, a full one
 * is asked where its data is. Stops early (the request then covers less) to keep the call short.
 *
 * Extents end at pages, whatever the blocks of the file system: data takes the whole page.
 */
import { DONE, PENDING, type Status } from '../device/device.ts'
import { ExtentFlag, ExtentKind, type ExtentList } from '../device/extents.ts'
import { Seek } from '../io/io.ts'
import { type Chunk, ChunkState } from './chunk.ts'
import type { Region } from './checksums/region.ts'
import { endsBefore } from './file-end.ts'
import { CHUNKS_PER_CALL_MAX, PAGE_SIZE, SEEKS_PER_CALL_MAX } from './limits.ts'
import type { Operation } from './operation.ts'
import { cut } from './holes.ts'

const EIO = 5
const ENXIO = 6
const HOLE = ExtentFlag.HOLE | ExtentFlag.ZERO

export function statusPiece(operation: Operation): Status {
  const { store, extents } = operation
  if (extents === null) return EIO
  const chunk = store.find(operation.index)
  operation.budget += SEEKS_PER_CALL_MAX / CHUNKS_PER_CALL_MAX
  if (chunk === null || chunk.state === ChunkState.EMPTY) {
    if (!tell(operation, chunk, operation.pieceLength, HOLE)) stop(operation)
    else if (operation.budget >= SEEKS_PER_CALL_MAX) operation.end = operation.at
    return DONE
  }
  if (chunk.state === ChunkState.DAMAGED) return fail(operation, extents)
  if ((extents.kinds & ExtentKind.ALLOCATION) === 0) {
    if (!tell(operation, chunk, operation.pieceLength, ExtentFlag.DATA)) stop(operation)
    return DONE
  }
  const region = chunk.checksums?.regionAt(operation.position) ?? null
  if (region !== null) {
    cut(operation, region.end)
    if (!store.checksums.mayLook(region, operation)) return PENDING
  }
  if (!store.use(chunk, operation)) return PENDING
  const status = searchFile(operation, chunk, region, extents)
  store.release(chunk)
  return status
}

/**
 * Appends some of the piece, and as much of its place as is asked for.
 * @returns false: the list is full
 */
function tell(operation: Operation, chunk: Chunk | null, length: number, flags: number): boolean {
  const { extents, store } = operation
  if (extents === null) return false
  if (chunk === null || extents.kinds === ExtentKind.ALLOCATION)
    return extents.append(length, flags)
  const depth = store.depthOf(chunk)
  const part = store.layers[depth - 1].parts.indexOf(chunk.part)
  return extents.appendPlaced(length, flags, depth, part, chunk.index)
}

/** What is in the list is the answer. */
function stop(operation: Operation): void {
  operation.pieceLength = 0
  operation.end = operation.at
}

/** A client that asks on gets the error then. */
function fail(operation: Operation, extents: ExtentList): Status {
  if (extents.count === 0) return EIO
  stop(operation)
  return DONE
}

function searchFile(
  operation: Operation,
  chunk: Chunk,
  region: Region | null,
  extents: ExtentList,
): Status {
  const { files } = operation.store
  const end = operation.position + operation.pieceLength
  operation.fd = chunk.fd
  let kind: number = ExtentFlag.DATA
  /** Where what has been told of ends. */
  let told = operation.position
  for (let at = told; told < end;) {
    operation.position = at
    files.seek(operation, kind === ExtentFlag.DATA ? Seek.HOLE : Seek.DATA)
    if (operation.result === -ENXIO && isShort(operation, kind, end)) {
      return fail(operation, extents)
    }
    // No more data (ENXIO), or a file system that cannot tell: then everything is data.
    const found = operation.result < 0 ? end : Math.min(operation.result, end)
    const pages = found / PAGE_SIZE
    const until = PAGE_SIZE * (kind === ExtentFlag.DATA ? Math.ceil(pages) : Math.floor(pages))
    // A hole that the checksums do not know of shall be read, and found out.
    const isTrue = kind === ExtentFlag.DATA || region === null || until <= told
    const flags = isTrue || region.isZero(told, until - told) ? kind : ExtentFlag.DATA
    const isTold = until <= told || tell(operation, chunk, until - told, flags)
    if (!isTold || ++operation.budget >= SEEKS_PER_CALL_MAX) {
      // A file system that goes in circles: there must be an answer.
      if (extents.count === 0) tell(operation, chunk, end - told, ExtentFlag.DATA)
      stop(operation)
      return DONE
    }
    told = Math.max(told, until)
    kind = kind === ExtentFlag.DATA ? HOLE : ExtentFlag.DATA
    at = found
  }
  return DONE
}

/** Even a file without holes has one at its end, unless the search began behind that. */
function isShort(operation: Operation, kind: number, end: number): boolean {
  if (kind === ExtentFlag.DATA || endsBefore(operation, end)) {
    const { store, index } = operation
    const file = store.find(index)?.path
    store.options.log.error({ file }, 'chunk file is shorter than its chunk')
    return true
  }
  operation.result = -ENXIO
  return false
}
