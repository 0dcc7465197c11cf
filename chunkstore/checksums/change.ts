/** What a write, a trim or a zero of a piece has to do with checksums. */
import { Kind } from '../kind.ts'
import type { Operation } from '../operation.ts'
import { cut } from '../holes.ts'
import type { ChunkChecksums } from './chunk-checksums.ts'
import type { Region } from './region.ts'

/**
 * Cuts the piece to a region, which may be changed from now to the end of this turn.
 * @returns false: the operation is parked
 */
export function admitChange(operation: Operation, checksums: ChunkChecksums): boolean {
  const region = checksums.regionAt(operation.position)
  operation.region = region
  cut(operation, region.end)
  return operation.store.checksums.mayChange(region, operation)
}

/** What began with `region.beginChange` has come to an end, also to a bad one. */
export function endChange(operation: Operation, region: Region): void {
  const { kind, position, pieceLength, buffer, bufferOffset, result } = operation
  operation.region = null
  if (result < 0) region.failedChange(position, pieceLength)
  else if (kind === Kind.WRITE) region.wrote(position, pieceLength, buffer, bufferOffset)
  else region.zeroed(position, pieceLength)
}
