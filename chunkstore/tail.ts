/**
 * The end of a disk, where it is cut off or made longer: is anything there, and away with it. Only
 * for a disk without parents, where a chunk without a file reads as zeros.
 */
import fs from 'node:fs'
import { Seek } from '../io/io.ts'
import { AwaitedOperation, orThrow } from './awaited-operation.ts'
import { removeChecksumFile } from './checksums/checksum-file.ts'
import { type Chunk, ChunkState } from './chunk.ts'
import { pinOpen } from './copy-chunk.ts'
import { DiskError } from './disk-error.ts'
import { PAGE_SIZE, STEP_BYTES } from './limits.ts'
import type { Store } from './store.ts'

const ENXIO = 6
const EOPNOTSUPP = 95

/** Results of a search that finds no data: there is none; the file ends too early. */
const NONE = -1
const SHORT = -2

/** Finds data behind an offset; what it saw as zeros is not read again until it is changed. */
export class TailSearch {
  readonly #store: Store
  readonly #offset: number
  readonly #isAborted: () => boolean
  /** Chunks that hold zeros there, and how often they had been changed when that was found. */
  readonly #zeros = new Map<Chunk, number>()

  /** @param isAborted asked between the steps; true ends the search with an error */
  constructor(store: Store, offset: number, isAborted: () => boolean) {
    this.#store = store
    this.#offset = offset
    this.#isAborted = isAborted
  }

  /**
   * @param isQuiet nobody changes anything there; otherwise it may miss what does change
   * @returns offset on the disk of the first byte that is not zero, or -1
   * @throws DiskError EPART if that cannot be said, because a chunk file is damaged
   */
  async find(isQuiet: boolean): Promise<number> {
    const { geometry, top } = this.#store
    const first = geometry.chunkOf(this.#offset)
    const chunks = [...top.chunks.values()].filter((chunk) => chunk.index >= first)
    for (const chunk of chunks.sort((a, b) => a.index - b.index)) {
      const start = geometry.startOf(chunk.index)
      const found = await this.#findIn(chunk, Math.max(0, this.#offset - start), isQuiet)
      if (found >= 0) return start + found
    }
    return NONE
  }

  async #findIn(chunk: Chunk, from: number, isQuiet: boolean): Promise<number> {
    if (chunk.state === ChunkState.DAMAGED) throw damaged(chunk)
    if (chunk.state !== ChunkState.FULL) return NONE
    const { modified } = chunk
    if (this.#zeros.get(chunk) === modified) return NONE
    const used = this.#store.geometry.usedSizeOf(chunk.index)
    const found = await this.#search(chunk, from, used)
    if (found === SHORT && isQuiet) throw damaged(chunk)
    if (found === NONE) this.#zeros.set(chunk, modified)
    return found
  }

  async #search(chunk: Chunk, from: number, end: number): Promise<number> {
    const { files, openFiles, zeros } = this.#store
    const { O_RDONLY } = fs.constants
    const operation = new AwaitedOperation()
    const buffer = files.memory(Math.min(STEP_BYTES, end - from))
    operation.buffer = buffer
    operation.fd = await openFiles.openFile(chunk, chunk.path, O_RDONLY)
    try {
      for (let at = from; at < end; at += STEP_BYTES) {
        at = nextData(this.#store, operation, at)
        if (at < 0 || at >= end) return NONE
        // What the kernel has in memory is read at once: others must get a turn in between.
        await new Promise((resolve) => setImmediate(resolve))
        if (this.#isAborted()) throw new DiskError('EINUSE', 'the disk is being closed')
        operation.position = at
        operation.length = Math.min(STEP_BYTES, end - at)
        const read = await operation.run((each) => files.read(each))
        const count = orThrow(read, `reading ${chunk.path}`)
        // It may just have become empty.
        if (count < operation.length) return SHORT
        const index = firstNonZero(buffer.subarray(0, count), zeros)
        if (index >= 0) return at + index
      }
      return NONE
    } finally {
      // It was only read.
      await files.close(operation.fd).catch(() => {})
    }
  }
}

/** @returns the page where data begins at or after `from`, or -1: only a hole comes */
function nextData(store: Store, operation: AwaitedOperation, from: number): number {
  operation.position = from
  store.files.seek(operation, Seek.DATA)
  if (operation.result === -ENXIO) return -1
  // Where holes cannot be searched for, everything is data.
  return operation.result < 0 ? from : operation.result - (operation.result % PAGE_SIZE)
}

/** @param zeros at least as long */
function firstNonZero(bytes: Uint8Array, zeros: Uint8Array): number {
  if (Buffer.compare(bytes, zeros.subarray(0, bytes.length)) === 0) return -1
  return bytes.findIndex((byte) => byte !== 0)
}

/**
 * Makes what a chunk's file holds from `used` on zeros; durable with the next flush. Nobody else
 * may be using the chunk.
 * @throws DiskError EPART if the file is damaged
 */
export async function clearBehind(store: Store, index: number, used: number): Promise<void> {
  const chunk = store.top.chunks.get(index)
  if (chunk === undefined || used === store.geometry.chunkSize) return
  if (chunk.state === ChunkState.DAMAGED) throw damaged(chunk)
  if (chunk.state !== ChunkState.FULL) return
  await pinOpen(store, chunk)
  try {
    if (chunk.cannotWrite) throw new DiskError('EPART', `${chunk.path} cannot be written`)
    const operation = new AwaitedOperation()
    operation.fd = chunk.fd
    if (nextData(store, operation, used) < 0) return
    const regions = await chunk.checksums?.beginRewrite(used)
    store.flusher.chunkModified(chunk)
    try {
      const isPunched = await punch(store, chunk, operation, used)
      if (!isPunched) await overwrite(store, chunk, operation, used)
    } finally {
      store.flusher.chunkModified(chunk)
      if (regions !== undefined) chunk.checksums?.endRewrite(regions)
    }
  } finally {
    chunk.pins--
  }
}

/** @returns false: holes cannot be punched here */
async function punch(
  { files, geometry }: Store,
  chunk: Chunk,
  operation: AwaitedOperation,
  from: number,
): Promise<boolean> {
  if (!chunk.part.abilities.punchHole) return false
  operation.position = from
  operation.length = geometry.chunkSize - from
  const result = await operation.run((each) => files.punchHole(each))
  if (result === -EOPNOTSUPP) return false
  orThrow(result, `punching a hole in ${chunk.path}`)
  return true
}

/** Zeros that are there already are not written again: that would allocate them. */
async function overwrite(
  { files, geometry, zeros }: Store,
  chunk: Chunk,
  operation: AwaitedOperation,
  from: number,
): Promise<void> {
  const found = files.memory(STEP_BYTES)
  for (let at = from; at < geometry.chunkSize; at += STEP_BYTES) {
    await new Promise((resolve) => setImmediate(resolve))
    operation.position = at
    operation.length = Math.min(STEP_BYTES, geometry.chunkSize - at)
    operation.buffer = found
    const read = await operation.run((each) => files.read(each))
    const count = orThrow(read, `reading ${chunk.path}`)
    if (firstNonZero(found.subarray(0, count), zeros) < 0) continue
    operation.buffer = zeros
    const written = await operation.run((each) => files.write(each))
    orThrow(written, `writing ${chunk.path}`)
  }
}

/** @throws DiskError ESYNC if something could not be made durable */
export async function flush(store: Store): Promise<void> {
  await store.flusher.flushAll()
  if (store.flusher.failure === 0) return
  throw new DiskError('ESYNC', `${store.top.descriptor.file}: a sync failed; open the disk again`)
}

/**
 * Removes the files of the chunks from `firstIndex` on. They are clean and nobody uses them.
 * @returns those that could not be removed, which the layer still has, and why not
 */
export async function removeChunks(store: Store, firstIndex: number): Promise<Map<Chunk, Error>> {
  const { files, top, openFiles } = store
  const left = new Map<Chunk, Error>()
  for (const chunk of top.chunks.values()) {
    if (chunk.index < firstIndex) continue
    await openFiles.discard(chunk)
    try {
      await chunk.part.checkPlace(files)
      await chunk.checksums?.remove(files)
      await files.remove(chunk.path)
      forget(store, chunk)
    } catch (error) {
      left.set(chunk, error as Error)
    }
  }
  return left
}

/** Checksum files from `firstIndex` on, of chunks that are gone, or not yet there. */
export async function removeSums({ files, top }: Store, firstIndex: number): Promise<void> {
  for (const part of top.checksums === null ? [] : top.parts) {
    const { checksumFiles } = await part.scan(files, 0)
    for (const index of checksumFiles) {
      if (index >= firstIndex) await removeChecksumFile(files, part.checksumPath(index))
    }
  }
}

/** The layer has this chunk no longer. */
export function forget({ top }: Store, chunk: Chunk): void {
  if (top.chunks.delete(chunk.index)) chunk.part.chunkCount--
}

function damaged(chunk: Chunk): DiskError {
  const what = `${chunk.path} is damaged, so nobody can say what it holds`
  return new DiskError('EPART', `${what}; "chunknbd check" says more`)
}
