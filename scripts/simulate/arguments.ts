/** The command line of `npm run simulate`. */
import { parseArgs } from 'node:util'
import { BREAKAGES } from './breakages.ts'
import { STEPS_MAX, stepsOf } from './disks.ts'

const STEPS_DEFAULT = 10_000
const COUNT_MAX = 1e9
const SEED_MAX = 2 ** 31 - 1

export const HELP = `npm run simulate -- [options]

A server with its clients on a simulated machine: crashes, power losses, calls that fail. Everything
follows from the seed. Exit status 1 if the promise of docs/durability.md was broken; then the
shortest way there that was found is printed, and the command that goes it again. Status 2: wrong
usage.

  --seed S      the seed, or the first one (1)
  --steps N     steps of a seed: a request, a crash, a fault ... (${STEPS_DEFAULT}, with --seeds
                those of one disk). After ${STEPS_MAX} at most a new disk begins, with its own seed.
  --seeds K     so many seeds: S, S + 1 ... (1)
  --only A,B    of one disk, only these steps, counted from 0, or "none"
  --no-shrink   of a failure, print only the first line
  --trace       print everything that happens
  --break NAME  break the server: the simulation must notice
  --break-all   each way to break it, one at a time, until it is noticed

Ways to break it:
${Object.entries(BREAKAGES)
  .map(([name, { what }]) => `  ${name.padEnd(22)}${what}`)
  .join('\n')}`

export interface Arguments {
  readonly help: boolean
  readonly seed: number
  readonly seeds: number
  /** Of each seed; 0: those of one disk. */
  readonly steps: number
  /** null: all. */
  readonly only: readonly number[] | null
  readonly shrinks: boolean
  readonly trace: boolean
  readonly breakage: string | null
  readonly breakAll: boolean
}

/** Wrong usage: exit status 2. */
export class UsageError extends Error {
  readonly code = 'USAGE'
}

export function parseArguments(args: readonly string[]): Arguments {
  const values = parse(args)
  const breakage = values.break ?? null
  if (breakage !== null && !(breakage in BREAKAGES)) {
    throw new UsageError(`--break ${breakage}: choose one of ${Object.keys(BREAKAGES).join(', ')}`)
  }
  const seed = integer('--seed', values.seed, 1, SEED_MAX)
  const seeds = integer('--seeds', values.seeds, 1, COUNT_MAX)
  const none = values.seeds === undefined ? STEPS_DEFAULT : 0
  const steps = integer('--steps', values.steps, none, COUNT_MAX)
  const only = values.only === undefined ? null : stepNumbers(values.only)
  if (only !== null && (seeds > 1 || steps > stepsOf(seed))) {
    throw new UsageError(`--only is for one disk: give --steps, at most ${stepsOf(seed)}`)
  }
  return {
    help: values.help === true,
    seed,
    seeds,
    steps,
    only,
    shrinks: values['no-shrink'] !== true,
    trace: values.trace === true,
    breakage,
    breakAll: values['break-all'] === true,
  }
}

function parse(args: readonly string[]) {
  try {
    return parseArgs({
      args: [...args],
      options: {
        help: { type: 'boolean', short: 'h' },
        seed: { type: 'string' },
        seeds: { type: 'string' },
        steps: { type: 'string' },
        only: { type: 'string' },
        'no-shrink': { type: 'boolean' },
        trace: { type: 'boolean' },
        break: { type: 'string' },
        'break-all': { type: 'boolean' },
      },
    }).values
  } catch (error) {
    throw new UsageError((error as Error).message)
  }
}

function stepNumbers(text: string): number[] {
  if (text === 'none') return []
  return text.split(',').map((each) => integer('--only', each, 0, COUNT_MAX))
}

function integer(name: string, text: string | undefined, none: number, max: number): number {
  if (text === undefined) return none
  const value = Number(text)
  if (/^\d+$/.test(text) && value <= max) return value
  throw new UsageError(`${name} ${text}: give a number from 0 to ${max}`)
}
