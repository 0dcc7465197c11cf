/**
 * One descriptor with its parts and the chunk files found in them. A disk is a chain of layers,
 * the first is written, the others (its parents) are only read.
 */
import path from 'node:path'
import type { Files, LockKind } from '../io/io.ts'
import { LayerChecksums } from './checksums/layer-checksums.ts'
import { Chunk, ChunkState } from './chunk.ts'
import type { Descriptor } from './descriptor.ts'
import { DescriptorFile, lockOne } from './descriptor-file.ts'
import { DiskError } from './disk-error.ts'
import { type FoundChunk, Part, type PartContents } from './part.ts'
import type { PathMap } from './path-map.ts'
import { syncNames } from './place-copy.ts'

export class Layer {
  readonly parts: Part[]
  /** Chunks that have a file, by index. */
  readonly chunks = new Map<number, Chunk>()
  /** Null: it has none, or nobody asked (`openChecksums`). */
  checksums: LayerChecksums | null = null
  #source: DescriptorFile

  constructor(source: DescriptorFile) {
    this.#source = source
    this.parts = source.descriptor.parts.map((line) => new Part(line.directory, line.chunksMax))
  }

  get descriptor(): Descriptor {
    return this.#source.descriptor
  }

  /** Contents of the descriptor. */
  get text(): string {
    return this.#source.text
  }

  /** Of the descriptor. */
  get identity(): string {
    return this.#source.identity
  }

  /** Opens the descriptor and the part directories; reads no chunk yet. */
  static async open(files: Files, file: string, paths: PathMap): Promise<Layer> {
    const layer = new Layer(await DescriptorFile.open(files, file, paths))
    try {
      for (const part of layer.parts) await part.open(files)
    } catch (error) {
      await layer.close(files)
      throw error
    }
    return layer
  }

  /**
   * Locks the descriptor and every part, for as long as this process lives or until `close`.
   * @throws DiskError EINUSE, naming who holds the lock
   */
  async lock(files: Files, kind: LockKind): Promise<void> {
    await this.#source.lock(files, kind)
    for (const part of this.parts) await lockOne(files, part.fd, part.directory, kind)
    await this.#source.verify(files)
  }

  /** @throws DiskError EINUSE if somebody changed the descriptor since it was opened */
  verify(files: Files): Promise<void> {
    return this.#source.verify(files)
  }

  /**
   * The descriptor was replaced by one with the same parts, whose numbers may differ, and more.
   * @param added the parts that are new: open and locked. They and the file are the layer's now.
   */
  async adopt(files: Files, source: DescriptorFile, added: readonly Part[]): Promise<void> {
    const before = this.#source
    this.#source = source
    this.parts.push(...added)
    for (const [index, line] of source.descriptor.parts.entries()) {
      this.parts[index].chunksMax = line.chunksMax
    }
    await before.close(files).catch(() => {})
  }

  /** @returns what each part holds; `chunks` is filled from it */
  async scan(files: Files): Promise<PartContents[]> {
    this.chunks.clear()
    const contents: PartContents[] = []
    const paths = new Map<number, string>()
    for (const part of this.parts) {
      const found = await part.scan(files, this.descriptor.geometry.chunkCount)
      contents.push(found)
      for (const each of found.chunks) this.#add(part, each, paths)
      part.chunkCount = found.chunks.length
      if (part.chunkCount > part.chunksMax) {
        const count = `${part.chunkCount} chunk files, its quota is ${part.chunksMax}`
        throw new DiskError('EPART', `part ${part.directory} holds ${count}; move some elsewhere`)
      }
    }
    return contents
  }

  #add(part: Part, found: FoundChunk, paths: Map<number, string>): void {
    const twin = paths.get(found.index)
    const file = path.join(part.directory, found.name)
    if (twin !== undefined) {
      const both = `${twin} and ${file}`
      throw new DiskError('EPART', `chunk ${found.index} exists twice: ${both}; remove one`)
    }
    paths.set(found.index, file)
    const state = stateOf(found, this.descriptor.geometry.chunkSize)
    this.chunks.set(found.index, new Chunk(found.index, part, state))
  }

  /**
   * Finds out what is known of the chunks' data, after `scan`.
   * @throws DiskError EPART
   */
  async openChecksums(
    files: Files,
    contents: readonly PartContents[],
    writable: boolean,
  ): Promise<void> {
    await this.checksums?.close()
    this.checksums = null
    this.checksums = await LayerChecksums.open(files, this, contents, writable)
  }

  /**
   * Finds out what the parts can do, before anything is written to them.
   * @throws DiskError EPART if one cannot be written
   */
  async prepareWriting(files: Files): Promise<void> {
    for (const part of this.parts) await preparePart(files, part)
  }

  /**
   * Makes the names in the parts durable. What was there before (a chunk that a killed `commit` had
   * moved away, or one that could not be made) would come back with a power loss, and none may be
   * made anew in another part until then.
   * @throws DiskError EPART
   */
  async settleNames(files: Files): Promise<void> {
    for (const part of this.parts) {
      await syncNames(files, [part]).catch((error: Error) => {
        const why = `its disk may be failing (${error.message}); open the disk --read-only`
        throw new DiskError('EPART', `part directory ${part.directory} cannot be synced: ${why}`)
      })
    }
  }

  /** @returns the first part, in the descriptor's order, that has room, or null */
  partWithRoom(): Part | null {
    return this.parts.find((part) => part.chunkCount < part.chunksMax) ?? null
  }

  /** Nothing was written through these descriptors, so it says nothing if one fails to close. */
  async close(files: Files): Promise<void> {
    const closing = this.parts.map((part) => part.close(files))
    closing.push(this.#source.close(files), this.checksums?.close() ?? Promise.resolve())
    await Promise.allSettled(closing)
  }
}

/** @throws DiskError EPART if it cannot be written */
export async function preparePart(files: Files, part: Part): Promise<void> {
  part.writable = true
  part.abilities = await files.abilities(part.directory).catch((error: Error) => {
    const { code } = error as NodeJS.ErrnoException
    const why = `cannot be written (${code}); make it so, or open the disk --read-only`
    throw new DiskError('EPART', `part directory ${part.directory} ${why}`)
  })
}

export function stateOf(found: FoundChunk, chunkSize: number): ChunkState {
  if (!found.isFile) return ChunkState.DAMAGED
  return stateOfSize(found.size, chunkSize)
}

export function stateOfSize(size: number, chunkSize: number): ChunkState {
  if (size === 0) return ChunkState.EMPTY
  return size === chunkSize ? ChunkState.FULL : ChunkState.DAMAGED
}

/** @throws DiskError EPART if one of its chunk files is damaged */
export function refuseDamage(layer: Layer): void {
  for (const chunk of layer.chunks.values()) {
    if (chunk.state !== ChunkState.DAMAGED) continue
    throw new DiskError('EPART', `${chunk.path} is damaged; "chunknbd check" says how`)
  }
}
