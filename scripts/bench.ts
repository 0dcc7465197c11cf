/**
 * npm run bench: measures our server beside its peers (see docs/performance.md). Results go to
 * stdout, progress to stderr. Exit status 1 if ours failed or a ratio fell below the baseline.
 * Nothing is ever judged by an absolute time.
 */
import { spawnSync } from 'node:child_process'
import { existsSync, mkdirSync, readFileSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { type Arguments, HELP, parseArguments, UsageError } from './bench/arguments.ts'
import { type Baseline, compareWithBaseline, updateBaseline } from './bench/baseline.ts'
import { drawCharts } from './bench/charts.ts'
import { describeEnvironment } from './bench/environment.ts'
import { describeResults, replaceResults } from './bench/markdown.ts'
import { BARE_FILE, type Listener, Measurement, type Plan } from './bench/measurement.ts'
import { compilePrograms } from './bench/programs.ts'
import type { FormName, Results, ServerDescription } from './bench/results.ts'
import { findServers, type OurBuild, REFERENCE } from './bench/servers.ts'
import { describeComparison, describeRow } from './bench/text-report.ts'
import { selectWorkloads, WORKLOADS } from './bench/workloads.ts'
import { Workspace } from './bench/workspace.ts'

const REPOSITORY = join(import.meta.dirname, '..')
const PAGE = join(REPOSITORY, 'docs/performance.md')
const BASELINE = join(REPOSITORY, 'scripts/bench/baseline.json')
const CHARTS = join(REPOSITORY, 'docs/performance')

/** Name of the server that is built from this checkout. */
const OURS = 'chunknbd'

interface Form extends Pick<Plan, 'rounds' | 'seconds' | 'diskBytes' | 'secondsMax' | 'touches'> {
  /** Unless --servers names others. Empty: all. */
  readonly servers: readonly string[]
}

const FORMS: Readonly<Record<FormName, Form>> = {
  full: {
    rounds: 5,
    seconds: 1,
    diskBytes: 1024 << 20,
    secondsMax: Infinity,
    touches: true,
    servers: [],
  },
  quick: {
    rounds: 3,
    seconds: 0.25,
    diskBytes: 256 << 20,
    secondsMax: 105,
    touches: false,
    servers: ['floor', REFERENCE, 'qemu-nbd', OURS],
  },
}

async function main(options: Arguments): Promise<number> {
  if (options.help) console.log(HELP)
  else if (options.list) {
    for (const { name, title } of WORKLOADS) console.log(`${name.padEnd(20)}${title}`)
  } else {
    // Before minutes of work that would be for nothing.
    const baseline = options.baseline === null ? null : readBaseline(options.baseline)
    const results = options.from === null ? await measure(options) : readResults(options.from)
    return report(results, baseline, options)
  }
  return 0
}

async function measure(options: Arguments): Promise<Results> {
  if (selectWorkloads(options.only).length === 0) {
    throw new UsageError('--only: no such workload, see --list')
  }
  if (options.build) build()
  const workspace = new Workspace(options.directory ?? undefined)
  const removeOnSignal = (signal: NodeJS.Signals, number: number): void => {
    workspace.remove()
    console.error(`ended by ${signal}`)
    process.exit(128 + number)
  }
  for (const signal of ['SIGINT', 'SIGTERM', 'SIGHUP'] as const) process.on(signal, removeOnSignal)
  try {
    return await measureIn(workspace, options)
  } finally {
    workspace.remove()
  }
}

async function measureIn(workspace: Workspace, options: Arguments): Promise<Results> {
  const formName = options.quick ? 'quick' : 'full'
  const form = FORMS[formName]
  const { seconds, diskBytes } = form
  const rounds = options.rounds ?? form.rounds
  const secondsMax = options.rounds === null ? form.secondsMax : Infinity

  const programs = await compilePrograms(workspace)
  const builds: OurBuild[] = [{ name: OURS, main: join(REPOSITORY, 'dist/cli/main.js') }]
  builds.push(...options.also)
  const usual =
    form.servers.length === 0 ? [] : [...form.servers, ...builds.map(({ name }) => name)]
  const wanted = options.servers.length > 0 ? options.servers : usual
  const { kinds, skipped } = await findServers(workspace, programs, builds, wanted)
  if (kinds.length === 0) throw new UsageError('--servers: none of these can be measured')

  const tool = { workspace, program: programs.load, diskBytes }
  const workloads = selectWorkloads(options.only)
  const { touches } = form
  const plan = { rounds, seconds, diskBytes, secondsMax, touches, kinds, workloads }
  const run = new Measurement(tool, plan, listener)
  await run.run()
  listener.progress('')
  const servers = kinds.map(({ name, title, version, isOurs }): ServerDescription => ({
    name,
    title,
    version,
    isOurs,
  }))
  if (run.rows.some(({ reference }) => reference === BARE_FILE.name)) servers.unshift(BARE_FILE)
  return {
    form: formName,
    rounds,
    seconds,
    diskBytes,
    environment: describeEnvironment(workspace.directory),
    servers,
    rows: run.rows,
    skipped: [...skipped, ...run.skipped],
    failures: run.failures,
  }
}

const listener: Listener = {
  progress: (text) => {
    if (process.stderr.isTTY) process.stderr.write(`\r\u001b[K${text}`)
  },
  row: (row) => {
    listener.progress('')
    console.log(`${describeRow(row)}\n`)
  },
}

function build(): void {
  const { status } = spawnSync('npm', ['run', '--silent', 'build'], {
    cwd: REPOSITORY,
    stdio: ['ignore', 'inherit', 'inherit'],
  })
  if (status !== 0) throw new Error('the build failed (--no-build measures dist/ as it is)')
}

function report(results: Results, baseline: Baseline | null, options: Arguments): number {
  if (options.json !== null) writeFileSync(options.json, `${JSON.stringify(results, null, 1)}\n`)
  for (const text of results.skipped) console.log(`skipped: ${text}`)
  for (const text of results.failures) console.log(`FAILED: ${text}`)
  let status = results.failures.length > 0 ? 1 : 0
  if (baseline !== null) {
    const comparisons = compareWithBaseline(results, baseline)
    console.log(describeComparison(comparisons))
    if (comparisons.some(({ isRegression }) => isRegression)) status = 1
  }
  if (options.updateBaseline) {
    const before = existsSync(BASELINE) ? readBaseline(BASELINE) : {}
    writeFileSync(BASELINE, `${JSON.stringify(updateBaseline(before, results), null, 2)}\n`)
  }
  if (options.updateDocs) updateDocs(results)
  return status
}

function updateDocs(results: Results): void {
  const charts = drawCharts(results)
  mkdirSync(CHARTS, { recursive: true })
  for (const { file, svg } of charts) writeFileSync(join(CHARTS, file), svg)
  const page = replaceResults(readFileSync(PAGE, 'utf8'), describeResults(results, charts))
  writeFileSync(PAGE, page)
}

function readResults(file: string): Results {
  return JSON.parse(readFileSync(file, 'utf8')) as Results
}

function readBaseline(file: string): Baseline {
  if (!existsSync(file)) throw new Error(`${file}: no such file; --update-baseline makes one`)
  return JSON.parse(readFileSync(file, 'utf8')) as Baseline
}

try {
  process.exitCode = await main(parseArguments(process.argv.slice(2)))
} catch (error) {
  console.error(`bench: ${(error as Error).message}`)
  process.exitCode = error instanceof UsageError ? 2 : 1
}
