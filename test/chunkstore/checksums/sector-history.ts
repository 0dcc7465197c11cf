/** For each sector of a disk what a read may find, and what a power loss may leave: by stamps. */
import assert from 'node:assert/strict'

export const SECTOR = 512

export class SectorHistory {
  /** The stamps a read may find, and those a power loss may leave. */
  #now: Set<number>[]
  #durable: Set<number>[]
  /** Counts changes of each sector. */
  readonly #versions: Uint32Array
  readonly #busy = new Set<number>()
  /** A sync failed and lost data: memory and disk differ, and nothing will make them equal. */
  hasLost = false

  constructor(bytes: number) {
    const sectors = bytes / SECTOR
    this.#now = Array.from({ length: sectors }, () => new Set([0]))
    this.#durable = this.#now.map((stamps) => new Set(stamps))
    this.#versions = new Uint32Array(sectors)
  }

  isBusy(sectors: readonly number[]): boolean {
    return sectors.some((sector) => this.#busy.has(sector))
  }

  started(sectors: readonly number[], stamp: number): void {
    for (const sector of sectors) {
      this.#busy.add(sector)
      this.#versions[sector]++
      this.#now[sector].add(stamp)
      this.#durable[sector].add(stamp)
    }
  }

  done(sectors: readonly number[], stamp: number, isDurable: boolean): void {
    for (const sector of sectors) {
      this.#busy.delete(sector)
      this.#versions[sector]++
      // What a failed sync lost may be from before its answer.
      this.#now[sector] = new Set(this.hasLost ? this.#durable[sector] : [stamp])
      if (isDurable) this.#durable[sector] = new Set([stamp])
    }
  }

  /** Any part of it may be there. */
  failed(sectors: readonly number[]): void {
    for (const sector of sectors) {
      this.#busy.delete(sector)
      this.#versions[sector]++
    }
  }

  /** @returns to be given to `flushed` */
  versions(): Uint32Array {
    return this.#versions.slice()
  }

  /** What did not change since is durable. */
  flushed(versions: Uint32Array): void {
    for (const [sector, version] of versions.entries()) {
      const isSame = version === this.#versions[sector] && !this.#busy.has(sector)
      if (isSame) this.#durable[sector] = new Set(this.#now[sector])
    }
  }

  lost(): void {
    this.hasLost = true
    for (const [sector, stamps] of this.#durable.entries()) {
      for (const stamp of stamps) this.#now[sector].add(stamp)
    }
  }

  /** The process is gone, and nobody will hear of what was under way. */
  crashed(): void {
    for (const sector of this.#busy) this.#versions[sector]++
    this.#busy.clear()
  }

  lostPower(): void {
    this.#now = this.#durable.map((stamps) => new Set(stamps))
  }

  /** Each sector holds one stamp that it may, and has that from now on. */
  verify(at: number, bytes: Uint8Array, isDurable: boolean): void {
    const words = new Uint32Array(bytes.buffer, bytes.byteOffset, bytes.length / 4)
    for (let word = 0; word < words.length; word += SECTOR / 4) {
      const sector = at / SECTOR + word / (SECTOR / 4)
      const stamp = words[word]
      const whole = words.subarray(word, word + SECTOR / 4).every((each) => each === stamp)
      const may = [...this.#now[sector]]
      assert(whole && may.includes(stamp), `sector ${sector} is ${stamp}, not one of ${may}`)
      this.#now[sector] = new Set([stamp])
      if (isDurable) this.#durable[sector] = new Set([stamp])
    }
  }
}
