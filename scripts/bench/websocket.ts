/**
 * node --import tsx scripts/bench/websocket.ts [ROUNDS [SECONDS]]
 *
 * What WebSockets cost, and what bufferutil gives back: fio over a unix socket, through
 * `chunknbd relay` and a WebSocket, and the same without bufferutil (WS_NO_BUFFER_UTIL=1) on both
 * sides. All in one run, in turn, on disks in memory; the figures are ratios to the unix socket,
 * medians of the rounds. Needs fio, and `npm run build` before. Prints a table in Markdown.
 */
import { type ChildProcess, execFileSync, spawn } from 'node:child_process'
import { mkdtempSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { createInterface } from 'node:readline'
import { cpuSeconds } from './process-usage.ts'
import { median, medianRatio } from './statistics.ts'

const PROGRAM = join(import.meta.dirname, '../../dist/cli/main.js')
const DISK = '256M'

const WORKLOADS = [
  { title: 'read 256 KiB, depth 16', rw: 'randread', bs: '256k', iodepth: 16 },
  { title: 'write 256 KiB, depth 16', rw: 'randwrite', bs: '256k', iodepth: 16 },
  { title: 'read 4 KiB, depth 32', rw: 'randread', bs: '4k', iodepth: 32 },
  { title: 'write 4 KiB, depth 32', rw: 'randwrite', bs: '4k', iodepth: 32 },
] as const

type Workload = (typeof WORKLOADS)[number]

/** One way from fio to a disk. */
interface Way {
  readonly name: string
  readonly uri: string
  readonly pids: readonly number[]
}

interface Figures {
  /** Bytes a second. */
  readonly speed: number
  /** Processor seconds of our processes for a GiB. */
  readonly cost: number
}

async function main(rounds: number, seconds: number): Promise<void> {
  const directory = mkdtempSync(join(tmpdir(), 'chunknbd-bench-'))
  const children: ChildProcess[] = []
  try {
    const ways = await openWays(directory, children)
    for (const { uri } of ways) fio(directory, uri, ['--rw=write', '--bs=1m', '--iodepth=4'])
    const lines = WORKLOADS.map((workload) => {
      const results = ways.map((): Figures[] => [])
      for (let round = 0; round < rounds; round++) {
        for (const [index, way] of ways.entries()) {
          results[index].push(measure(directory, way, workload, seconds))
        }
      }
      return row(workload.title, results)
    })
    console.log(HEAD + lines.join('\n'))
  } finally {
    for (const child of children) child.kill('SIGKILL')
    rmSync(directory, { recursive: true })
  }
}

const COLUMNS = ['', 'unix socket', 'WebSocket', 'without bufferutil', 'gain', 'processor time']
const HEAD = `| ${COLUMNS.join(' | ')} |\n|${' --- |'.repeat(COLUMNS.length)}\n`

function row(title: string, [plain, masked, slow]: readonly Figures[][]): string {
  const speeds = [plain, masked, slow].map((each) => each.map(({ speed }) => speed))
  const costs = [plain, masked, slow].map((each) => each.map(({ cost }) => cost))
  const times = (values: readonly number[], references: readonly number[]): string =>
    `${(medianRatio(values, references) ?? 0).toFixed(2)}`
  const cells = [
    title,
    `${((median(speeds[0]) ?? 0) / 2 ** 20).toFixed(0)} MiB/s`,
    times(speeds[1], speeds[0]),
    times(speeds[2], speeds[0]),
    `x ${times(speeds[1], speeds[2])}`,
    `x ${times(costs[1], costs[2])}`,
  ]
  return `| ${cells.join(' | ')} |`
}

async function openWays(directory: string, children: ChildProcess[]): Promise<Way[]> {
  const start = async (args: readonly string[], env: NodeJS.ProcessEnv): Promise<Way> => {
    const child = spawn(process.execPath, [PROGRAM, ...args, '--log-level', 'warn'], {
      stdio: ['ignore', 'pipe', 'inherit'],
      env: { ...process.env, ...env },
    })
    children.push(child)
    for await (const uri of createInterface({ input: child.stdout })) {
      return { name: args[0], uri, pids: [child.pid ?? -1] }
    }
    throw new Error(`chunknbd ${args.join(' ')} does not start`)
  }
  const serve = (listen: string, env = {}): Promise<Way> =>
    start(['serve', '--memory', DISK, '--listen', listen], env)
  const relayed = async (name: string, env = {}): Promise<Way> => {
    const server = await serve('ws://127.0.0.1:0/', env)
    const socket = `nbd+unix:///?socket=${join(directory, name)}`
    const relay = await start(['relay', server.uri, '--listen', socket], env)
    return { name, uri: relay.uri, pids: [...server.pids, ...relay.pids] }
  }
  return [
    await serve(`nbd+unix:///?socket=${join(directory, 'plain')}`),
    await relayed('masked'),
    await relayed('slow', { WS_NO_BUFFER_UTIL: '1' }),
  ]
}

function measure(directory: string, way: Way, workload: Workload, seconds: number): Figures {
  const { rw, bs, iodepth } = workload
  const load = [`--rw=${rw}`, `--bs=${bs}`, `--iodepth=${iodepth}`]
  const before = cpuOf(way)
  const text = fio(directory, way.uri, [...load, '--time_based', `--runtime=${seconds}`])
  // Lines about connecting come first.
  const { jobs } = JSON.parse(text.slice(text.indexOf('{'))) as {
    jobs: [Record<'read' | 'write', Direction>]
  }
  const { io_bytes: bytes, bw_bytes: speed } = jobs[0][rw === 'randread' ? 'read' : 'write']
  return { speed, cost: ((cpuOf(way) - before) / bytes) * 2 ** 30 }
}

interface Direction {
  readonly io_bytes: number
  readonly bw_bytes: number
}

function cpuOf({ pids }: Way): number {
  return pids.reduce((sum, pid) => sum + cpuSeconds(pid), 0)
}

function fio(directory: string, uri: string, options: readonly string[]): string {
  const fixed = ['--name=job', '--ioengine=nbd', `--size=${DISK}`, '--output-format=json']
  const args = [...fixed, `--uri=${uri}`, '--randrepeat=1', ...options]
  return execFileSync('fio', args, { cwd: directory, encoding: 'utf8' })
}

await main(Number(process.argv[2] ?? 5), Number(process.argv[3] ?? 2))
