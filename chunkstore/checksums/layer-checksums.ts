/**
 * The checksums of a layer: its marks, and the checksum files in its parts.
 *
 * What a checksum file says must be true of the chunk, also of one that is empty or has no file
 * (then it must say zeros), except where there is a mark. So a chunk file that somebody deleted or
 * emptied is told from one that was never there.
 */
import type { Files } from '../../io/io.ts'
import { Chunk, ChunkState } from '../chunk.ts'
import { DiskError } from '../disk-error.ts'
import type { Layer } from '../layer.ts'
import { ChecksumKind } from '../options.ts'
import { MARKS_NAME, type Part, type PartContents } from '../part.ts'
import { ChunkChecksums } from './chunk-checksums.ts'
import { removeChecksumFile, SlotReader } from './checksum-file.ts'
import { MarkFile } from './mark-file.ts'
import { Marks, type MarksFailed } from './marks.ts'
import { REGION_BYTES } from './region.ts'

/** Something a person should know. */
export interface ChecksumProblem {
  readonly file: string
  readonly message: string
}

export class LayerChecksums {
  readonly marks: Marks
  readonly chunkSize: number
  readonly regionsPerChunk: number
  readonly writable: boolean
  /** Found when it was opened. */
  readonly problems: ChecksumProblem[] = []
  /** Chunks without a file whose checksum files hold what is not true: by index, and where. */
  readonly leftovers = new Map<number, Set<Part>>()
  /** The removal of such a file that is under way. */
  removing: Promise<void> = Promise.resolve()
  /** Called when a sync of the marks failed. */
  onFailed: MarksFailed = () => {}

  /** @returns null: the layer has no checksums. @throws DiskError EPART */
  static async open(
    files: Files,
    layer: Layer,
    contents: readonly PartContents[],
    writable: boolean,
  ): Promise<LayerChecksums | null> {
    if (layer.descriptor.checksums === ChecksumKind.NONE) {
      refuseStray(layer, contents)
      return null
    }
    requireMarks(layer, contents)
    const { chunkSize } = layer.descriptor.geometry
    const markFiles: MarkFile[] = []
    try {
      for (const [index, { directory }] of layer.parts.entries()) {
        const { hasMarks } = contents[index]
        // A part that was added by hand.
        if (!hasMarks && writable) await MarkFile.create(files, directory, chunkSize)
        if (!hasMarks && !writable) continue
        const file = await MarkFile.open(files, directory, chunkSize, writable)
        markFiles.push(file)
        if (writable) await confirm(file)
      }
      const checksums = new LayerChecksums(markFiles, chunkSize, writable)
      await checksums.#look(files, layer, contents)
      return checksums
    } catch (error) {
      await Promise.allSettled(markFiles.map((each) => each.close()))
      throw error
    }
  }

  private constructor(markFiles: readonly MarkFile[], chunkSize: number, writable: boolean) {
    this.marks = new Marks(markFiles, (file, errno) => this.onFailed(file, errno))
    this.chunkSize = chunkSize
    this.regionsPerChunk = Math.ceil(chunkSize / REGION_BYTES)
    this.writable = writable
    for (const { file, damaged } of markFiles) {
      if (damaged.length === 0) continue
      const message = 'marks were damaged; regions that had one may fail until "scrub --rebuild"'
      this.problems.push({ file, message })
    }
  }

  adopt(chunk: Chunk): void {
    chunk.checksums = new ChunkChecksums(chunk, this)
    this.claim(chunk.checksums)
  }

  /** What was left behind is the chunk's from now on: its file must not keep it. */
  claim(checksums: ChunkChecksums): void {
    const { index, part: own } = checksums.chunk
    const places = this.leftovers.get(index) ?? []
    this.leftovers.delete(index)
    for (const part of places) {
      // The chunk may have come to another part now.
      if (part === own) checksums.mustEmpty = true
      else checksums.strays.add(part)
    }
  }

  /** What the checksum file of a chunk without a file, in this part, holds is void. */
  leave(index: number, part: Part): void {
    const places = this.leftovers.get(index) ?? new Set()
    this.leftovers.set(index, places.add(part))
  }

  async #look(files: Files, layer: Layer, contents: readonly PartContents[]): Promise<void> {
    for (const chunk of layer.chunks.values()) this.adopt(chunk)
    for (const [at, { checksumFiles }] of contents.entries()) {
      const part = layer.parts[at]
      for (const index of checksumFiles) {
        const chunk = layer.chunks.get(index)
        if (chunk === undefined) await this.#lookAtLeft(files, layer, part, index)
        else if (chunk.state === ChunkState.EMPTY) await this.#lookAtEmpty(files, chunk, part)
        else if (chunk.checksums !== null) locate(chunk.checksums, part, contents, layer.parts)
      }
    }
    for (const mark of this.marks.inherited) this.#inherit(layer, mark)
  }

  /** A checksum file without a chunk: left by a crash, or the chunk was deleted. */
  async #lookAtLeft(files: Files, layer: Layer, part: Part, index: number): Promise<void> {
    if (index >= layer.descriptor.geometry.chunkCount) return
    if (await this.#isTrueOfZeros(files, part, index)) {
      if (this.writable) await removeChecksumFile(files, part.checksumPath(index))
      return
    }
    const chunk = new Chunk(index, part, ChunkState.DAMAGED)
    layer.chunks.set(index, chunk)
    this.adopt(chunk)
    const message = 'the chunk file is gone: its checksums say that it had data'
    this.problems.push({ file: chunk.path, message })
  }

  async #lookAtEmpty(files: Files, chunk: Chunk, part: Part): Promise<void> {
    if (await this.#isTrueOfZeros(files, part, chunk.index)) {
      if (this.writable) await removeChecksumFile(files, part.checksumPath(chunk.index))
      return
    }
    chunk.state = ChunkState.DAMAGED
    const message = 'the chunk file was emptied: its checksums say that it had data'
    this.problems.push({ file: chunk.path, message })
  }

  /** What has a mark need not be true. */
  async #isTrueOfZeros(files: Files, part: Part, index: number): Promise<boolean> {
    const reader = new SlotReader(files, part.checksumPath(index), index)
    for (let region = 0; region < this.regionsPerChunk; region++) {
      if (this.marks.has(index * this.regionsPerChunk + region)) continue
      const length = Math.min(REGION_BYTES, this.chunkSize - region * REGION_BYTES)
      if ((await reader.verifyZeros(region * REGION_BYTES, length)) >= 0) return false
    }
    return true
  }

  #inherit(layer: Layer, mark: number): void {
    const chunk = layer.chunks.get(Math.floor(mark / this.regionsPerChunk))
    if (chunk === undefined || chunk.checksums === null) return
    chunk.checksums.isInherited = true
    if (chunk.state !== ChunkState.FULL) return
    chunk.checksums.region(mark % this.regionsPerChunk).doubtAll()
  }

  close(): Promise<void> {
    return this.marks.close()
  }
}

async function confirm(file: MarkFile): Promise<void> {
  await file.confirm().catch((error: Error) => {
    throw new DiskError('EPART', `${file.file} cannot be written: ${error.message}`)
  })
}

/** A checksum file may be in another part than its chunk, if somebody moved that. */
function locate(
  checksums: ChunkChecksums,
  part: Part,
  contents: readonly PartContents[],
  parts: readonly Part[],
): void {
  const { chunk } = checksums
  const beside = contents[parts.indexOf(chunk.part)]
  if (!beside.checksumFiles.includes(chunk.index)) checksums.elsewhere = part
}

/** @throws DiskError EPART: without the line somebody may have written who does not know of them */
function refuseStray(layer: Layer, contents: readonly PartContents[]): void {
  const at = contents.findIndex((each) => each.hasMarks || each.checksumFiles.length > 0)
  if (at < 0) return
  const { file } = layer.descriptor
  const has = `${layer.parts[at].directory} has checksums, but ${file} has no line "checksums"`
  const fix = `to do without them remove the files "${MARKS_NAME}" and "crc32c-N" there`
  const back = 'to have them again put the line "checksums crc32c" back, then "scrub --rebuild"'
  throw new DiskError('EPART', `${has}: ${fix}; ${back}`)
}

/** @throws DiskError EPART: without the marks nobody knows which checksums are right */
function requireMarks(layer: Layer, contents: readonly PartContents[]): void {
  if (contents.some((each) => each.hasMarks)) return
  const { file } = layer.descriptor
  const what = `${file} says "checksums", but the file "${MARKS_NAME}" is in none of its parts`
  throw new DiskError('EPART', `${what}: bring it back, or "chunknbd scrub ${file} --rebuild"`)
}
