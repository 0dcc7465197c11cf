/** Figures as people read them. A figure that is not known is a dash. */
import type { Latency } from './results.ts'

const DASH = '–'
const MIB = 1 << 20

/** Three significant digits are more than a run is good for: `0.35`, `2.31`, `12.3`, `123`. */
export function formatNumber(value: number | null): string {
  if (value === null || !Number.isFinite(value)) return DASH
  if (value >= 100) return Math.round(value).toLocaleString('en')
  return value.toFixed(value >= 10 ? 1 : 2)
}

export function formatRatio(ratio: number | null): string {
  return ratio === null ? DASH : `${formatNumber(ratio)}×`
}

/** Requests a second of small blocks, MiB a second of large ones. */
export function formatSpeed(operationsPerSecond: number, operationBytes: number): string {
  if (operationBytes < MIB / 16) return `${formatNumber(operationsPerSecond / 1000)} k/s`
  return `${formatNumber((operationsPerSecond * operationBytes) / MIB)} MiB/s`
}

export function formatBytes(bytes: number | null): string {
  return bytes === null ? DASH : `${formatNumber(bytes / MIB)} MiB`
}

/** The median, the 99th and the 99.9th percentile. */
export function formatLatency(latency: Latency | null): string {
  if (latency === null) return DASH
  return [latency.p50, latency.p99, latency.p999].map(formatNumber).join(' / ')
}
