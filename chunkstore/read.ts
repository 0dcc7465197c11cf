/**
 * Reads a piece: zeros where no layer has data, else straight from the chunk file into the
 * caller's buffer. A caller that asks for extents is told of zeros instead of being given them.
 */
import { DONE, PENDING, RequestFlag } from '../device/device.ts'
import type { FileOutlet, Status } from '../device/device.ts'
import { ExtentFlag } from '../device/extents.ts'
import { ChunkState } from './chunk.ts'
import { readVerified } from './checksums/verified-read.ts'
import { giveZeros, inHole, place, readFailed, wantsHoles } from './holes.ts'
import type { Operation } from './operation.ts'

const EIO = 5

export function readPiece(operation: Operation): Status {
  const { store } = operation
  const chunk = store.find(operation.index)
  if (chunk === null || chunk.state === ChunkState.EMPTY) return giveZeros(operation)
  if (chunk.state === ChunkState.DAMAGED) return EIO
  if (chunk.checksums !== null) return readVerified(operation, chunk, chunk.checksums)
  if (!store.use(chunk, operation)) return PENDING
  operation.chunk = chunk
  operation.fd = chunk.fd
  if (wantsHoles(operation) && inHole(operation)) {
    store.release(chunk)
    return giveZeros(operation)
  }
  return readData(operation)
}

function readData(operation: Operation): Status {
  place(operation)
  operation.atOnce = ((operation.request?.flags ?? 0) & RequestFlag.AT_ONCE) !== 0
  operation.step = afterRead
  operation.outlet = outletOf(operation)
  const isDone = operation.store.files.read(operation)
  operation.outlet = null
  return isDone ? afterRead(operation) : PENDING
}

/** Only a read that lies in one chunk as a whole can leave from its file. */
function outletOf({ request, pieceLength }: Operation): FileOutlet | null {
  if (request === null || pieceLength !== request.length) return null
  return request.outlet ?? null
}

function afterRead(operation: Operation): Status {
  const { store, chunk, result, length } = operation
  if (chunk !== null) store.release(chunk)
  if (result < length) return readFailed(operation)
  operation.extents?.append(length, ExtentFlag.DATA)
  return DONE
}
