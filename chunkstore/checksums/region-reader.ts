/**
 * Holds a region of a chunk to its sums, as both are on the disk, while a server may be changing
 * them. Nothing in a region changes before it has its mark, so what is found holds if there was no
 * mark before and after, and the sums were the same.
 */
import fs from 'node:fs'
import { setTimeout } from 'node:timers/promises'
import { type Files, Seek } from '../../io/io.ts'
import { AwaitedOperation } from '../awaited-operation.ts'
import { PAGE_SIZE, SCRUB_CONFIRM_MS, SCRUB_CONFIRMATIONS, STEP_BYTES } from '../limits.ts'
import type { Pace } from './pace.ts'
import { readSlots } from './checksum-file.ts'
import { findMismatch } from './crc32c.ts'
import { isMissing } from './file-access.ts'
import { bytesOf } from './slot.ts'

const EIO = 5
const EINVAL = 22
const { O_DIRECT, O_RDONLY } = fs.constants

/** Where a region is. */
export interface RegionPlace {
  readonly chunkFile: string
  readonly sumsFile: string
  /** Number within the chunk. */
  readonly region: number
  /** Bytes within the chunk. */
  readonly start: number
  readonly length: number
}

/** Pages of a region that are not what their sums say, from `first` on. */
export interface BadPages {
  readonly first: number
  count: number
  readonly why: string
}

export class RegionReader {
  readonly #files: Files
  readonly #chunkSize: number
  readonly #pace: Pace
  readonly #buffer: Uint8Array
  /** Past the kernel's memory, to what is on the disk. */
  #isDirect: boolean

  constructor(files: Files, chunkSize: number, pace: Pace, isDirect: boolean) {
    this.#files = files
    this.#chunkSize = chunkSize
    this.#pace = pace
    this.#isDirect = isDirect
    this.#buffer = files.memory(Math.min(STEP_BYTES, chunkSize))
  }

  /** @returns null: it is being changed, or nobody knows its sums; else what is damaged */
  async verify(place: RegionPlace, isMarked: () => Promise<boolean>): Promise<BadPages[] | null> {
    let bad: BadPages[] = []
    for (let seen = 0; seen < SCRUB_CONFIRMATIONS; seen++) {
      if (seen > 0) await setTimeout(SCRUB_CONFIRM_MS)
      if (await isMarked()) return null
      const [slot] = await readSlots(this.#files, place.sumsFile, place.region, 1)
      bad = await this.#compare(place, slot)
      if (bad.length === 0) return bad
      const [after] = await readSlots(this.#files, place.sumsFile, place.region, 1)
      const isSame = Buffer.compare(bytesOf(slot), bytesOf(after)) === 0
      if (!isSame || (await isMarked())) return null
    }
    return bad
  }

  async #compare(place: RegionPlace, slot: Uint32Array): Promise<BadPages[]> {
    let fd: number
    try {
      fd = await this.#open(place.chunkFile)
    } catch (error) {
      const { code = '' } = error as NodeJS.ErrnoException
      const why = isMissing(error) ? 'the chunk file is gone' : `it cannot be opened (${code})`
      return zerosOf(place, slot, !isMissing(error), why)
    }
    try {
      const { size } = await this.#files.statusOf(fd)
      if (size === 0) return zerosOf(place, slot, false, 'the chunk file was emptied')
      if (size !== this.#chunkSize) return zerosOf(place, slot, true, 'it has the wrong size')
      return await this.#compareData(fd, place, slot)
    } finally {
      await this.#files.close(fd).catch(() => {})
    }
  }

  async #open(file: string): Promise<number> {
    if (this.#isDirect) {
      try {
        return await this.#files.open(file, O_RDONLY | O_DIRECT)
      } catch (error) {
        if ((error as NodeJS.ErrnoException).code !== 'EINVAL') throw error
        this.#isDirect = false
      }
    }
    return this.#files.open(file, O_RDONLY)
  }

  async #compareData(fd: number, place: RegionPlace, slot: Uint32Array): Promise<BadPages[]> {
    const { start, length } = place
    if (this.#isHole(fd, start, length)) return zerosOf(place, slot, false, MISMATCH)
    const bad: BadPages[] = []
    for (let at = 0; at < length; at += STEP_BYTES) {
      const bytes = Math.min(STEP_BYTES, length - at)
      const result = await this.#read(fd, start + at, bytes)
      await this.#pace.after(bytes)
      const page = at / PAGE_SIZE
      if (result === bytes) {
        addMismatches(bad, this.#buffer, slot, page, bytes / PAGE_SIZE)
      } else if (result === -EINVAL && this.#isDirect) {
        this.#isDirect = false
        return this.#compare(place, slot)
      } else {
        await this.#pageByPage(fd, place, at, bytes, { bad, slot })
      }
    }
    return bad
  }

  /** Somewhere in here a read fails. */
  async #pageByPage(
    fd: number,
    { start }: RegionPlace,
    from: number,
    bytes: number,
    { bad, slot }: { readonly bad: BadPages[]; readonly slot: Uint32Array },
  ): Promise<void> {
    for (let at = from; at < from + bytes; at += PAGE_SIZE) {
      const result = await this.#read(fd, start + at, PAGE_SIZE)
      const page = at / PAGE_SIZE
      if (result === PAGE_SIZE) addMismatches(bad, this.#buffer, slot, page, 1)
      else add(bad, page, `reading fails (errno ${result < 0 ? -result : EIO})`)
    }
  }

  async #read(fd: number, position: number, length: number): Promise<number> {
    const operation = new AwaitedOperation()
    operation.fd = fd
    operation.buffer = this.#buffer
    operation.position = position
    operation.length = length
    return operation.run((each) => this.#files.read(each))
  }

  #isHole(fd: number, start: number, length: number): boolean {
    const operation = new AwaitedOperation()
    operation.fd = fd
    operation.position = start
    this.#files.seek(operation, Seek.DATA)
    const ENXIO = 6
    return operation.result === -ENXIO || operation.result >= start + length
  }
}

const MISMATCH = 'the data does not match its checksum'

/** There is no data. @param isBad also where the sums say zeros */
function zerosOf(
  { length }: RegionPlace,
  slot: Uint32Array,
  isBad: boolean,
  why: string,
): BadPages[] {
  const bad: BadPages[] = []
  for (let page = 0; page < length / PAGE_SIZE; page++) {
    if (isBad || slot[page] !== 0) add(bad, page, why)
  }
  return bad
}

function addMismatches(
  bad: BadPages[],
  buffer: Uint8Array,
  slot: Uint32Array,
  first: number,
  count: number,
): void {
  for (let page = 0; page < count; page++) {
    const found = findMismatch(buffer, page * PAGE_SIZE, count - page, slot, first + page)
    if (found < 0) return
    page += found
    add(bad, first + page, MISMATCH)
  }
}

function add(bad: BadPages[], page: number, why: string): void {
  const last = bad.at(-1)
  if (last !== undefined && last.why === why && last.first + last.count === page) last.count++
  else bad.push({ first: page, count: 1, why })
}
