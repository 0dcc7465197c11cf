/** Seeded random numbers. Every test prints its seed; SEED=n in the environment replays it. */
import type { ExecutionContext } from 'ava'

export class Random {
  #state: number

  constructor(seed: number) {
    this.#state = seed | 0
  }

  /** From 0 up to but not including 1 (mulberry32). */
  readonly next = (): number => {
    this.#state = (this.#state + 0x6d2b79f5) | 0
    let mixed = Math.imul(this.#state ^ (this.#state >>> 15), this.#state | 1)
    mixed ^= mixed + Math.imul(mixed ^ (mixed >>> 7), mixed | 61)
    return ((mixed ^ (mixed >>> 14)) >>> 0) / 2 ** 32
  }

  /** An integer from `min` to `max`, both included. */
  between(min: number, max: number): number {
    return min + Math.floor(this.next() * (max - min + 1))
  }

  /** An integer from `min` to `max`; each power of two is as likely as the next. */
  logarithmic(min: number, max: number): number {
    return Math.min(max, Math.floor(min * (max / min + 1) ** this.next()))
  }

  chance(probability: number): boolean {
    return this.next() < probability
  }

  pick<Item>(items: readonly Item[]): Item {
    return items[Math.floor(this.next() * items.length)]
  }

  /** Bytes none of which is zero, so that data never looks like a hole. */
  bytes(length: number): Uint8Array {
    const bytes = new Uint8Array(length)
    for (let index = 0; index < length; index++) bytes[index] = this.between(1, 255)
    return bytes
  }
}

/** Seed of this run, printed with the test. */
export function seedFor(t: ExecutionContext): number {
  const given = process.env['SEED']
  const seed = given === undefined ? Math.floor(Math.random() * 2 ** 31) : Number(given)
  t.log(`replay with SEED=${seed}`)
  return seed
}
