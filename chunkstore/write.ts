/**
 * Writes a piece straight from the caller's buffer into the written layer's chunk file. A chunk
 * that has no data there yet is made first: empty, or a copy of the parent's.
 */
import { DONE, PENDING, type Status } from '../device/device.ts'
import { type Chunk, ChunkState } from './chunk.ts'
import { admitChange, endChange } from './checksums/change.ts'
import type { Operation } from './operation.ts'

const EIO = 5
const ENOSPC = 28

export function writePiece(operation: Operation): Status {
  const { store } = operation
  const chunk = store.top.chunks.get(operation.index)
  if (chunk === undefined || chunk.state !== ChunkState.FULL) return makeFull(operation)
  if (chunk.checksums !== null && !admitChange(operation, chunk.checksums)) return PENDING
  if (!store.use(chunk, operation)) return PENDING
  operation.chunk = chunk
  return writeData(operation, chunk)
}

/** Has the chunk file made; the piece waits for it and is then tried again. */
export function makeFull(operation: Operation): Status {
  const { store } = operation
  const chunk = store.creator.entry(operation.index)
  if (chunk === null) return ENOSPC
  if (chunk.state === ChunkState.DAMAGED) return EIO
  if (!store.beginExclusive(chunk, operation)) return PENDING
  const hidesParent = chunk.state === ChunkState.ABSENT
  const source = hidesParent ? store.findBelow(operation.index) : null
  chunk.waiting.push(operation)
  store.creator.makeFull(chunk, source)
  return PENDING
}

function writeData(operation: Operation, chunk: Chunk): Status {
  const { request, store } = operation
  if (request === null) return EIO
  operation.fd = chunk.fd
  operation.buffer = request.buffer
  operation.bufferOffset = request.bufferOffset + (operation.at - request.offset)
  operation.length = operation.pieceLength
  chunk.map(operation.position, operation.position + operation.length)
  operation.region?.beginChange()
  operation.step = afterChange
  return store.files.write(operation) ? afterChange(operation) : PENDING
}

/** After a write or zeroRange: also a failed one may have changed the file. */
export function afterChange(operation: Operation): Status {
  const { store, chunk, result } = operation
  if (chunk === null) return EIO
  store.flusher.chunkModified(chunk)
  if (operation.region !== null) endChange(operation, operation.region)
  store.release(chunk)
  return result < 0 ? changeFailed(operation, chunk) : DONE
}

/** @returns the errno of the operation's result */
export function changeFailed({ store, result, position }: Operation, chunk: Chunk): Status {
  store.faults.report(chunk.path, -result, 'chunk file cannot be changed', { position })
  return -result
}
