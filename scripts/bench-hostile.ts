/**
 * npm run bench:hostile: how much hostile clients slow a good one, and what memory they take. The
 * good one is the load generator of the benchmark, on a unix socket; the crowd comes by TCP. Visits
 * without and with the crowd follow one another in each round: only their ratio counts.
 */
import { spawnSync } from 'node:child_process'
import net from 'node:net'
import { join } from 'node:path'
import { parseArgs } from 'node:util'
import { firstReserved } from '../io/descriptors.ts'
import { HostileCrowd, HostileKind } from './bench/hostile-crowd.ts'
import { fillDisk, loadVisit, type LoadTool } from './bench/load-visit.ts'
import { memoryPeakBytes, resetMemoryPeak } from './bench/process-usage.ts'
import { compilePrograms } from './bench/programs.ts'
import { RunningServer } from './bench/running-server.ts'
import { findServers, type ServerKind } from './bench/servers.ts'
import { median } from './bench/statistics.ts'
import { selectWorkloads, type Workload } from './bench/workloads.ts'
import { Workspace } from './bench/workspace.ts'

const HELP = `npm run bench:hostile -- [options]

  --rounds N     rounds for each engine (default: 3)
  --visits N     visits in a round, for each workload without the crowd and with it (default: 3)
  --seconds N    length of a visit (default: 1)
  --silent N     connections that say nothing (default: 10000)
  --halfway N    connections that stop in the middle of the handshake (default: 1000)
  --only NAME    workloads whose names end so (npm run bench -- --list); repeatable
  --no-build     measure dist/ as it is

One more client never reads its replies, and one sends a byte a second. Each engine is measured
twice: the crowd stays (--handshake-timeout 300); it is cut off after 10 s and comes back at once.`

const REPOSITORY = join(import.meta.dirname, '..')
const DISK_BYTES = 256 << 20
const BYTE_MS = 1000
const OWN_DESCRIPTORS = 100
const USUAL = ['read-4k-qd1', 'read-4k-qd32', 'write-4k-qd32']

interface Options {
  readonly rounds: number
  readonly visits: number
  readonly seconds: number
  readonly silent: number
  readonly halfway: number
  readonly workloads: readonly Workload[]
  readonly build: boolean
}

interface Figures {
  /** Operations in a second. */
  readonly rate: number
  /** Of the server for an operation, whatever else it does. */
  readonly cpu: number
}

/** The two ways of a crowd. */
const WAYS = [
  { title: 'the crowd stays', arguments: ['--handshake-timeout', '300'], comesBack: false },
  { title: 'the crowd is cut off and comes back', arguments: [], comesBack: true },
] as const

async function main(options: Options): Promise<void> {
  if (options.build) {
    const build = spawnSync('npm', ['run', '--silent', 'build'], { cwd: REPOSITORY })
    if (build.status !== 0) throw new Error('the build failed')
  }
  const workspace = new Workspace()
  for (const signal of ['SIGINT', 'SIGTERM', 'SIGHUP'] as const) {
    process.on(signal, () => {
      workspace.remove()
      process.exit(1)
    })
  }
  try {
    const programs = await compilePrograms(workspace)
    const tool = { workspace, program: programs.load, diskBytes: DISK_BYTES }
    const build = { name: 'chunknbd', main: join(REPOSITORY, 'dist/cli/main.js') }
    const { kinds } = await findServers(workspace, programs, [build], ['chunknbd'])
    for (const kind of kinds) {
      await RunningServer.prepare(workspace, kind, DISK_BYTES)
      for (const way of WAYS) await measure(tool, kind, way, options)
    }
  } finally {
    workspace.remove()
  }
}

async function measure(
  tool: LoadTool,
  kind: ServerKind,
  way: (typeof WAYS)[number],
  options: Options,
): Promise<void> {
  const port = await freePort()
  const listen = ['--listen', `nbd://127.0.0.1:${port}`, ...way.arguments]
  const command: ServerKind['command'] = (...args) => [...kind.command(...args), ...listen]
  const server = await RunningServer.start(tool.workspace, { ...kind, command }, DISK_BYTES, false)
  const target = { host: '127.0.0.1', port }
  const crowds = { target, exportName: kind.exportName, byteMs: BYTE_MS, comesBack: way.comesBack }
  const ratios = new Map<Workload, Figures[]>()
  let memory = { before: 0, peak: 0, size: 0 }
  try {
    await fillDisk(tool, server)
    // What does not count: code is compiled, and the kernel holds the data.
    await visitAll(tool, server, options)
    for (let round = 0; round < options.rounds; round++) {
      resetMemoryPeak(server.pid)
      const quiet = await visitAll(tool, server, options)
      const before = memoryPeakBytes(server.pid)
      const crowd = new HostileCrowd(crowds)
      await gather(crowd, options)
      const loud = await visitAll(tool, server, options)
      const peak = memoryPeakBytes(server.pid)
      if (peak > memory.peak) memory = { before, peak, size: crowd.size }
      crowd.close()
      for (const [index, workload] of options.workloads.entries()) {
        const rate = loud[index].rate / quiet[index].rate
        const cpu = loud[index].cpu / quiet[index].cpu
        ratios.set(workload, [...(ratios.get(workload) ?? []), { rate, cpu }])
      }
      await server.settle(true)
    }
  } finally {
    await server.stop()
  }
  console.log(`${kind.title}, ${way.title}: ${memory.size} connections at the end`)
  for (const [workload, values] of ratios) {
    const tell = (of: (figures: Figures) => number): string => {
      const all = values.map((each) => of(each).toFixed(2))
      return `${median(values.map(of))?.toFixed(2)} (${all.join(', ')})`
    }
    const rate = tell((each) => each.rate)
    const cpu = tell((each) => each.cpu)
    console.log(`  ${workload.title}: throughput ${rate}, CPU for a request ${cpu}`)
  }
  const mebibytes = (bytes: number): string => `${Math.round(bytes / 2 ** 20)} MiB`
  console.log(
    `  peak memory: ${mebibytes(memory.before)}, with the crowd ${mebibytes(memory.peak)}`,
  )
}

async function gather(crowd: HostileCrowd, { silent, halfway }: Options): Promise<void> {
  await crowd.add(HostileKind.SILENT, silent)
  await crowd.add(HostileKind.HALFWAY, halfway)
  await crowd.add(HostileKind.NEVER_READING, 1)
  await crowd.add(HostileKind.DRIBBLING, 1)
}

/** @returns medians of some visits, for each workload */
async function visitAll(
  tool: LoadTool,
  server: RunningServer,
  { workloads, visits, seconds }: Options,
): Promise<Figures[]> {
  const figures: Figures[] = []
  for (const workload of workloads) {
    const [rates, costs]: [number[], number[]] = [[], []]
    for (let seed = 1; seed <= visits; seed++) {
      const visit = await loadVisit(tool, server, workload, seconds, seed)
      rates.push(visit.operationsPerSecond)
      costs.push(visit.cpuPerOperation ?? 0)
      await server.settle(workload.readPercent < 100)
    }
    figures.push({ rate: median(rates) ?? 0, cpu: median(costs) ?? 0 })
  }
  return figures
}

function freePort(): Promise<number> {
  return new Promise((resolve, reject) => {
    const probe = net.createServer().once('error', reject)
    probe.listen(0, '127.0.0.1', () => {
      const { port } = probe.address() as net.AddressInfo
      probe.close(() => resolve(port))
    })
  })
}

function readOptions(): Options | null {
  const number = (value: string): number => {
    if (/^\d+(\.\d+)?$/.test(value) && Number(value) > 0) return Number(value)
    throw new Error(`"${value}" is no number above 0`)
  }
  const { values } = parseArgs({
    options: {
      rounds: { type: 'string', default: '3' },
      visits: { type: 'string', default: '3' },
      seconds: { type: 'string', default: '1' },
      silent: { type: 'string', default: '10000' },
      halfway: { type: 'string', default: '1000' },
      only: { type: 'string', multiple: true, default: USUAL },
      'no-build': { type: 'boolean', default: false },
      help: { type: 'boolean', default: false },
    },
  })
  if (values.help) return null
  // "read-4k-qd32" is also how "read-4k-qd32x4" begins.
  const isWanted = ({ name }: Workload): boolean => values.only.some((each) => name.endsWith(each))
  const workloads = selectWorkloads(values.only).filter(
    (each) => each.client === 'load' && !each.isCold && isWanted(each),
  )
  if (workloads.length === 0) throw new Error('--only: no such workload')
  const [silent, halfway] = [number(values.silent), number(values.halfway)]
  const room = firstReserved() - OWN_DESCRIPTORS
  if (silent + halfway > room) {
    throw new Error(`"ulimit -n" allows ${room} connections: give less with --silent`)
  }
  const [rounds, visits, seconds] = [values.rounds, values.visits, values.seconds].map(number)
  return { rounds, visits, seconds, silent, halfway, workloads, build: !values['no-build'] }
}

try {
  const options = readOptions()
  if (options === null) console.log(HELP)
  else await main(options)
} catch (error) {
  console.error(`bench:hostile: ${(error as Error).message}`)
  process.exitCode = 1
}
