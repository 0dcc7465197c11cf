/** A visit by our own load generator (load.c), and the filling of a disk with it. */
import { createInterface } from 'node:readline'
import { cpuSeconds, memoryPeakBytes } from './process-usage.ts'
import type { Latency, Visit } from './results.ts'
import type { RunningServer } from './running-server.ts'
import type { Workload } from './workloads.ts'
import { keepTail, type Workspace } from './workspace.ts'

const FILL_BLOCK_BYTES = 256 << 10
const PAGE_BYTES = 4096

/** What the generator prints (see the head of load.c). */
interface LoadResult extends Latency {
  readonly operations: number
  readonly errors: number
  readonly seconds: number
}

/** What the visits of a run have in common. */
export interface LoadTool {
  readonly workspace: Workspace
  /** Path of the generator. */
  readonly program: string
  readonly diskBytes: number
}

/** @param seed the same for all servers of a round, so that they get the same offsets */
export function loadVisit(
  tool: LoadTool,
  server: RunningServer,
  workload: Workload,
  seconds: number,
  seed: number,
): Promise<Visit> {
  const args = [
    ['-r', workload.readPercent, '-b', workload.operationBytes],
    ['-d', workload.depth, '-c', workload.connections],
    ['-t', seconds, '-x', seed, '-v', ...(workload.isSequential ? ['-q'] : [])],
  ]
  return runLoad(tool, server, args.flat().map(String))
}

/** Writes the whole disk once: the same bytes for everyone, each page with its tag. */
export async function fillDisk(tool: LoadTool, server: RunningServer): Promise<void> {
  const blocks = Math.floor(tool.diskBytes / FILL_BLOCK_BYTES)
  const block = ['-q', '-b', String(FILL_BLOCK_BYTES), '-d', '8']
  await runLoad(tool, server, ['-r', '0', ...block, '-n', String(blocks)])
  await server.settle(true)
}

/**
 * Reads every page once, so that the kernel holds all of them: some machines take back within half
 * a minute what nobody reads. Not in sequence: that brings more at a time than a client asks for.
 */
export async function touchDisk(tool: LoadTool, server: RunningServer): Promise<void> {
  const pages = Math.floor(tool.diskBytes / PAGE_BYTES)
  await runLoad(tool, server, ['-p', '-d', '32', '-n', String(pages)])
}

/** The server is looked at between the handshake and the disconnection, so neither counts. */
async function runLoad(
  { workspace, program, diskBytes }: LoadTool,
  server: RunningServer,
  args: readonly string[],
): Promise<Visit> {
  const target = ['-s', server.socket, '-e', server.kind.exportName, '-l', String(diskBytes)]
  const child = workspace.spawn(program, ['-w', ...target, ...args])
  const stderr = keepTail(child)
  const status = new Promise<number | null>((resolve, reject) => {
    child.once('error', reject)
    child.once('close', resolve)
  })
  let cpuBefore = 0
  let visit: Visit | null = null
  if (child.stdout === null) throw new Error('the load generator has no output')
  for await (const line of createInterface({ input: child.stdout })) {
    if (line === 'ready') {
      cpuBefore = cpuSeconds(server.pid)
      child.stdin?.write('\n')
      continue
    }
    const cpu = cpuSeconds(server.pid) - cpuBefore
    visit = toVisit(JSON.parse(line) as LoadResult, cpu, memoryPeakBytes(server.pid))
    child.stdin?.end()
  }
  if ((await status) !== 0 || visit === null) throw new Error(`load: ${stderr().trim()}`)
  return visit
}

function toVisit(result: LoadResult, cpu: number, memoryPeak: number): Visit {
  const { operations, errors, seconds, p50, p99, p999 } = result
  if (errors > 0) throw new Error(`load: ${errors} of ${operations} requests failed`)
  return {
    operationsPerSecond: operations / seconds,
    cpuPerOperation: (cpu * 1e6) / operations,
    memoryPeakBytes: memoryPeak,
    latency: { p50, p99, p999 },
  }
}
