/** The charts of a run: which figures are drawn, and under which names. */
import { barChart } from './bar-chart.ts'
import { type Results, type Summary, summarize } from './results.ts'

export interface ChartFile {
  readonly file: string
  readonly title: string
  readonly svg: string
}

interface Figure {
  readonly file: string
  readonly title: string
  readonly pick: (summary: Summary) => number | null
}

const FIGURES: readonly Figure[] = [
  {
    file: 'throughput.svg',
    title: 'Throughput, as a ratio to nbdkit file (longer is better)',
    pick: ({ ratio }) => ratio,
  },
  {
    file: 'cpu.svg',
    title: "The server's CPU time for a request, as a ratio to nbdkit file (shorter is better)",
    pick: ({ cpuRatio }) => cpuRatio,
  },
  {
    file: 'latency.svg',
    title: '99th percentile of latency, as a ratio to nbdkit file (shorter is better)',
    pick: ({ latencyRatio }) => latencyRatio,
  },
]

/** @returns none if nothing was compared with nbdkit */
export function drawCharts(results: Results): ChartFile[] {
  const rows = results.rows.filter(({ reference }) => reference === 'nbdkit')
  const servers = results.servers.filter(({ name }) => rows.some(({ visits }) => name in visits))
  if (rows.length === 0) return []
  return FIGURES.map(({ file, title, pick }) => {
    const groups = rows.flatMap((row) => {
      const values = servers.map(({ name }) => {
        const summary = summarize(row, name)
        return summary === null ? null : pick(summary)
      })
      return values.every((value) => value === null) ? [] : [{ label: row.title, values }]
    })
    const series = servers.map((server) => server.title)
    return { file, title, svg: barChart({ title, series, groups, mark: 1 }) }
  })
}
