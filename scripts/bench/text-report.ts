/** Results for the terminal. */
import { type Comparison, REGRESSION_FACTOR } from './baseline.ts'
import { formatBytes, formatLatency, formatNumber, formatRatio, formatSpeed } from './format.ts'
import { countRounds, type Row, type Summary, summarize } from './results.ts'

const HEADER = ['', 'speed', 'ratio', 'CPU/request', 'ratio', 'p50 / p99 / p99.9', 'peak memory']

/** One workload: a line for each server. */
export function describeRow(row: Row): string {
  const cells = Object.keys(row.visits).map((server) => {
    const summary = summarize(row, server)
    return [server, ...(summary === null ? ['failed'] : summaryCells(row, summary))]
  })
  const reference = row.reference === null ? '' : `; ratios to ${row.reference}`
  return [
    `${row.title} (rounds: ${countRounds(row)}${reference})`,
    ...alignColumns([HEADER, ...cells]),
  ].join('\n')
}

export function describeComparison(comparisons: readonly Comparison[]): string {
  if (comparisons.length === 0) {
    return 'Nothing to compare: the baseline has no row of this form, workload and server.'
  }
  const lines = comparisons.map(({ title, server, ratio, committed, isRegression }) => [
    isRegression ? 'REGRESSION' : 'ok',
    `${title}, ${server}`,
    `${formatRatio(ratio)}, committed ${formatRatio(committed)}`,
  ])
  const rule = `Regression: below ${REGRESSION_FACTOR} of the committed ratio.`
  return [rule, ...alignColumns(lines)].join('\n')
}

function summaryCells(row: Row, summary: Summary): string[] {
  const { cpuPerOperation: cpu, latency } = summary
  return [
    formatSpeed(summary.operationsPerSecond, row.operationBytes),
    formatRatio(summary.ratio),
    cpu === null ? '' : `${formatNumber(cpu)} µs`,
    cpu === null ? '' : formatRatio(summary.cpuRatio),
    latency === null ? '' : `${formatLatency(latency)} µs`,
    summary.memoryPeakBytes === null ? '' : formatBytes(summary.memoryPeakBytes),
  ]
}

/** The first column to the left, the others to the right. */
function alignColumns(rows: readonly (readonly string[])[]): string[] {
  const widths = columnWidths(rows)
  return rows.map((cells) => {
    const padded = cells.map((cell, column) =>
      column === 0 ? cell.padEnd(widths[column]) : cell.padStart(widths[column]),
    )
    return `  ${padded.join('  ')}`.trimEnd()
  })
}

export function columnWidths(rows: readonly (readonly string[])[]): number[] {
  const widths: number[] = []
  for (const cells of rows) {
    for (const [column, cell] of cells.entries()) {
      widths[column] = Math.max(widths[column] ?? 0, cell.length)
    }
  }
  return widths
}
