/** What a disk may hold, sector by sector: the judge of every read and of every crash. */
import { describeContents } from './contents.ts'
import { type Change, isSame, Sector, SECTOR } from './sector.ts'

/** The promise is broken; the message says where and how. */
export class BrokenPromise extends Error {}

/**
 * A failed sync has lost data that has checksums, or that goes into a parent. A read may, rightly,
 * be an error from here on, or the parent be another after a power loss. This simulation ends.
 */
export class Unjudgeable extends Error {}

/** A read under way, and what each sector of it may turn out to be. */
export interface Reading {
  readonly offset: number
  readonly length: number
  readonly allowed: Uint8Array[][]
  /** Of each sector when it began; -1: a change was under way. */
  readonly stamps: readonly number[]
}

export interface DiskPromises {
  /** Flushes and FUA make durable. */
  readonly syncs: boolean
  /** Every change is durable when it is answered. */
  readonly through: boolean
}

export class DiskModel {
  readonly size: number
  promises: DiskPromises = { syncs: true, through: false }
  /** A failed sync may have lost something. */
  hasLost = false
  /** Counts what happens; a number for every moment. */
  time = 0
  readonly #sectors: Sector[] = []
  readonly #readings = new Set<Reading>()
  readonly #nameOf: (number: number) => string

  /** @param nameOf words for the number of a change, for messages */
  constructor(image: Uint8Array, nameOf: (number: number) => string) {
    this.size = image.length
    this.#nameOf = nameOf
    for (let at = 0; at < image.length; at += SECTOR) {
      this.#sectors.push(new Sector(at, image.subarray(at, at + SECTOR)))
    }
  }

  /** Most changes that are under way in one sector of a range. */
  crowd(offset: number, length: number): number {
    return Math.max(...this.#between(offset, length).map((sector) => sector.openCount))
  }

  begin(change: Change): void {
    const sectors = this.#between(change.offset, change.length)
    for (const sector of sectors) sector.begin(change)
    for (const reading of this.#readings) this.#extend(reading, sectors)
  }

  succeed(change: Change, isForced: boolean): void {
    this.time++
    const durable = this.promises.syncs && (isForced || this.promises.through)
    for (const sector of this.#between(change.offset, change.length)) {
      sector.succeed(change, this.time, durable)
    }
  }

  /** @param refused it has changed nothing; otherwise any part of it may be there */
  fail(change: Change, refused = false): void {
    this.time++
    for (const sector of this.#between(change.offset, change.length)) {
      sector.fail(change, this.time, refused)
    }
  }

  /** A flush that was sent at this time was answered. */
  flushed(sentAt: number): void {
    if (this.promises.syncs) for (const sector of this.#sectors) sector.flushed(sentAt)
  }

  /** A failed sync may have lost anything that was not durable. */
  lose(): void {
    this.hasLost = true
    for (const sector of this.#sectors) sector.lose()
    for (const reading of this.#readings) this.#extend(reading, this.#sectors)
  }

  beginRead(offset: number, length: number): Reading {
    const sectors = this.#between(offset, length)
    const allowed = sectors.map((sector) => sector.contents())
    const stamps = sectors.map((sector) => (sector.openCount === 0 ? sector.stamp : -1))
    const reading = { offset, length, allowed, stamps }
    this.#readings.add(reading)
    return reading
  }

  /** @throws BrokenPromise if it read what it cannot have read. `bytes` null: it failed */
  endRead(reading: Reading, bytes: Uint8Array | null): void {
    this.#readings.delete(reading)
    if (bytes === null) return
    this.#compare(reading.offset, bytes, reading.allowed, 'a read finds')
    this.#learn(reading, bytes)
  }

  /** What was read once, where a change failed, is what there is: it stays. */
  #learn({ offset, length, stamps }: Reading, bytes: Uint8Array): void {
    this.time++
    for (const [index, sector] of this.#between(offset, length).entries()) {
      const start = sector.offset - offset
      const isWhole = start >= 0 && start + SECTOR <= length
      if (!isWhole || sector.stamp !== stamps[index]) continue
      sector.found(bytes.slice(start, start + SECTOR), this.time)
    }
  }

  /** A range is said to be zeros. */
  checkZeros({ allowed, offset: start }: Reading, offset: number, length: number): void {
    const first = Math.floor(start / SECTOR)
    for (const sector of this.#between(offset, length)) {
      const from = Math.max(offset - sector.offset, 0)
      const to = Math.min(offset + length - sector.offset, SECTOR)
      const contents = allowed[sector.offset / SECTOR - first]
      if (contents.some((each) => each.subarray(from, to).every((byte) => byte === 0))) continue
      const holds = contents.map((each) => this.#describe(each, sector.offset)).join('; or ')
      throw new BrokenPromise(`zeros are reported at ${sector.offset}; it holds: ${holds}`)
    }
  }

  kill(): void {
    this.time++
    this.#readings.clear()
    for (const sector of this.#sectors) sector.kill()
  }

  /** After `kill`: what the disk reads as. @throws BrokenPromise */
  found(image: Uint8Array): void {
    const allowed = this.#sectors.map((sector) => sector.contents())
    this.#compare(0, image, allowed, 'after the process was killed there is')
    for (const sector of this.#sectors) sector.found(this.#part(image, sector), this.time)
  }

  /** @throws BrokenPromise if a power loss now cannot have left this */
  checkAfterPowerLoss(image: Uint8Array): void {
    const allowed = this.#sectors.map((sector) => sector.contentsOnDisk())
    this.#compare(0, image, allowed, 'after the power loss there is')
  }

  foundAfterPowerLoss(image: Uint8Array): void {
    for (const sector of this.#sectors) sector.foundOnDisk(this.#part(image, sector))
  }

  /** The image is ours: nobody changes it. */
  #part(image: Uint8Array, { offset }: Sector): Uint8Array {
    return image.subarray(offset, offset + SECTOR)
  }

  #between(offset: number, length: number): Sector[] {
    return this.#sectors.slice(Math.floor(offset / SECTOR), Math.ceil((offset + length) / SECTOR))
  }

  #extend({ offset, length, allowed }: Reading, changed: readonly Sector[]): void {
    const first = Math.floor(offset / SECTOR)
    for (const sector of changed) {
      const at = sector.offset / SECTOR - first
      if (sector.offset + SECTOR <= offset || sector.offset >= offset + length) continue
      const news = sector.contents().filter((each) => !allowed[at].some((old) => isSame(old, each)))
      allowed[at].push(...news)
    }
  }

  #compare(
    offset: number,
    bytes: Uint8Array,
    allowed: readonly (readonly Uint8Array[])[],
    what: string,
  ): void {
    const first = Math.floor(offset / SECTOR)
    for (const [index, contents] of allowed.entries()) {
      const sector = (first + index) * SECTOR
      const start = Math.max(sector, offset)
      const end = Math.min(sector + SECTOR, offset + bytes.length)
      const seen = bytes.subarray(start - offset, end - offset)
      const isAllowed = contents.some((each) =>
        isSame(each.subarray(start - sector, end - sector), seen),
      )
      if (isAllowed) continue
      const may = contents.map((each) => this.#describe(each, sector)).join('; or ')
      throw new BrokenPromise(
        `${what} at ${start}: ${this.#describe(seen, start)}. It may be: ${may}.`,
      )
    }
  }

  #describe(bytes: Uint8Array, offset: number): string {
    return describeContents(bytes, offset, this.#nameOf)
  }
}
