/**
 * Merges a disk into its parent: its chunk files replace the parent's. It and the parent must be
 * in use by nobody. Afterwards the parent reads as the disk did, and the disk, which stays as a
 * child without chunks, does too.
 *
 * A chunk goes over in one step (a rename), or, to another file system, in two: a copy takes the
 * place of the parent's, and only when that is durable the child's is removed. So at every moment,
 * also across a crash, the disk reads the same, and a commit that was interrupted is finished by
 * running it again.
 */
import fs from 'node:fs'
import path from 'node:path'
import type { Files } from '../io/io.ts'
import { ChainMode, closeChain, openChain, scanChain } from './chain.ts'
import { CopiedSums } from './checksums/copied-sums.ts'
import { MovedSums } from './checksums/moved-sums.ts'
import { Chunk, ChunkState } from './chunk.ts'
import { DiskError } from './disk-error.ts'
import { type Layer, refuseDamage } from './layer.ts'
import type { Part } from './part.ts'
import { PathMap } from './path-map.ts'
import { placeCopy, syncFile, syncNames } from './place-copy.ts'
import { otherChildren } from './siblings.ts'

const { O_NOFOLLOW, O_RDONLY } = fs.constants

export interface CommitOptions {
  /** Go on although other disks stand on the parent; what they read changes. */
  readonly breakSiblings: boolean
  readonly paths: PathMap
}

const DEFAULTS: CommitOptions = { breakSiblings: false, paths: PathMap.NONE }

export interface CommitResult {
  /** Descriptors: the disk, and the parent that has its chunks now. */
  readonly file: string
  readonly parent: string
  /** Chunk files that were renamed, and those that were copied to another file system. */
  readonly moved: number
  readonly copied: number
}

/**
 * @param file path of the descriptor
 * @throws DiskError ECHAIN, EINUSE, EPART, EDESCRIPTOR; nothing has changed then
 */
export async function commitDisk(
  files: Files,
  file: string,
  options: Partial<CommitOptions> = {},
): Promise<CommitResult> {
  const { breakSiblings, paths } = { ...DEFAULTS, ...options }
  const layers = await openChain(files, path.resolve(file), ChainMode.MERGE, paths)
  try {
    const [child, parent] = layers
    if (parent === undefined) {
      throw new DiskError('ECHAIN', `${child.descriptor.file}: it has no parent to commit to`)
    }
    if (!breakSiblings) await refuseSiblings(files, child, parent, paths)
    await scanChain(files, layers, 2)
    refuseDamage(child)
    for (const layer of [child, parent]) {
      await layer.prepareWriting(files)
      await layer.settleNames(files)
    }
    return await new Commit(files, child, parent).run()
  } finally {
    await closeChain(files, layers)
  }
}

async function refuseSiblings(
  files: Files,
  child: Layer,
  parent: Layer,
  paths: PathMap,
): Promise<void> {
  const others = await otherChildren(files, child, parent, paths)
  if (others.length === 0) return
  const { file } = parent.descriptor
  const what = `${others.join(', ')}: stands on ${file} too and would read other data`
  throw new DiskError('ECHAIN', `${what}; remove it, or give --break-siblings`)
}

class Commit {
  readonly #files: Files
  readonly #child: Layer
  readonly #parent: Layer
  #moved = 0
  #copied = 0

  constructor(files: Files, child: Layer, parent: Layer) {
    this.#files = files
    this.#child = child
    this.#parent = parent
  }

  async run(): Promise<CommitResult> {
    const child = this.#child
    const parent = this.#parent
    const chunks = [...child.chunks.values()].sort((a, b) => a.index - b.index)
    const indexes = chunks.map((chunk) => chunk.index)
    const sums = await MovedSums.begin(this.#files, child, parent, indexes)
    for (const chunk of chunks) await this.#handOver(chunk, sums)
    // Where a name moved it has to be in its new place for good before it may leave the old one.
    await syncNames(this.#files, parent.parts)
    await syncNames(this.#files, child.parts)
    await sums.finish()
    return {
      file: child.descriptor.file,
      parent: parent.descriptor.file,
      moved: this.#moved,
      copied: this.#copied,
    }
  }

  async #handOver(chunk: Chunk, sums: MovedSums): Promise<void> {
    const part = this.#placeFor(chunk)
    const before = this.#parent.chunks.get(chunk.index)?.checksums?.file ?? null
    if (await this.#rename(chunk, part)) {
      this.#moved++
    } else {
      await this.#copy(chunk, part)
      this.#copied++
    }
    await sums.move(chunk.checksums?.file ?? null, before, part, chunk.index)
    if (!this.#parent.chunks.has(chunk.index)) part.chunkCount++
    this.#parent.chunks.set(chunk.index, new Chunk(chunk.index, part, chunk.state))
  }

  /** Where the parent has it; a new one stays on its file system if that has room. */
  #placeFor(chunk: Chunk): Part {
    const known = this.#parent.chunks.get(chunk.index)
    if (known !== undefined) return known.part
    const withRoom = this.#parent.parts.filter((part) => part.chunkCount < part.chunksMax)
    const device = deviceOf(chunk.part)
    const chosen = withRoom.find((part) => deviceOf(part) === device) ?? withRoom[0]
    if (chosen !== undefined) return chosen
    throw new DiskError('EPART', `${this.#parent.descriptor.file}: no part has room`)
  }

  /** @returns false: it has to be copied */
  async #rename(chunk: Chunk, part: Part): Promise<boolean> {
    const files = this.#files
    let fd: number
    try {
      fd = await files.open(chunk.path, O_RDONLY | O_NOFOLLOW)
    } catch (error) {
      // A symbolic link might lead nowhere from another directory.
      if ((error as NodeJS.ErrnoException).code === 'ELOOP') return false
      throw error
    }
    try {
      // It may replace a file whose data is durable.
      await syncFile(files, fd, chunk.path)
      await files.rename(chunk.path, part.chunkPath(chunk.index))
      return true
    } catch (error) {
      if ((error as NodeJS.ErrnoException).code === 'EXDEV') return false
      throw error
    } finally {
      await files.close(fd)
    }
  }

  async #copy(chunk: Chunk, part: Part): Promise<void> {
    const { chunkSize } = this.#parent.descriptor.geometry
    const size = chunk.state === ChunkState.EMPTY ? 0 : chunkSize
    const sums = await CopiedSums.begin(this.#files, chunk.checksums, null)
    await placeCopy(this.#files, chunk.path, part, chunk.index, size, sums)
    await syncNames(this.#files, [part])
    await this.#files.remove(chunk.path)
  }
}

function deviceOf(part: Part): string {
  return part.identity.split(':')[0]
}
