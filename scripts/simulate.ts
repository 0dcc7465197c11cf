/**
 * npm run simulate: tries to break the promise of docs/durability.md on a simulated machine, seed
 * by seed. Results go to stdout, progress to stderr. Exit status 1 if the promise was broken.
 */
import { type Arguments, HELP, parseArguments, UsageError } from './simulate/arguments.ts'
import { BREAKAGES } from './simulate/breakages.ts'
import { Clock } from './simulate/clock.ts'
import { addCounts, describeCounts, noCounts } from './simulate/counts.ts'
import { type DiskOfSeed, disksOf } from './simulate/disks.ts'
import { run, type RunOptions } from './simulate/run.ts'
import { shrink } from './simulate/shrink.ts'
import { World } from './simulate/world.ts'

/** Progress is told every so many disks. */
const REPORT_DISKS = 1000

const clock = new Clock()

async function main(options: Arguments): Promise<number> {
  if (options.help) {
    console.log(HELP)
    return 0
  }
  clock.install()
  process.on('uncaughtException', (error) => World.uncaught.push(error))
  process.on('unhandledRejection', (error) => World.uncaught.push(error))
  return options.breakAll ? breakAll(options) : runAll(options)
}

function* disks({ seed, seeds, steps }: Arguments): Generator<DiskOfSeed> {
  for (let each = seed; each < seed + seeds; each++) yield* disksOf(each, steps)
}

/** Until one fails. */
async function runAll(options: Arguments): Promise<number> {
  const { only, breakage: name } = options
  const breakage = name === null ? null : BREAKAGES[name]
  const trace = options.trace ? console.log : null
  const total = noCounts()
  let count = 0
  for (const disk of disks(options)) {
    const all = { ...disk, only, breakage, trace }
    const { failure, counts } = await run(all, clock)
    addCounts(total, counts)
    if (failure !== null) {
      console.log(`BROKEN, seed ${disk.seed}: ${describeError(failure)}`)
      if (only === null && options.shrinks) await explain(all, name)
      return 1
    }
    count++
    if (count % REPORT_DISKS === 0) console.error(`${count} disks: ${describeCounts(total)}`)
  }
  console.log(`Nothing found: ${count} disks, ${describeCounts(total)}.`)
  return 0
}

/** @returns 1 if one of them went unnoticed */
async function breakAll(options: Arguments): Promise<number> {
  let status = 0
  for (const [name, breakage] of Object.entries(BREAKAGES)) {
    let found: string | null = null
    let count = 0
    for (const disk of disks(options)) {
      count++
      const { failure } = await run({ ...disk, only: null, breakage, trace: null }, clock)
      if (failure === null) continue
      found = `noticed after ${count} disks, at seed ${disk.seed}: ${describeError(failure)}`
      break
    }
    console.log(`${name}: ${found ?? `NOT NOTICED on ${count} disks`}`)
    if (found === null) status = 1
  }
  return status
}

/** Finds a short way to the failure, and prints it. */
async function explain(options: RunOptions, name: string | null): Promise<void> {
  const { seed, steps } = options
  const all = Array.from({ length: steps }, (_, index) => index)
  const kept = await shrink(all, async (only) => {
    return (await run({ ...options, only, trace: null }, clock)).failure !== null
  })
  console.log('The shortest way there that was found:\n')
  const last = await run({ ...options, only: kept, trace: console.log }, clock)
  const broken = name === null ? '' : ` --break ${name}`
  console.log(`\nBROKEN: ${describeError(last.failure)}`)
  const again = `--seed ${seed} --steps ${steps} --only ${kept.join(',') || 'none'}${broken}`
  console.log(`Again: npm run simulate -- ${again} --trace`)
}

function describeError(error: unknown): string {
  if (!(error instanceof Error)) return String(error)
  return error.name === 'Error' ? error.message : (error.stack ?? error.message)
}

try {
  process.exitCode = await main(parseArguments(process.argv.slice(2)))
} catch (error) {
  if (!(error instanceof UsageError)) throw error
  console.error(`error: ${error.message}; --help tells more`)
  process.exitCode = 2
}
