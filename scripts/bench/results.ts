/**
 * What a run measured, as it is written to --json, and its summary. Holds every visit of every
 * round, so that tables, charts and the baseline can be made from a file of an earlier run.
 */
import type { Environment } from './environment.ts'
import { median, medianRatio } from './statistics.ts'

export interface Latency {
  readonly p50: number
  readonly p99: number
  readonly p999: number
}

/** One workload at one server in one round. null: nobody can tell, for this kind of client. */
export interface Visit {
  readonly operationsPerSecond: number
  /** Of the server and all its threads and children, microseconds. */
  readonly cpuPerOperation: number | null
  readonly memoryPeakBytes: number | null
  /** Microseconds. */
  readonly latency: Latency | null
}

export interface Row {
  /** Name of the workload. */
  readonly name: string
  readonly title: string
  readonly operationBytes: number
  /** Name of the server which the ratios refer to; null if that one was not measured. */
  readonly reference: string | null
  /** For each server one entry a round: null where the visit failed. */
  readonly visits: Readonly<Record<string, readonly (Visit | null)[]>>
}

export interface ServerDescription {
  readonly name: string
  readonly title: string
  readonly version: string
  /** This repository's, in one of its variants. */
  readonly isOurs: boolean
}

/** The size of a run; ratios of different forms are not comparable. */
export type FormName = 'full' | 'quick'

export interface Results {
  readonly form: FormName
  /** At most: see countRounds. */
  readonly rounds: number
  readonly seconds: number
  readonly diskBytes: number
  readonly environment: Environment
  readonly servers: readonly ServerDescription[]
  readonly rows: readonly Row[]
  /** What was left out, and why: one sentence each. */
  readonly skipped: readonly string[]
  /** What went wrong: one sentence each. */
  readonly failures: readonly string[]
}

/** The medians of a server's visits, and their ratios to the reference in the same rounds. */
export interface Summary {
  readonly operationsPerSecond: number
  readonly ratio: number | null
  readonly cpuPerOperation: number | null
  readonly cpuRatio: number | null
  readonly memoryPeakBytes: number | null
  readonly latency: Latency | null
  /** Of the 99th percentile of latency. */
  readonly latencyRatio: number | null
}

/** @returns null if the server was not measured, or every visit to it failed */
export function summarize(row: Row, server: string): Summary | null {
  const visits = row.visits[server] ?? []
  const references = row.reference === null ? [] : (row.visits[row.reference] ?? [])
  const ratio = (pick: Pick): number | null => medianRatio(visits.map(pick), references.map(pick))
  const operationsPerSecond = medianOf(visits, speed)
  if (operationsPerSecond === null) return null
  return {
    operationsPerSecond,
    ratio: ratio(speed),
    cpuPerOperation: medianOf(visits, cpu),
    cpuRatio: ratio(cpu),
    memoryPeakBytes: medianOf(visits, (visit) => visit?.memoryPeakBytes ?? null),
    latency: medianLatency(visits),
    latencyRatio: ratio((visit) => visit?.latency?.p99 ?? null),
  }
}

export function countRounds(row: Row): number {
  return Math.max(0, ...Object.values(row.visits).map((visits) => visits.length))
}

type Pick = (visit: Visit | null) => number | null

const speed: Pick = (visit) => visit?.operationsPerSecond ?? null
const cpu: Pick = (visit) => visit?.cpuPerOperation ?? null

function medianLatency(visits: readonly (Visit | null)[]): Latency | null {
  const p50 = medianOf(visits, (visit) => visit?.latency?.p50 ?? null)
  const p99 = medianOf(visits, (visit) => visit?.latency?.p99 ?? null)
  const p999 = medianOf(visits, (visit) => visit?.latency?.p999 ?? null)
  return p50 === null || p99 === null || p999 === null ? null : { p50, p99, p999 }
}

function medianOf(visits: readonly (Visit | null)[], pick: Pick): number | null {
  return median(visits.map(pick).filter((value) => value !== null))
}
