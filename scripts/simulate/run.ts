/** Runs one disk and takes what is thrown for its result. */
import type { Breakage } from './breakages.ts'
import type { Clock } from './clock.ts'
import type { Counts } from './counts.ts'
import { Unjudgeable } from './disk-model.ts'
import { Simulation } from './simulation.ts'
import { World } from './world.ts'

export interface RunOptions {
  readonly seed: number
  readonly steps: number
  /** Only these steps are done; null: all. */
  readonly only: readonly number[] | null
  readonly breakage: Breakage | null
  /** Told of everything that happens, or null. */
  readonly trace: ((line: string) => void) | null
}

export interface Run {
  /** null: the promise was kept. */
  readonly failure: unknown
  readonly counts: Counts
}

export async function run(options: RunOptions, clock: Clock): Promise<Run> {
  const only = options.only === null ? null : new Set(options.only)
  const simulation = new Simulation({ ...options, only }, clock)
  let failure: unknown = null
  try {
    await simulation.run()
  } catch (error) {
    if (!(error instanceof Unjudgeable)) failure = error
  }
  World.uncaught.length = 0
  return { failure, counts: simulation.counts }
}
