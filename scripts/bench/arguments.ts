/** The command line of `npm run bench`. */
import { resolve } from 'node:path'
import { parseArgs } from 'node:util'
import type { OurBuild } from './servers.ts'

export const HELP = `npm run bench -- [options]

Measures our server, built from this checkout, beside the peers found on this machine.

  --quick             256 MiB, short visits, three rounds: under two minutes
  --only PATTERN      only workloads with this in their name or title; repeatable (see --list)
  --servers a,b       only these: floor, file-floor, nbdkit, qemu-nbd, nbd-server, chunknbd (both)
  --rounds N          visits to each server for each workload
  --also NAME=MAIN    another build of ours beside this one; MAIN is its dist/cli/main.js
  --directory DIR     where the disks are made, in a directory that is removed afterwards
  --no-build          measure dist/ as it is
  --json FILE         write everything that was measured
  --from FILE         measure nothing, take what --json wrote
  --baseline FILE     compare the ratios with those in FILE; exit status 1 if one has fallen
  --update-baseline   write the ratios to scripts/bench/baseline.json, to be committed
  --update-docs       write the results into docs/performance.md and its charts
  --list              print the names of the workloads

Ratios are what counts: times depend on the machine, and on what else it does.`

const ROUNDS_MAX = 1000

export interface Arguments {
  readonly help: boolean
  readonly list: boolean
  readonly quick: boolean
  readonly only: readonly string[]
  readonly servers: readonly string[]
  /** null: as many as the form has. */
  readonly rounds: number | null
  readonly also: readonly OurBuild[]
  readonly directory: string | null
  readonly build: boolean
  readonly json: string | null
  readonly from: string | null
  /** What to compare with. */
  readonly baseline: string | null
  readonly updateBaseline: boolean
  readonly updateDocs: boolean
}

/** Wrong usage: exit status 2. */
export class UsageError extends Error {
  readonly code = 'USAGE'
}

export function parseArguments(args: readonly string[]): Arguments {
  const values = parse(args)
  return {
    help: values.help === true,
    list: values.list === true,
    quick: values.quick === true,
    only: values.only ?? [],
    servers: (values.servers ?? []).flatMap((list) => list.split(',')).filter(Boolean),
    rounds: values.rounds === undefined ? null : parseRounds(values.rounds),
    also: (values.also ?? []).map(parseBuild),
    directory: values.directory ?? null,
    build: values['no-build'] !== true,
    json: values.json ?? null,
    from: values.from ?? null,
    baseline: values.baseline ?? null,
    updateBaseline: values['update-baseline'] === true,
    updateDocs: values['update-docs'] === true,
  }
}

function parse(args: readonly string[]) {
  try {
    const { values } = parseArgs({
      args: [...args],
      options: {
        help: { type: 'boolean', short: 'h' },
        list: { type: 'boolean' },
        quick: { type: 'boolean' },
        only: { type: 'string', multiple: true },
        servers: { type: 'string', multiple: true },
        rounds: { type: 'string' },
        also: { type: 'string', multiple: true },
        directory: { type: 'string' },
        'no-build': { type: 'boolean' },
        json: { type: 'string' },
        from: { type: 'string' },
        baseline: { type: 'string' },
        'update-baseline': { type: 'boolean' },
        'update-docs': { type: 'boolean' },
      },
    })
    return values
  } catch (error) {
    throw new UsageError((error as Error).message, { cause: error })
  }
}

function parseRounds(text: string): number {
  const rounds = Number(text)
  if (Number.isInteger(rounds) && rounds >= 1 && rounds <= ROUNDS_MAX) return rounds
  throw new UsageError(`--rounds ${text}: give a number from 1 to ${ROUNDS_MAX}`)
}

function parseBuild(text: string): OurBuild {
  const match = /^([a-z0-9.-]+)=(.+)$/.exec(text)
  if (match === null) throw new UsageError(`--also ${text}: write NAME=PATH of dist/cli/main.js`)
  return { name: match[1], main: resolve(match[2]) }
}
