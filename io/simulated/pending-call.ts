/** A call under way: its effect, in stages, then its end, of which the caller hears. */
import type { Chance } from './chance.ts'

export class PendingCall {
  readonly #stages: (() => void)[]
  readonly #end: () => void

  constructor(stages: (() => void)[], end: () => void) {
    this.#stages = stages
    this.#end = end
  }

  /** Takes the next step. @returns true: it was the last */
  advance(): boolean {
    const stage = this.#stages.shift()
    if (stage !== undefined) {
      stage()
      return false
    }
    this.#end()
    return true
  }

  /** The whole effect, now. */
  runAll(): void {
    for (const stage of this.#stages.splice(0)) stage()
  }

  /** Its process dies: the effect has taken place, or not, or the first stages of it. */
  abandon(chance: Chance): void {
    for (const stage of this.#stages.splice(0)) {
      if (chance.chance(0.5)) return
      stage()
    }
  }
}
