/**
 * Checksum files go where their chunks go, while nobody serves the disks (`commit`, `flatten`).
 * All regions of the chunks that move have marks in both layers from before the first move until
 * everything is durable in its new place. Cut off in between, sums are computed from the data by
 * the next one who opens the disk for writing, as after any crash.
 */
import fs from 'node:fs'
import type { Files } from '../../io/io.ts'
import type { Layer } from '../layer.ts'
import type { Part } from '../part.ts'
import { removeChecksumFile } from './checksum-file.ts'
import { isMissing, readAt, syncData, withFile, writeAt } from './file-access.ts'
import type { LayerChecksums } from './layer-checksums.ts'
import { SLOT_BYTES } from './slot.ts'

const { O_CREAT, O_RDONLY, O_RDWR, O_TRUNC } = fs.constants
const COPY_BYTES = 256 * SLOT_BYTES

export class MovedSums {
  readonly #files: Files
  readonly #source: LayerChecksums | null
  readonly #target: LayerChecksums | null
  readonly #indexes: readonly number[]
  /** Marks that were there before: the sums under them are not to be believed. */
  readonly #doubted: ReadonlySet<number>
  /** Checksum files that may still be where the chunks were. */
  readonly #left: string[] = []

  /**
   * @param source has the chunks now
   * @param target will have them
   * @throws Error with `errno`
   */
  static async begin(
    files: Files,
    source: Layer,
    target: Layer,
    indexes: readonly number[],
  ): Promise<MovedSums> {
    const doubted = new Set(source.checksums?.marks.inherited)
    const moved = new MovedSums(files, source.checksums, target.checksums, indexes, doubted)
    for (const each of [target.checksums, source.checksums]) {
      if (each !== null) await markChunks(each, indexes)
    }
    return moved
  }

  private constructor(
    files: Files,
    source: LayerChecksums | null,
    target: LayerChecksums | null,
    indexes: readonly number[],
    doubted: ReadonlySet<number>,
  ) {
    this.#files = files
    this.#source = source
    this.#target = target
    this.#indexes = indexes
    this.#doubted = doubted
  }

  /**
   * The chunk file was moved: its checksum file follows, if it has one.
   * @param from path of it
   * @param before path of the one the target had for its own chunk, or null
   */
  async move(from: string | null, before: string | null, part: Part, index: number): Promise<void> {
    const to = part.checksumPath(index)
    if (from !== null) this.#left.push(from)
    if (this.#target === null) return
    if (before !== null && before !== to) await removeChecksumFile(this.#files, before)
    if (from === null || this.#source === null) return
    if (!(await this.#rename(from, to))) await this.#copy(from, to)
  }

  /** @returns false: it has to be copied */
  async #rename(from: string, to: string): Promise<boolean> {
    try {
      await this.#files.rename(from, to)
      return true
    } catch (error) {
      const { code } = error as NodeJS.ErrnoException
      if (code === 'EXDEV') return false
      if (code !== 'ENOENT') throw error
      // A chunk of zeros.
      await removeChecksumFile(this.#files, to)
      return true
    }
  }

  async #copy(from: string, to: string): Promise<void> {
    const files = this.#files
    const buffer = files.memory(COPY_BYTES)
    const copyTo = (source: number) => async (target: number) => {
      for (let at = 0; ; at += COPY_BYTES) {
        const count = await readAt(files, source, from, buffer, at)
        if (count > 0) await writeAt(files, target, to, buffer.subarray(0, count), at)
        if (count < COPY_BYTES) break
      }
      await syncData(files, target, to)
    }
    try {
      await withFile(files, from, O_RDONLY, (source) =>
        withFile(files, to, O_RDWR | O_CREAT | O_TRUNC, copyTo(source)),
      )
    } catch (error) {
      if (!isMissing(error)) throw error
      await removeChecksumFile(files, to)
    }
  }

  /** Everything is durable in its new place. */
  async finish(): Promise<void> {
    const source = this.#source
    const target = this.#target
    if (source !== null && target !== null) this.#unmark(source, target)
    await target?.marks.flush(true)
    if (source !== null) await this.#leave(source)
  }

  /** Both have chunks of the same size, and so regions of the same number. */
  #unmark({ regionsPerChunk }: LayerChecksums, target: LayerChecksums): void {
    for (const index of this.#indexes) {
      const first = index * regionsPerChunk
      for (let mark = first; mark < first + regionsPerChunk; mark++) {
        if (!this.#doubted.has(mark)) target.marks.clear(mark)
      }
    }
  }

  /** Where the chunks were there is nothing any more. */
  async #leave(source: LayerChecksums): Promise<void> {
    for (const file of this.#left) await removeChecksumFile(this.#files, file)
    await unmarkChunks(source, this.#indexes)
  }
}

/** Before chunks are put in place, or taken away. @throws Error with `errno` */
export async function markChunks(
  checksums: LayerChecksums,
  indexes: readonly number[],
): Promise<void> {
  const { marks, regionsPerChunk } = checksums
  const wanted = indexes.map((index) => marks.wantNow(index * regionsPerChunk, regionsPerChunk))
  const errno = Math.max(0, ...(await Promise.all(wanted)))
  if (errno > 0) throw marks.failure(errno)
}

/** Their data and sums are durable and agree, and so are their names. */
export async function unmarkChunks(
  checksums: LayerChecksums,
  indexes: readonly number[],
): Promise<void> {
  const { marks, regionsPerChunk } = checksums
  for (const index of indexes) {
    for (let each = 0; each < regionsPerChunk; each++) marks.clear(index * regionsPerChunk + each)
  }
  await marks.flush(true)
}
