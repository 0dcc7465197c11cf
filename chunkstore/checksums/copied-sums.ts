/**
 * Checksums while a chunk is copied: what is read is held to those of the source, what is written
 * gets its own. Either may be missing.
 */
import type { Files } from '../../io/io.ts'
import { SlotReader, SlotWriter } from './checksum-file.ts'
import type { ChunkChecksums } from './chunk-checksums.ts'
import { REGION_BYTES } from './region.ts'

const EIO = 5

export class CopiedSums {
  readonly #source: ChunkChecksums | null
  readonly #reader: SlotReader | null
  readonly #writer: SlotWriter | null

  /**
   * @param source of a chunk that does not change meanwhile
   * @param target path of the checksum file to be written, and the number of the chunk
   */
  static async begin(
    files: Files,
    source: ChunkChecksums | null,
    target: { readonly path: string; readonly index: number } | null,
  ): Promise<CopiedSums> {
    const reader = source === null ? null : new SlotReader(files, source.file, source.chunk.index)
    const writer =
      target === null ? null : await SlotWriter.create(files, target.path, target.index)
    return new CopiedSums(source, reader, writer)
  }

  private constructor(
    source: ChunkChecksums | null,
    reader: SlotReader | null,
    writer: SlotWriter | null,
  ) {
    this.#source = source
    this.#reader = reader
    this.#writer = writer
  }

  /** @throws Error with `errno` if the data, at `position` of the chunk, is damaged */
  async data(buffer: Uint8Array, position: number, length: number): Promise<void> {
    await this.#check(position, length, (from, bytes) =>
      this.#reader?.verify(buffer.subarray(from - position), from, bytes),
    )
    await this.#writer?.put(buffer, position, length)
  }

  /** The same for what is not copied, because there is only a hole. */
  async hole(position: number, length: number): Promise<void> {
    await this.#check(position, length, (from, bytes) => this.#reader?.verifyZeros(from, bytes))
  }

  /** What has a mark cannot be verified: nobody knows its sums. */
  async #check(
    position: number,
    length: number,
    verify: (position: number, length: number) => Promise<number> | undefined,
  ): Promise<void> {
    if (this.#source === null) return
    const { chunk, layer, firstMark } = this.#source
    for (let at = position; at < position + length;) {
      const region = Math.floor(at / REGION_BYTES)
      const bytes = Math.min((region + 1) * REGION_BYTES, position + length) - at
      const isMarked = layer.marks.has(firstMark + region)
      const bad = isMarked ? -1 : await verify(at, bytes)
      if (bad !== undefined && bad >= 0) throw damagedAt(chunk.path, bad)
      at += bytes
    }
  }

  /** The sums are durable, the name of their file is not. */
  async finish(): Promise<void> {
    await this.#writer?.finish()
  }

  async close(): Promise<void> {
    await this.#writer?.close()
  }
}

function damagedAt(file: string, position: number): Error {
  const message = `${file} does not match its checksum at ${position}: it is damaged`
  return Object.assign(new Error(message), { errno: -EIO, code: 'EIO' })
}
