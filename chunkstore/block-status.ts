/**
 * Block status of a piece: absent and empty chunks are holes without touching a file, a full one
 * is asked where its data is. Stops early (the request then covers less) to keep the call short.
 */
import { DONE, PENDING, type Status } from '../device/device.ts'
import { ExtentFlag, type ExtentList } from '../device/extents.ts'
import { Seek } from '../io/io.ts'
import { type Chunk, ChunkState } from './chunk.ts'
import { CHUNKS_PER_CALL_MAX, SEEKS_PER_CALL_MAX } from './limits.ts'
import type { Operation } from './operation.ts'

const EIO = 5
const HOLE = ExtentFlag.HOLE | ExtentFlag.ZERO

export function statusPiece(operation: Operation): Status {
  const { store, extents } = operation
  if (extents === null) return EIO
  const chunk = store.find(operation.index)
  operation.budget += SEEKS_PER_CALL_MAX / CHUNKS_PER_CALL_MAX
  if (chunk === null || chunk.state === ChunkState.EMPTY) {
    if (!extents.append(operation.pieceLength, HOLE)) stop(operation)
    else if (operation.budget >= SEEKS_PER_CALL_MAX) operation.end = operation.at
    return DONE
  }
  if (chunk.state === ChunkState.DAMAGED) return EIO
  if (!store.use(chunk, operation)) return PENDING
  searchFile(operation, chunk, extents)
  store.release(chunk)
  return DONE
}

/** What is in the list is the answer. */
function stop(operation: Operation): void {
  operation.pieceLength = 0
  operation.end = operation.at
}

function searchFile(operation: Operation, chunk: Chunk, extents: ExtentList): void {
  const { files } = operation.store
  const end = operation.position + operation.pieceLength
  operation.fd = chunk.fd
  let kind: number = ExtentFlag.DATA
  for (let at = operation.position; at < end;) {
    operation.position = at
    files.seek(operation, kind === ExtentFlag.DATA ? Seek.HOLE : Seek.DATA)
    // No more data (ENXIO), or a file system that cannot tell: then everything is data.
    const found = operation.result < 0 ? end : Math.min(operation.result, end)
    if (!extents.append(found - at, kind) || ++operation.budget >= SEEKS_PER_CALL_MAX) {
      stop(operation)
      return
    }
    kind = kind === ExtentFlag.DATA ? HOLE : ExtentFlag.DATA
    at = found
  }
}
