/**
 * What each sector of a disk may hold after a crash of the server. Every written sector says which
 * change it comes from, so what is read tells whether a change is missing, old, or elsewhere.
 *
 * A change may be there from the moment it is sent. It is gone for sure once a later one of the
 * same sector was answered; later means sent after this one was answered, or behind it on the same
 * connection: the server lets overlapping changes take effect in the order they arrive.
 */
import type { Random } from './random.ts'

export const SECTOR = 512

/** One write, or zeros, from sector `first` on. */
export interface Change {
  /** Its number, from 1; 0: zeros. */
  readonly generation: number
  readonly first: number
  readonly count: number
  readonly connection: number
  readonly sentAt: number
  /** Infinity until it is answered. */
  answeredAt: number
}

/** Half of all ranges begin in so many sectors, so that many overlap. */
const CROWDED_SECTORS = 96
const NEVER = { connection: -1, sentAt: -1, answeredAt: -1 }

export class CrashModel {
  readonly sectors: number
  /** Per sector, what it may hold. */
  readonly #possible: Change[][]
  readonly #initial: Change
  #clock = 0
  #generation = 0
  /** Sectors that held a change that was not answered, at all verifications. */
  unanswered = 0

  constructor(bytes: number) {
    this.sectors = bytes / SECTOR
    this.#initial = { generation: 0, first: 0, count: this.sectors, ...NEVER }
    this.#possible = Array.from({ length: this.sectors }, () => [this.#initial])
  }

  /** @returns a range of sectors for a change */
  range(random: Random, lengthMax: number): { first: number; count: number } {
    const count = random.logarithmic(1, lengthMax)
    const from = random.chance(0.5) ? CROWDED_SECTORS : this.sectors
    return { first: Math.min(random.between(0, from - 1), this.sectors - count), count }
  }

  /** A change is about to be sent. */
  send(connection: number, first: number, count: number, isZero: boolean): Change {
    const sentAt = this.#clock++
    // Also zeros take a number, that no two changes have the same.
    const number = ++this.#generation
    const generation = isZero ? 0 : number
    const change = { generation, first, count, connection, sentAt, answeredAt: Infinity }
    for (let sector = first; sector < first + count; sector++) this.#possible[sector].push(change)
    return change
  }

  /** Its success was answered: nothing before it can come back. */
  answer(change: Change): void {
    change.answeredAt = this.#clock++
    for (let sector = change.first; sector < change.first + change.count; sector++) {
      const possible = this.#possible[sector]
      this.#possible[sector] = possible.filter((each) => each === change || !precedes(each, change))
    }
  }

  /** The bytes of a change. */
  render({ generation, first, count }: Change): Buffer {
    const bytes = Buffer.alloc(count * SECTOR)
    if (generation === 0) return bytes
    for (let index = 0; index < count; index++) {
      const at = index * SECTOR
      bytes.fill(1 + ((generation * 31 + first + index) % 255), at, at + SECTOR)
      bytes.writeUInt32BE(generation, at)
      bytes.writeUInt32BE(first + index, at + 4)
    }
    return bytes
  }

  /**
   * After a crash: what was read from sector `first` on is what is there from now on.
   * @throws Error that names the first sector that holds what it cannot
   */
  verify(bytes: Uint8Array, first = 0): void {
    const read = Buffer.from(bytes.buffer, bytes.byteOffset, bytes.length)
    for (let at = 0; at < read.length; at += SECTOR) {
      const sector = first + at / SECTOR
      const found = this.#find(sector, read.subarray(at, at + SECTOR))
      if (found.answeredAt === Infinity) this.unanswered++
      this.#possible[sector] = [{ ...found, ...NEVER }]
    }
  }

  #find(sector: number, bytes: Buffer): Change {
    const possible = this.#possible[sector]
    const generation = bytes.readUInt32BE(0)
    const found = possible.find((each) => each.generation === generation)
    const one = { ...this.#initial, generation, first: sector, count: 1 }
    if (found !== undefined && this.render(one).equals(bytes)) return found
    const described = possible.map((each) => describe(each)).join('; ')
    const seen = `${generation} of sector ${bytes.readUInt32BE(4)}`
    const whole = this.render({ ...one, first: bytes.readUInt32BE(4) }).equals(bytes)
    throw new Error(
      `sector ${sector} holds ${whole ? '' : 'a torn '}${seen}; it may hold: ${described}`,
    )
  }
}

function precedes(earlier: Change, later: Change): boolean {
  if (earlier.answeredAt < later.sentAt) return true
  return earlier.connection === later.connection && earlier.sentAt < later.sentAt
}

function describe({ generation, connection, sentAt, answeredAt }: Change): string {
  const state = answeredAt === Infinity ? 'unanswered' : `answered at ${answeredAt}`
  return `${generation} (connection ${connection}, sent at ${sentAt}, ${state})`
}
