/**
 * Visits by clients that people use: fio's nbd engine, and nbdcopy in both directions. Also fio
 * on a bare file, the reference for what goes past the caches.
 */
import { closeSync, fsyncSync, openSync, writeSync } from 'node:fs'
import { randomFillSync } from 'node:crypto'
import { cpuSeconds, watchMemoryPeak } from './process-usage.ts'
import type { Visit } from './results.ts'
import type { RunningServer } from './running-server.ts'
import type { Workload } from './workloads.ts'
import type { Workspace } from './workspace.ts'

/** Some servers flush when a client leaves, others do not: so all are asked to. */
const TO_SERVER = ['--flush']

/** What nbdcopy asks for at a time by default. */
const COPY_REQUEST_BYTES = 256 << 10
const FILE_PIECE_BYTES = 8 << 20

/** One direction in fio's report. */
interface FioDirection {
  readonly iops: number
  readonly total_ios: number
  readonly clat_ns: { readonly percentile?: Readonly<Record<string, number>> }
}

interface FioReport {
  readonly jobs: readonly {
    readonly error: number
    readonly read: FioDirection
    readonly write: FioDirection
  }[]
}

export async function fioVisit(
  workspace: Workspace,
  server: RunningServer,
  workload: Workload,
  seconds: number,
  seed: number,
): Promise<Visit> {
  const engine = ['--ioengine=nbd', `--uri=${server.uri}`]
  const { value, ...usage } = await withUsage(server, () =>
    runFio(workspace, workload, seconds, seed, engine),
  )
  const { operations, visit } = value
  const { cpuMicroseconds, memoryPeakBytes } = usage
  return { ...visit, cpuPerOperation: cpuMicroseconds / operations, memoryPeakBytes }
}

/** The file itself, through io_uring with O_DIRECT: what the disk and the kernel can do. */
export async function fioFileVisit(
  workspace: Workspace,
  file: string,
  workload: Workload,
  seconds: number,
  seed: number,
): Promise<Visit> {
  const engine = ['--ioengine=io_uring', '--direct=1', `--filename=${file}`]
  return (await runFio(workspace, workload, seconds, seed, engine)).visit
}

/** @param file what is copied to the server; as large as its disk */
export async function copyVisit(
  workspace: Workspace,
  server: RunningServer,
  workload: Workload,
  file: string,
  diskBytes: number,
): Promise<Visit> {
  const isOut = workload.readPercent === 100
  const operations = diskBytes / COPY_REQUEST_BYTES
  const { value: seconds, ...usage } = await withUsage(server, async () => {
    const start = performance.now()
    await workspace.run('nbdcopy', isOut ? [server.uri, 'null:'] : [...TO_SERVER, file, server.uri])
    return (performance.now() - start) / 1000
  })
  return {
    operationsPerSecond: operations / seconds,
    cpuPerOperation: usage.cpuMicroseconds / operations,
    memoryPeakBytes: usage.memoryPeakBytes,
    latency: null,
  }
}

interface Usage<T> {
  readonly value: T
  readonly cpuMicroseconds: number
  readonly memoryPeakBytes: number
}

/** Connecting and disconnecting count, unlike with our own load generator: little of the whole. */
async function withUsage<T>(server: RunningServer, use: () => Promise<T>): Promise<Usage<T>> {
  const before = cpuSeconds(server.pid)
  const endWatch = watchMemoryPeak(server.pid)
  try {
    const value = await use()
    const cpuMicroseconds = (cpuSeconds(server.pid) - before) * 1e6
    return { value, cpuMicroseconds, memoryPeakBytes: endWatch() }
  } finally {
    endWatch()
  }
}

/** Random bytes, on disk and in the kernel's memory. */
export function createRandomFile(file: string, bytes: number): void {
  const piece = Buffer.allocUnsafe(Math.min(FILE_PIECE_BYTES, bytes))
  const fd = openSync(file, 'wx')
  for (let at = 0; at < bytes; at += piece.length) {
    writeSync(fd, randomFillSync(piece), 0, Math.min(piece.length, bytes - at))
  }
  fsyncSync(fd)
  closeSync(fd)
}

async function runFio(
  workspace: Workspace,
  workload: Workload,
  seconds: number,
  seed: number,
  engine: readonly string[],
): Promise<{ operations: number; visit: Visit }> {
  const isRead = workload.readPercent === 100
  const runtime = `--runtime=${Math.round(seconds * 1e6)}us`
  const report = await workspace.run('fio', [
    '--name=bench',
    '--thread',
    '--output-format=json',
    '--eta=never',
    ...engine,
    `--rw=${isRead ? 'randread' : 'randwrite'}`,
    `--bs=${workload.operationBytes}`,
    `--iodepth=${workload.depth}`,
    `--randseed=${seed}`,
    '--norandommap',
    '--time_based',
    runtime,
  ])
  const job = parseFioReport(report).jobs[0]
  if (job.error !== 0) throw new Error(`fio: error ${job.error}`)
  return describeFio(isRead ? job.read : job.write)
}

/** Warnings may stand before the JSON. */
export function parseFioReport(text: string): FioReport {
  return JSON.parse(text.slice(text.indexOf('{'))) as FioReport
}

function describeFio({ iops, total_ios: operations, clat_ns: times }: FioDirection): {
  operations: number
  visit: Visit
} {
  const microseconds = (percent: string): number => (times.percentile?.[percent] ?? 0) / 1000
  const latency = {
    p50: microseconds('50.000000'),
    p99: microseconds('99.000000'),
    p999: microseconds('99.900000'),
  }
  const unknown = { cpuPerOperation: null, memoryPeakBytes: null }
  return { operations, visit: { operationsPerSecond: iops, latency, ...unknown } }
}
