/**
 * The format of checksums as docs/format.md has it, written a second time: slowly, over any bytes.
 * Says whether a part's checksum files tell the truth.
 */

export const PAGE = 4096
export const REGION_PAGES = 1008
export const REGION = REGION_PAGES * PAGE

const BITS = 4032

/**
 * Reads a file of the parts; null: there is none. If several parts have it, that counts which has
 * the file `beside` as well.
 */
export type ReadFile = (name: string, beside: string | null) => Uint8Array | null

/** A bit at a time. */
export function naiveCrc32c(bytes: Uint8Array): number {
  let crc = 0xffffffff
  for (const byte of bytes) {
    crc ^= byte
    for (let bit = 0; bit < 8; bit++) crc = (crc >>> 1) ^ (0x82f63b78 & -(crc & 1))
  }
  return ~crc >>> 0
}

const ZEROS = naiveCrc32c(new Uint8Array(PAGE))
const known = new Map<string, number>()

/** What a checksum file has for a page. */
export function sumOf(page: Uint8Array): number {
  const key = Buffer.from(page).toString('latin1')
  let sum = known.get(key)
  if (sum === undefined) {
    sum = (naiveCrc32c(page) ^ ZEROS) >>> 0
    if (known.size > 4000) known.clear()
    known.set(key, sum)
  }
  return sum
}

/** What `checksums` in a part begins with. */
export function headerText(chunkSize: number): string {
  const text = `chunknbd checksums 1\ncrc32c\npage 4096\nregion 1008\nchunk ${chunkSize}\n`
  const seal = naiveCrc32c(Buffer.from(text)).toString(16).padStart(8, '0')
  return `${text}seal ${seal}\n`.padEnd(511, ' ') + '\n'
}

/** @returns regions of the disk that have a mark. @throws if a sector of marks is damaged */
export function marksIn(file: Uint8Array): Set<number> {
  const marks = new Set<number>()
  const bytes = Buffer.from(file)
  for (let at = 4096; at + 512 <= bytes.length; at += 512) {
    const sector = bytes.subarray(at, at + 512)
    if (sector.every((byte) => byte === 0)) continue
    const number = sector.readUInt32LE(504)
    const crc = naiveCrc32c(sector.subarray(0, 508))
    if (number !== (at - 4096) / 512 || crc !== sector.readUInt32LE(508)) {
      throw new Error(`sector ${(at - 4096) / 512} of the marks is damaged`)
    }
    for (let bit = 0; bit < BITS; bit++) {
      if (((sector[bit >> 3] >> (bit & 7)) & 1) === 1) marks.add(number * BITS + bit)
    }
  }
  return marks
}

export interface Truth {
  /** What is not as it should be, a line each. */
  readonly wrong: string[]
  /** Pages with data that have the right sum. */
  readonly verified: number
  readonly marks: number
}

/**
 * Holds one part of a disk to its checksums: a chunk's page has the sum its file says, where the
 * region has no mark. No file, or an empty one, is zeros, on both sides.
 */
export function examine(read: ReadFile, chunkSize: number, chunkCount: number): Truth {
  const wrong: string[] = []
  let verified = 0
  const file = read('checksums', null)
  if (file === null) return { wrong: ['no file "checksums"'], verified, marks: 0 }
  if (Buffer.from(file.subarray(0, 512)).toString('latin1') !== headerText(chunkSize)) {
    wrong.push('the header of "checksums" is wrong')
  }
  const marks = marksIn(file)
  const perChunk = Math.ceil(chunkSize / REGION)
  for (let index = 0; index < chunkCount; index++) {
    const chunk = read(`chunk${index}`, null) ?? new Uint8Array(0)
    const sums = Buffer.from(read(`crc32c-${index}`, `chunk${index}`) ?? new Uint8Array(0))
    for (let page = 0; page < chunkSize / PAGE; page++) {
      const region = Math.floor(page / REGION_PAGES)
      if (marks.has(index * perChunk + region)) continue
      const at = region * PAGE + (page % REGION_PAGES) * 4
      const says = at + 4 <= sums.length ? sums.readUInt32LE(at) : 0
      const isThere = chunk.length >= (page + 1) * PAGE
      const is = isThere ? sumOf(chunk.subarray(page * PAGE, (page + 1) * PAGE)) : 0
      if (says !== is) wrong.push(`page ${page} of chunk ${index}: says ${says}, is ${is}`)
      else if (is !== 0) verified++
    }
  }
  return { wrong, verified, marks: marks.size }
}
