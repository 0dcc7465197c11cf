/** The chance of a simulation. Each step begins with a seed of its own: see `plan.ts`. */
import type { Chance } from '../../io/simulated/chance.ts'
import { Random } from '../../test/helpers/random.ts'

export class Schedule implements Chance {
  #random: Random

  constructor(seed: number) {
    this.#random = new Random(seed)
  }

  reseed(seed: number): void {
    this.#random = new Random(seed)
  }

  between(min: number, max: number): number {
    return this.#random.between(min, max)
  }

  logarithmic(min: number, max: number): number {
    return this.#random.logarithmic(min, max)
  }

  chance(probability: number): boolean {
    return this.#random.chance(probability)
  }

  pick<Item>(items: readonly Item[]): Item {
    return this.#random.pick(items)
  }
}
