/**
 * The disks of a seed, one after the other. Each has so many steps, then the next begins with a
 * seed of its own; the first has the seed itself, so that any of them can be had alone.
 */
import { mix } from './plan.ts'

export interface DiskOfSeed {
  readonly seed: number
  readonly steps: number
}

/** Most disks are short, for what goes wrong does so early; some grow old. */
const STEPS = [20, 20, 20, 20, 60]
export const STEPS_MAX = Math.max(...STEPS)

export function stepsOf(seed: number): number {
  return STEPS[(mix(seed, 0, 21) >>> 0) % STEPS.length]
}

/** @param steps in all; 0: those of one disk */
export function* disksOf(seed: number, steps: number): Generator<DiskOfSeed> {
  let left = steps === 0 ? stepsOf(seed) : steps
  for (let index = 0; left > 0; index++) {
    const own = index === 0 ? seed : mix(seed, index, 20) >>> 1
    const disk = { seed: own, steps: Math.min(left, stepsOf(own)) }
    yield disk
    left -= disk.steps
  }
}
