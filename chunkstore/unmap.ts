/**
 * Trim and zero of a piece.
 *
 *   the written layer has | whole chunk            | part of a chunk
 *   ----------------------|------------------------|---------------------------------
 *   nothing, nor a parent | nothing to do          | nothing to do
 *   an empty chunk        | nothing to do          | nothing to do
 *   nothing, a parent has | an empty file hides it | copy up, then as below
 *   a full chunk          | truncate to empty      | punch a hole; if now all is unmapped: truncate
 *
 * Unmapped ranges are remembered per chunk across requests, so that many small trims free a chunk.
 * A zero with NO_HOLE allocates instead. Where holes cannot be punched zeros are written.
 * With a trim mode that makes no holes, a trim of a part is only remembered, a zero allocates; with
 * one that empties no files, a whole chunk is treated like a part of one.
 */
import { DONE, PENDING, RequestFlag, type Status } from '../device/device.ts'
import { Seek } from '../io/io.ts'
import { type Chunk, ChunkState } from './chunk.ts'
import { admitChange, endChange } from './checksums/change.ts'
import { endsBefore } from './file-end.ts'
import { STEP_BYTES, WIDE_CHUNKS_MIN, ZERO_STEPS_PER_TURN } from './limits.ts'
import { Kind, RETRY } from './kind.ts'
import type { Operation } from './operation.ts'
import { emptiesFiles, makesHoles } from './options.ts'
import { afterChange, changeFailed, makeFull } from './write.ts'

const EIO = 5
const ENOSPC = 28
const ENXIO = 6
const EOPNOTSUPP = 95

export function unmapPiece(operation: Operation): Status {
  const { store } = operation
  const mustAllocate = operation.kind === Kind.ZERO && hasFlag(operation, RequestFlag.NO_HOLE)
  const chunk = store.top.chunks.get(operation.index)
  const state = chunk === undefined ? ChunkState.ABSENT : chunk.state
  if (state === ChunkState.DAMAGED) return EIO
  if (chunk !== undefined && state === ChunkState.FULL) {
    return mustAllocate ? allocateZeros(operation, chunk) : unmapFull(operation, chunk)
  }
  if (mustAllocate) return makeFull(operation)
  const hidden = state === ChunkState.EMPTY || store.findBelow(operation.index) === null
  if (hidden) {
    skipAbsent(operation)
    return DONE
  }
  if (isWhole(operation)) return makeEmpty(operation)
  // Where a trim makes no holes, nothing is gained by a copy of the parent's chunk.
  const isWorthCopy = operation.kind === Kind.ZERO || makesHoles(store.options.trim)
  return isWorthCopy ? makeFull(operation) : DONE
}

function unmapFull(operation: Operation, chunk: Chunk): Status {
  const { trim } = operation.store.options
  const frees = emptiesFiles(trim) && (isWhole(operation) || isUnmappedWhole(operation, chunk))
  if (frees) return truncate(operation, chunk)
  if (makesHoles(trim)) return punch(operation, chunk)
  return operation.kind === Kind.ZERO ? allocateZeros(operation, chunk) : remember(operation, chunk)
}

/** The data stays as it is, until all of the chunk is unmapped or this is forgotten. */
function remember(operation: Operation, chunk: Chunk): Status {
  chunk.unmapped.add(operation.position, operation.position + operation.pieceLength)
  return DONE
}

function hasFlag(operation: Operation, flag: number): boolean {
  return operation.request !== null && (operation.request.flags & flag) !== 0
}

function isWhole(operation: Operation): boolean {
  const used = operation.store.geometry.usedSizeOf(operation.index)
  return operation.position === 0 && operation.pieceLength === used
}

/** Over a wide range of nothing: goes to the next chunk that exists in any layer. */
function skipAbsent(operation: Operation): void {
  const { geometry, layers } = operation.store
  const last = geometry.chunkOf(operation.end - 1)
  if (last - operation.index < WIDE_CHUNKS_MIN) return
  operation.present ??= Float64Array.from(
    layers.flatMap((layer) => [...layer.chunks.keys()].filter((index) => index <= last)),
  ).sort()
  const next = firstAbove(operation.present, operation.index)
  const to = next === undefined ? operation.end : geometry.startOf(next)
  operation.pieceLength = to - operation.at
}

function firstAbove(sorted: Float64Array, value: number): number | undefined {
  let low = 0
  let high = sorted.length
  while (low < high) {
    const middle = (low + high) >>> 1
    if (sorted[middle] <= value) low = middle + 1
    else high = middle
  }
  return sorted[low]
}

function makeEmpty(operation: Operation): Status {
  const { store } = operation
  const chunk = store.creator.entry(operation.index)
  if (chunk === null) return ENOSPC
  if (!store.beginExclusive(chunk, operation)) return PENDING
  chunk.waiting.push(operation)
  store.creator.makeEmpty(chunk)
  return PENDING
}

/** Frees the whole chunk: its file becomes empty. Nobody else may be using it. */
function truncate(operation: Operation, chunk: Chunk): Status {
  const { store } = operation
  if (chunk.checksums?.mayEmpty(operation) === false) return PENDING
  if (!store.beginExclusive(chunk, operation)) return PENDING
  if (chunk.fd < 0 || chunk.cannotWrite) return openFirst(operation, chunk)
  operation.chunk = chunk
  operation.fd = chunk.fd
  operation.length = 0
  operation.step = afterTruncate
  return store.files.truncate(operation) ? afterTruncate(operation) : PENDING
}

function openFirst(operation: Operation, chunk: Chunk): Status {
  chunk.exclusive = false
  return operation.store.use(chunk, operation) ? RETRY : PENDING
}

function afterTruncate(operation: Operation): Status {
  const { store, chunk, result } = operation
  if (chunk === null) return EIO
  if (result < 0) {
    store.creator.lookAgain(chunk, operation, changeFailed(operation, chunk))
    return PENDING
  }
  chunk.state = ChunkState.EMPTY
  chunk.forgetUnmapped()
  store.flusher.chunkModified(chunk)
  chunk.checksums?.emptied()
  store.endExclusive(chunk, 0)
  return DONE
}

/** Frees part of a chunk. */
function punch(operation: Operation, chunk: Chunk): Status {
  const { store } = operation
  if (chunk.checksums !== null && !admitChange(operation, chunk.checksums)) return PENDING
  const { position, pieceLength } = operation
  if (!store.use(chunk, operation)) return PENDING
  operation.region?.beginChange()
  operation.chunk = chunk
  operation.fd = chunk.fd
  operation.length = pieceLength
  if (emptiesFiles(store.options.trim)) chunk.unmapped.add(position, position + pieceLength)
  if (!chunk.part.abilities.punchHole) return writeZeros(operation)
  operation.step = afterPunch
  return store.files.punchHole(operation) ? afterPunch(operation) : PENDING
}

/** With this piece, everything in the chunk is unmapped. */
function isUnmappedWhole(operation: Operation, chunk: Chunk): boolean {
  const { position, pieceLength, store } = operation
  const used = store.geometry.usedSizeOf(operation.index)
  const before = position === 0 || chunk.unmapped.covers(0, position)
  const end = position + pieceLength
  return before && (end === used || chunk.unmapped.covers(end, used))
}

function afterPunch(operation: Operation): Status {
  const { store, chunk, result } = operation
  if (chunk === null) return EIO
  if (result === -EOPNOTSUPP) return writeZeros(operation)
  store.flusher.chunkModified(chunk)
  if (operation.region !== null) endChange(operation, operation.region)
  // Only when nobody else uses the file: a write under way may not have got there yet.
  const mayEmpty = emptiesFiles(store.options.trim) && chunk.users === 1
  const empty = result >= 0 && mayEmpty && hasNothing(operation)
  if (result < 0) chunk.forgetUnmapped()
  store.release(chunk)
  if (result < 0) return changeFailed(operation, chunk)
  if (!empty) return DONE
  // Ranges trimmed before the disk was opened count as well: the next try truncates.
  chunk.unmapped.add(0, store.geometry.usedSizeOf(operation.index))
  return RETRY
}

/** The file has neither data nor blocks (blocks without data were asked for by NO_HOLE). */
function hasNothing(operation: Operation): boolean {
  const { files } = operation.store
  files.allocated(operation)
  if (operation.result !== 0) return false
  const position = operation.position
  operation.position = 0
  files.seek(operation, Seek.DATA)
  operation.position = position
  const { chunkSize } = operation.store.geometry
  return operation.result === -ENXIO && !endsBefore(operation, chunkSize)
}

/** A step at a time: the piece is cut to it, and the rest is another piece. */
function writeZeros(operation: Operation): Status {
  const { store, chunk } = operation
  if (operation.budget === ZERO_STEPS_PER_TURN && chunk !== null) {
    operation.budget = 0
    operation.region?.cancelChange()
    store.release(chunk)
    return operation.pause()
  }
  operation.budget++
  operation.pieceLength = Math.min(operation.pieceLength, STEP_BYTES)
  operation.length = operation.pieceLength
  operation.buffer = store.zeros
  operation.bufferOffset = 0
  operation.step = afterZeros
  return store.files.write(operation) ? afterZeros(operation) : PENDING
}

function afterZeros(operation: Operation): Status {
  // What was to be zeroed beyond this step was already taken for unmapped.
  if (operation.result < 0) operation.chunk?.forgetUnmapped()
  return afterChange(operation)
}

/** Zeros that stay allocated, so that a later write cannot fail for lack of space. */
function allocateZeros(operation: Operation, chunk: Chunk): Status {
  const { store } = operation
  if (chunk.checksums !== null && !admitChange(operation, chunk.checksums)) return PENDING
  const { position, pieceLength } = operation
  if (!store.use(chunk, operation)) return PENDING
  operation.region?.beginChange()
  operation.chunk = chunk
  operation.fd = chunk.fd
  operation.length = pieceLength
  chunk.map(position, position + pieceLength)
  if (!chunk.part.abilities.zeroRange) return writeZeros(operation)
  operation.step = afterZeroRange
  return store.files.zeroRange(operation) ? afterZeroRange(operation) : PENDING
}

function afterZeroRange(operation: Operation): Status {
  return operation.result === -EOPNOTSUPP ? writeZeros(operation) : afterChange(operation)
}
