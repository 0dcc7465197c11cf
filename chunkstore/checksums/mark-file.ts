/**
 * `checksums` in a part: says that the disk has checksums, and holds the write-intent marks.
 *
 *   0      512 bytes of text: format, algorithm, sizes
 *   4096   sectors of 512 bytes: a bit for each of 4032 regions of the disk, the number of the
 *          sector, the CRC-32C of what is before. One of zeros has no marks.
 *
 * A disk writes a sector whole or not at all, so there is no sector that is half old. Sectors that
 * were changed otherwise count as without marks: then nothing is taken for right unverified.
 */
import fs from 'node:fs'
import path from 'node:path'
import type { Files } from '../../io/io.ts'
import { DiskError } from '../disk-error.ts'
import { CHECKSUM_REGION_PAGES, PAGE_SIZE, STEP_BYTES } from '../limits.ts'
import { MARKS_NAME } from '../part.ts'
import { crc32c } from './crc32c.ts'
import { readAt, syncData, writeAt } from './file-access.ts'

const { O_RDONLY, O_RDWR } = fs.constants
const SECTOR = 512
const HEADER_BYTES = 512
const SECTORS_START = 4096
const BITS_BYTES = SECTOR - 8
const BITS = 8 * BITS_BYTES

export class MarkFile {
  readonly file: string
  readonly #files: Files
  readonly #fd: number
  /** The bits of each sector that was ever needed. */
  readonly #sectors = new Map<number, Uint8Array>()
  readonly #changed = new Set<number>()
  /** Something was written and not synced. */
  isUnsynced = false
  /** Sectors that were damaged when the file was opened. */
  readonly damaged: number[] = []

  static pathIn(directory: string): string {
    return path.join(directory, MARKS_NAME)
  }

  /** A new one, durable. @throws DiskError EPART */
  static async create(files: Files, directory: string, chunkSize: number): Promise<void> {
    const file = MarkFile.pathIn(directory)
    await files.createText(file, headerOf(chunkSize)).catch((error: Error) => {
      throw new DiskError('EPART', `${file} cannot be made: ${error.message}`)
    })
  }

  /** The same, unless a run that was interrupted has made it. @throws DiskError EPART */
  static async provide(files: Files, directory: string, chunkSize: number): Promise<void> {
    try {
      const file = await MarkFile.open(files, directory, chunkSize, true)
      await file.close()
    } catch (error) {
      if (!(error instanceof DiskError)) throw error
      await MarkFile.create(files, directory, chunkSize)
    }
  }

  /** @throws DiskError EPART if it is damaged or cannot be read */
  static async open(
    files: Files,
    directory: string,
    chunkSize: number,
    writable: boolean,
  ): Promise<MarkFile> {
    const file = MarkFile.pathIn(directory)
    let fd = -1
    try {
      fd = await files.open(file, writable ? O_RDWR : O_RDONLY)
      const marks = new MarkFile(files, file, fd)
      await marks.#read(chunkSize)
      return marks
    } catch (error) {
      if (fd >= 0) await files.close(fd).catch(() => {})
      if (error instanceof DiskError) throw error
      throw new DiskError('EPART', `${file} cannot be opened: ${(error as Error).message}`)
    }
  }

  private constructor(files: Files, file: string, fd: number) {
    this.#files = files
    this.file = file
    this.#fd = fd
  }

  async #read(chunkSize: number): Promise<void> {
    const header = Buffer.alloc(HEADER_BYTES)
    await readAt(this.#files, this.#fd, this.file, header, 0)
    const found = header.toString('latin1')
    if (found !== headerOf(chunkSize)) throw new DiskError('EPART', `${this.file}: ${wrong(found)}`)
    const buffer = Buffer.allocUnsafeSlow(STEP_BYTES)
    for (let position = SECTORS_START; ; position += STEP_BYTES) {
      const count = await readAt(this.#files, this.#fd, this.file, buffer, position)
      const first = (position - SECTORS_START) / SECTOR
      for (let at = 0; at + SECTOR <= count; at += SECTOR) {
        this.#take(first + at / SECTOR, buffer.subarray(at, at + SECTOR))
      }
      if (count < STEP_BYTES) return
    }
  }

  #take(number: number, sector: Buffer): void {
    if (sector.every((byte) => byte === 0)) return
    if (sector.equals(seal(number, sector.subarray(0, BITS_BYTES)))) {
      this.#sectors.set(number, Uint8Array.from(sector.subarray(0, BITS_BYTES)))
    } else {
      this.damaged.push(number)
      this.#changed.add(number)
    }
  }

  /** Regions of the disk that have a mark, ascending. */
  list(): number[] {
    const regions: number[] = []
    for (const [number, bits] of this.#sectors) {
      for (let bit = 0; bit < BITS; bit++) {
        if ((bits[bit >> 3] & (1 << (bit & 7))) !== 0) regions.push(number * BITS + bit)
      }
    }
    return regions.sort((a, b) => a - b)
  }

  /**
   * What the file says now, while another process may be writing it.
   * @returns whether the region of the disk has a mark, or its sector cannot be told
   */
  async saysMark(region: number): Promise<boolean> {
    const number = Math.floor(region / BITS)
    const sector = Buffer.alloc(SECTOR)
    const position = SECTORS_START + number * SECTOR
    await readAt(this.#files, this.#fd, this.file, sector, position)
    if (sector.every((byte) => byte === 0)) return false
    if (!sector.equals(seal(number, sector.subarray(0, BITS_BYTES)))) return true
    return (sector[(region % BITS) >> 3] & (1 << (region & 7))) !== 0
  }

  /** Nothing is written yet. */
  set(region: number): void {
    const number = Math.floor(region / BITS)
    const bits = this.#bitsOf(number)
    bits[(region % BITS) >> 3] |= 1 << (region & 7)
    this.#changed.add(number)
  }

  clear(region: number): void {
    const number = Math.floor(region / BITS)
    const bits = this.#sectors.get(number)
    const mask = 1 << (region & 7)
    if (bits === undefined || (bits[(region % BITS) >> 3] & mask) === 0) return
    bits[(region % BITS) >> 3] &= ~mask
    this.#changed.add(number)
  }

  #bitsOf(number: number): Uint8Array {
    let bits = this.#sectors.get(number)
    if (bits === undefined) {
      bits = new Uint8Array(BITS_BYTES)
      this.#sectors.set(number, bits)
    }
    return bits
  }

  /**
   * Makes what is there durable. A process that was killed may have written marks and not synced
   * them, or have failed to: then only what is written again is synced.
   * @throws Error with `errno`
   */
  async confirm(): Promise<void> {
    for (const number of this.#sectors.keys()) this.#changed.add(number)
    await this.write()
    await this.sync()
  }

  /** Writes the sectors that were changed. One call at a time. @throws Error with `errno` */
  async write(): Promise<void> {
    for (const number of [...this.#changed].sort((a, b) => a - b)) {
      this.#changed.delete(number)
      this.isUnsynced = true
      try {
        const sector = seal(number, this.#bitsOf(number))
        const position = SECTORS_START + number * SECTOR
        await writeAt(this.#files, this.#fd, this.file, sector, position)
      } catch (error) {
        this.#changed.add(number)
        throw error
      }
    }
  }

  /** @throws Error with `errno` */
  sync(): Promise<void> {
    this.isUnsynced = false
    return syncData(this.#files, this.#fd, this.file)
  }

  close(): Promise<void> {
    return this.#files.close(this.#fd)
  }
}

function seal(number: number, bits: Uint8Array): Buffer {
  const sector = Buffer.alloc(SECTOR)
  sector.set(bits)
  sector.writeUInt32LE(number, BITS_BYTES)
  sector.writeUInt32LE(crc32c(sector.subarray(0, SECTOR - 4)), SECTOR - 4)
  return sector
}

const FORMAT = 'chunknbd checksums 1\n'

/** What the file begins with; another algorithm or layout has another text. */
function headerOf(chunkSize: number): string {
  const sizes = `page ${PAGE_SIZE}\nregion ${CHECKSUM_REGION_PAGES}\nchunk ${chunkSize}\n`
  const text = `${FORMAT}crc32c\n${sizes}`
  const sealed = `${text}seal ${crc32c(Buffer.from(text)).toString(16).padStart(8, '0')}\n`
  return sealed.padEnd(HEADER_BYTES - 1, ' ') + '\n'
}

function wrong(found: string): string {
  const chunk = /\nchunk (\d+)\n/.exec(found)?.[1]
  if (chunk !== undefined && found === headerOf(Number(chunk))) {
    return `it belongs to a disk with chunks of ${chunk} bytes`
  }
  if (/^chunknbd checksums \d+\n/.test(found) && !found.startsWith(FORMAT)) {
    return 'it was made by a later version of chunknbd: use that'
  }
  const fix = 'bring it back from a backup, or have it made anew by "chunknbd scrub --rebuild"'
  return `it is damaged: ${fix}`
}
