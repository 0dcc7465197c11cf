/**
 * A file of the simulated machine, twice: as programs see it (the page cache), and as the disk has
 * it for sure. What lies between is the list of changes that nobody has synced.
 *
 *   change ─▶ cache, unsynced          sync ─▶ disk (what was there when the sync began)
 *   power loss: disk + any part of unsynced: each change whole, torn by sectors, or not at all
 */
import type { Chance } from './chance.ts'
import { BLOCK_SIZE, type FileChange, FileImage, type Keeps } from './file-image.ts'

/** How much of what is unsynced a power loss keeps: probabilities. */
export interface Fate {
  readonly names: number
  readonly sizes: number
  readonly data: number
}

export class SimulatedFile {
  /** What an inode number is for. */
  readonly id: number
  /** The file system it is in. */
  device = ''
  readonly cache: FileImage
  readonly #disk: FileImage
  #unsynced: FileChange[] = []
  /** Where nothing is dirty, memory and disk may differ all the same. */
  #hasLost = false

  constructor(id: number, contents: FileImage = new FileImage()) {
    this.id = id
    this.cache = contents
    this.#disk = contents.copy()
  }

  /** Something was changed and not synced. */
  get isUnsynced(): boolean {
    return this.#unsynced.length > 0
  }

  change(change: FileChange): void {
    this.cache.apply(change)
    this.#unsynced.push(change)
  }

  /** What was changed up to `sequence` is durable. */
  sync(sequence: number): void {
    this.#takeUntil(sequence, (change) => {
      // What once made the file longer may have been lost by a sync that failed.
      this.#disk.apply(change.kind === 'write' ? { ...change, extends: true } : change)
    })
  }

  /**
   * A sync failed: as in Linux, the pages are clean all the same, so that no later sync writes
   * them. Some had reached the disk. Those that had not may be forgotten in memory, too.
   * @returns whether anything was lost
   */
  failSync(sequence: number, chance: Chance): boolean {
    let lost = false
    this.#takeUntil(sequence, (change) => {
      if (change.kind === 'truncate') return this.#disk.apply(change)
      this.#disk.apply(change, (position) => {
        const kept = chance.chance(0.5)
        if (!kept) lost = true
        return kept && position >= 0
      })
    })
    if (lost) this.#hasLost = true
    this.evict(chance)
    return lost
  }

  /** Memory is short: clean pages are forgotten, and read from the disk when they are wanted. */
  evict(chance: Chance): void {
    if (!this.#hasLost) return
    for (let at = 0; at < this.cache.size; at += BLOCK_SIZE) {
      if (this.#isDirty(at) || chance.chance(0.5)) continue
      this.cache.takeFrom(this.#disk, at, BLOCK_SIZE)
    }
  }

  #isDirty(block: number): boolean {
    return this.#unsynced.some((change) => {
      if (change.kind === 'truncate') return true
      const length = change.kind === 'write' ? change.data.length : change.length
      return change.position < block + BLOCK_SIZE && block < change.position + length
    })
  }

  #takeUntil(sequence: number, take: (change: FileChange) => void): void {
    const first = this.#unsynced.findIndex((change) => change.sequence > sequence)
    const count = first < 0 ? this.#unsynced.length : first
    for (const change of this.#unsynced.splice(0, count)) take(change)
  }

  /** @returns the file as a machine finds it that lost its power now; one of many possibilities */
  afterPowerLoss(chance: Chance, fate: Fate): SimulatedFile {
    const image = this.#disk.copy()
    for (const change of this.#unsynced) {
      if (change.kind === 'truncate') {
        if (chance.chance(fate.sizes)) image.apply(change)
      } else image.apply(change, keepsSome(chance, fate.data))
    }
    return new SimulatedFile(this.id, image)
  }
}

/** A third of the changes is torn, the others happen whole or not at all. */
function keepsSome(chance: Chance, probability: number): Keeps {
  const whole = chance.chance(probability)
  const torn = probability > 0 && probability < 1 && chance.chance(1 / 3)
  return torn ? () => chance.chance(probability) : () => whole
}
