/**
 * The results as a part of docs/performance.md. The text around that part is written by hand and
 * kept; charts are files of their own (bar-chart.ts), to which this refers.
 */
import type { ChartFile } from './charts.ts'
import { formatBytes, formatLatency, formatNumber, formatRatio, formatSpeed } from './format.ts'
import { type Results, type Row, type ServerDescription, type Summary } from './results.ts'
import { summarize } from './results.ts'
import { columnWidths } from './text-report.ts'

const BEGIN = '<!-- results: written by npm run bench, do not edit -->'
const END = '<!-- end of results -->'

/** @throws if the page has no place for results */
export function replaceResults(page: string, results: string): string {
  const begin = page.indexOf(BEGIN)
  const end = page.indexOf(END)
  if (begin < 0 || end < begin) {
    throw new Error(`the page needs a line '${BEGIN}' and, after it, a line '${END}'`)
  }
  return `${page.slice(0, begin + BEGIN.length)}\n\n${results}\n\n${page.slice(end)}`
}

/** @param charts whose files lie in a directory `performance` beside the page */
export function describeResults(results: Results, charts: readonly ChartFile[]): string {
  const warm = results.rows.filter(({ reference }) => reference !== 'file')
  const cold = results.rows.filter(({ reference }) => reference === 'file')
  const sections = [
    describeRun(results),
    ...charts.map(({ file, title }) => `![${title}](performance/${file})`),
    ...tables(results, warm),
  ]
  if (cold.length > 0) {
    sections.push('### Past the caches', COLD_TEXT, ...tables(results, cold))
  }
  const left = [...results.skipped, ...results.failures]
  if (left.length > 0) sections.push('### Not measured', bullets(left))
  return sections.join('\n\n')
}

const COLD_TEXT =
  'Read with O_DIRECT from the disk itself. Ratios are to fio with io_uring on a bare file of ' +
  'the same size, without any server.'

function describeRun(results: Results): string {
  const { environment, servers, rounds, seconds, diskBytes } = results
  const { isVirtual, cores, memoryBytes } = environment
  const versions = servers
    .filter(({ version }) => /^\d/.test(version))
    .map(({ title, version }) => `${title} ${version}`)
  const form = results.form === 'quick' ? 'npm run bench -- --quick' : 'npm run bench'
  return bullets([
    `Measured on ${environment.date} with \`${form}\`: ${rounds} rounds of ${seconds} s for each ` +
      `workload and server, disks of ${formatBytes(diskBytes)}, unix sockets.`,
    `${environment.processor}, ${cores} cores${isVirtual ? ' of a virtual machine' : ''}, ` +
      `${Math.round(memoryBytes / 2 ** 30)} GiB of memory, ${environment.fileSystem}, ` +
      `Linux ${environment.kernel}, Node.js ${environment.node}.`,
    `${versions.join(', ')}.`,
  ])
}

function tables(results: Results, rows: readonly Row[]): string[] {
  const servers = results.servers.filter(({ name }) => rows.some(({ visits }) => name in visits))
  return FIGURES.flatMap(({ title, cell }) => {
    const body = rows.map((row) => [
      row.title,
      ...servers.map((server) => tableCell(row, server, cell)),
    ])
    const known = body.some((cells) => cells.slice(1).some((text) => /\d/.test(text)))
    if (!known) return []
    return [`**${title}**`, table(['', ...servers.map((server) => server.title)], body)]
  })
}

type Cell = (summary: Summary, row: Row) => string

const FIGURES: readonly { readonly title: string; readonly cell: Cell }[] = [
  {
    title: 'Throughput: ratio, and median',
    cell: ({ ratio, operationsPerSecond }, { operationBytes }) =>
      `${formatRatio(ratio)} (${formatSpeed(operationsPerSecond, operationBytes)})`,
  },
  {
    title: "The server's CPU time for a request: ratio, and median in µs",
    cell: ({ cpuRatio, cpuPerOperation }) =>
      cpuPerOperation === null ? '' : `${formatRatio(cpuRatio)} (${formatNumber(cpuPerOperation)})`,
  },
  {
    title: 'Latency in µs: p50 / p99 / p99.9',
    cell: ({ latency }) => (latency === null ? '' : formatLatency(latency)),
  },
  {
    title: 'Peak of resident memory',
    cell: ({ memoryPeakBytes: bytes }) => (bytes === null ? '' : formatBytes(bytes)),
  },
]

function tableCell(row: Row, { name, isOurs }: ServerDescription, cell: Cell): string {
  const summary = summarize(row, name)
  if (summary === null) return name in row.visits ? 'failed' : ''
  const text = cell(summary, row)
  return isOurs && text !== '' ? `**${text}**` : text
}

/** Aligned as prettier does it. */
export function table(header: readonly string[], rows: readonly (readonly string[])[]): string {
  const widths = columnWidths([header, ...rows]).map((width) => Math.max(3, width))
  const line = (cells: readonly string[]): string =>
    `| ${cells.map((cell, column) => cell.padEnd(widths[column])).join(' | ')} |`
  const rule = `| ${widths.map((width) => '-'.repeat(width)).join(' | ')} |`
  return [line(header), rule, ...rows.map(line)].join('\n')
}

function bullets(lines: readonly string[]): string {
  return lines.map((text) => `- ${text}`).join('\n')
}
