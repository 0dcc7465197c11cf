/** Reads and writes the slots of a checksum file. A file that is missing is one of zeros. */
import fs from 'node:fs'
import type { Files } from '../../io/io.ts'
import { CHECKSUM_LOAD_REGIONS, PAGE_SIZE } from '../limits.ts'
import { findMismatch, sumPages } from './crc32c.ts'
import { cutTo, isMissing, readAt, syncData, withFile, writeAt } from './file-access.ts'
import { REGION_BYTES } from './region.ts'
import { bytesOf, isSlotWhole, sealSlot, SLOT_BYTES, SLOT_WORDS } from './slot.ts'

const { O_CREAT, O_RDONLY, O_RDWR, O_TRUNC } = fs.constants

/** @returns `count` slots from that of region `first` on */
export async function readSlots(
  files: Files,
  path: string,
  first: number,
  count: number,
): Promise<Uint32Array[]> {
  const words = new Uint32Array(count * SLOT_WORDS)
  const bytes = bytesOf(words)
  const read = (fd: number): Promise<number> => readAt(files, fd, path, bytes, first * SLOT_BYTES)
  const found = await withFile(files, path, O_RDONLY, read).catch((error: unknown) => {
    if (isMissing(error)) return 0
    throw error
  })
  bytes.fill(0, found)
  // Of their own, so that one can be dropped without the others.
  return Array.from({ length: count }, (_, at) =>
    words.slice(at * SLOT_WORDS, (at + 1) * SLOT_WORDS),
  )
}

/** Empties a file for good, and then removes it. */
export async function removeChecksumFile(files: Files, path: string): Promise<void> {
  try {
    await withFile(files, path, O_RDWR, async (fd) => {
      await cutTo(files, fd, path, 0)
      await syncData(files, fd, path)
    })
    await files.remove(path)
  } catch (error) {
    if (!isMissing(error)) throw error
  }
}

/** The sums of a chunk that does not change meanwhile, in ascending order. */
export class SlotReader {
  readonly #files: Files
  readonly #path: string
  readonly #chunk: number
  #first = 0
  #slots: Uint32Array[] = []

  constructor(files: Files, path: string, chunk: number) {
    this.#files = files
    this.#path = path
    this.#chunk = chunk
  }

  async slot(region: number): Promise<Uint32Array> {
    const isHere = region >= this.#first && region < this.#first + this.#slots.length
    if (!isHere) {
      this.#first = region
      this.#slots = await readSlots(this.#files, this.#path, region, CHECKSUM_LOAD_REGIONS)
    }
    return this.#slots[region - this.#first]
  }

  async isWhole(region: number): Promise<boolean> {
    return isSlotWhole(await this.slot(region), this.#chunk, region)
  }

  /** @returns position in the chunk of the first page that is not what its sum says, or -1 */
  async verify(buffer: Uint8Array, position: number, length: number): Promise<number> {
    for (const piece of piecesOf(position, length)) {
      const slot = await this.slot(piece.region)
      const offset = piece.position - position
      const bad = findMismatch(buffer, offset, piece.pages, slot, piece.page)
      if (bad >= 0) return piece.position + bad * PAGE_SIZE
    }
    return -1
  }

  /** The same for zeros. */
  async verifyZeros(position: number, length: number): Promise<number> {
    for (const piece of piecesOf(position, length)) {
      const slot = await this.slot(piece.region)
      for (let page = 0; page < piece.pages; page++) {
        if (slot[piece.page + page] !== 0) return piece.position + page * PAGE_SIZE
      }
    }
    return -1
  }
}

/** Writes the sums of a chunk anew, in ascending order. What is left out is zeros. */
export class SlotWriter {
  readonly #files: Files
  readonly #fd: number
  readonly #path: string
  readonly #chunk: number
  readonly #slot = new Uint32Array(SLOT_WORDS)
  #region = 0
  #isEmpty = true

  /** Any file of that name is emptied. */
  static async create(files: Files, path: string, chunk: number): Promise<SlotWriter> {
    const fd = await files.open(path, O_RDWR | O_CREAT | O_TRUNC)
    return new SlotWriter(files, fd, path, chunk)
  }

  private constructor(files: Files, fd: number, path: string, chunk: number) {
    this.#files = files
    this.#fd = fd
    this.#path = path
    this.#chunk = chunk
  }

  async put(buffer: Uint8Array, position: number, length: number): Promise<void> {
    for (const piece of piecesOf(position, length)) {
      if (piece.region !== this.#region) await this.#write()
      this.#region = piece.region
      this.#isEmpty = false
      sumPages(buffer, piece.position - position, piece.pages, this.#slot, piece.page)
    }
  }

  async #write(): Promise<void> {
    if (this.#isEmpty) return
    sealSlot(this.#slot, this.#chunk, this.#region)
    const position = this.#region * SLOT_BYTES
    await writeAt(this.#files, this.#fd, this.#path, bytesOf(this.#slot), position)
    this.#slot.fill(0)
    this.#isEmpty = true
  }

  /** The file is complete, and durable; its name is not. */
  async finish(): Promise<void> {
    await this.#write()
    await syncData(this.#files, this.#fd, this.#path)
  }

  close(): Promise<void> {
    return this.#files.close(this.#fd)
  }
}

interface Piece {
  readonly region: number
  /** Within the chunk. */
  readonly position: number
  /** Within the region. */
  readonly page: number
  readonly pages: number
}

/** The regions that a range of a chunk has a part in. */
function* piecesOf(position: number, length: number): Generator<Piece> {
  const end = position + length
  for (let at = position; at < end;) {
    const region = Math.floor(at / REGION_BYTES)
    const to = Math.min(end, (region + 1) * REGION_BYTES)
    const page = (at - region * REGION_BYTES) / PAGE_SIZE
    yield { region, position: at, page, pages: (to - at) / PAGE_SIZE }
    at = to
  }
}
