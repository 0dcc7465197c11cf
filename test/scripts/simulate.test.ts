/** The simulation finds nothing, finds what is broken on purpose, and says how to see it again. */
import { spawn } from 'node:child_process'
import { readFileSync } from 'node:fs'
import test from 'ava'
import { parseArguments } from '../../scripts/simulate/arguments.ts'
import { BREAKAGES } from '../../scripts/simulate/breakages.ts'
import { MUTATIONS, mutate } from '../../scripts/simulate/mutations.ts'
import { disksOf } from '../../scripts/simulate/disks.ts'
import { seedFor } from '../helpers/random.ts'

const SEEDS = 1000

/** A minute on a machine that has nothing else to do. */
const PATIENCE_MS = 15 * 60_000

interface Run {
  readonly status: number | null
  readonly output: string
}

const simulate = (...args: readonly (string | number)[]): Promise<Run> =>
  run('scripts/simulate.ts', ...args)

function run(script: string, ...args: readonly (string | number)[]): Promise<Run> {
  return new Promise((resolve, reject) => {
    const all = ['--import', 'tsx', script, ...args.map(String)]
    const child = spawn(process.execPath, all, { stdio: ['ignore', 'pipe', 'inherit'] })
    let output = ''
    child.stdout.on('data', (data: Buffer) => (output += data.toString()))
    child.once('error', reject)
    child.once('close', (status) => resolve({ status, output }))
  })
}

test.serial(`${SEEDS} seeds do not break the promise`, async (t) => {
  t.timeout(PATIENCE_MS)
  const seed = seedFor(t)
  const { status, output } = await simulate('--seed', seed, '--seeds', SEEDS)
  t.is(status, 0, output)
  t.regex(output, new RegExp(`^Nothing found: ${SEEDS} disks, \\d{5} steps`))
  t.log(output.trim())
})

test.serial('every way to break the server is noticed', async (t) => {
  t.timeout(PATIENCE_MS)
  const { status, output } = await simulate('--break-all', '--seeds', SEEDS)
  t.is(status, 0, output)
  for (const name of Object.keys(BREAKAGES)) {
    t.regex(output, new RegExp(`^${name}: noticed after \\d+ disks, at seed \\d+: `, 'm'))
  }
})

test.serial('without a sync or the rename in its source the server fails', async (t) => {
  t.timeout(PATIENCE_MS)
  const names = ['data-sync', 'directory-sync', 'copy-sync', 'rename']
  const { status, output } = await run('scripts/mutate.ts', ...names)
  t.is(status, 0, output)
  t.deepEqual(
    output
      .trim()
      .split('\n')
      .map((line) => line.replace(/^([\w-]+): .*: BROKEN, seed \d+: .*/, '$1')),
    names,
  )
})

test('each mutation is one of the source as it is', (t) => {
  for (const mutation of Object.values(MUTATIONS)) {
    const source = readFileSync(mutation.file, 'utf8')
    t.not(mutate(source, mutation), source)
  }
})

test.serial('the same seed is the same run, event by event', async (t) => {
  for (const seed of [11, 12]) {
    const args = ['--seed', seed, '--seeds', 1, '--trace']
    const [first, second] = await Promise.all([simulate(...args), simulate(...args)])
    t.true(first.output.split('\n').length > 50)
    t.true(first.output === second.output)
  }
})

test.serial('a failure is made short, and comes with the command that repeats it', async (t) => {
  const { status, output } = await simulate('--break', 'no-directory-sync', '--steps', 2000)
  t.is(status, 1)
  t.regex(output, /^BROKEN, seed \d+: after the power loss there is at \d+: /)
  const last = output.trimEnd().split('\n').at(-1) ?? ''
  const [, args] = /^Again: npm run simulate -- (.+)$/.exec(last) ?? []
  t.true(/--only ([\d,]+)/.exec(last)?.[1].split(',').length === 1, last)
  const again = await simulate(...args.split(' '))
  t.is(again.status, 1)
  const trace = again.output.trimEnd().split('\n')
  t.true(output.includes(trace.slice(0, -1).join('\n')), 'it is the trace that was printed')
  t.true(trace.some((line) => /^step \d+: client \d sends write/.test(line)))
  t.regex(trace.at(-1) ?? '', /^BROKEN, seed \d+: after the power loss/)
})

test('a long seed goes through many disks, and each of them can be had alone', (t) => {
  const disks = [...disksOf(5, 1000)]
  t.is(disks[0].seed, 5)
  t.is(
    disks.reduce((sum, { steps }) => sum + steps, 0),
    1000,
  )
  t.is(new Set(disks.map(({ seed }) => seed)).size, disks.length)
  for (const disk of disks) t.deepEqual([...disksOf(disk.seed, disk.steps)], [disk])
  const others = [...disksOf(6, 1000)].map(({ seed }) => seed)
  t.false(disks.some(({ seed }) => others.includes(seed)))
})

test('wrong arguments are refused', (t) => {
  for (const [args, message] of [
    [['--seed', 'x'], /--seed x: give a number/],
    [['--break', 'x'], /--break x: choose one of no-directory-sync/],
    [['--only', '1', '--steps', '1000'], /--only is for one disk/],
    [['--only', '1,b', '--steps', '9'], /--only b: give a number/],
    [['--fast'], /fast/],
  ] as const) {
    t.throws(() => parseArguments(args), { code: 'USAGE', message })
  }
})
