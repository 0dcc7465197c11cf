import { writeFileSync } from 'node:fs'
import { join } from 'node:path'
import test from 'ava'
import { barChart } from '../../scripts/bench/bar-chart.ts'
import { drawCharts } from '../../scripts/bench/charts.ts'
import { formatNumber, formatSpeed } from '../../scripts/bench/format.ts'
import { describeResults, replaceResults, table } from '../../scripts/bench/markdown.ts'
import { describeComparison, describeRow } from '../../scripts/bench/text-report.ts'
import { tempDirectory } from '../helpers/temp.ts'
import { attempt } from '../helpers/tools.ts'
import { results, row, visits } from './bench-results.ts'

const REPOSITORY = join(import.meta.dirname, '../..')
const COLD = row({
  name: 'cold',
  title: 'Cold read',
  reference: 'file',
  visits: { file: visits(100), chunknbd: visits(90) },
})

test('numbers have about three digits', (t) => {
  const shown = [0.1234, 2.345, 12.34, 123.4, 12_345.6, null].map(formatNumber)
  t.deepEqual(shown, ['0.12', '2.35', '12.3', '123', '12,346', '–'])
})

test('small blocks are counted, large ones weighed', (t) => {
  t.is(formatSpeed(123_456, 4096), '123 k/s')
  t.is(formatSpeed(4000, 256 << 10), '1,000 MiB/s')
})

test('a row for the terminal names the reference and lines up', (t) => {
  t.deepEqual(
    describeRow(row({ visits: { nbdkit: visits(1000), chunknbd: visits(null) } })),
    [
      'Random read (rounds: 1; ratios to nbdkit)',
      '               speed  ratio  CPU/request  ratio      p50 / p99 / p99.9  peak memory',
      '  nbdkit    1.00 k/s  1.00×     1,000 µs  1.00×  10.0 / 20.0 / 30.0 µs     64.0 MiB',
      '  chunknbd    failed',
    ].join('\n'),
  )
})

test('a regression is told apart', (t) => {
  const comparison = { title: 'Read', server: 'chunknbd', ratio: 1, committed: 2 }
  const text = describeComparison([
    { ...comparison, isRegression: true },
    { ...comparison, isRegression: false },
  ])
  t.regex(text, /^ {2}REGRESSION +Read, chunknbd +1\.00×, committed 2\.00×$/m)
  t.regex(text, /^ {2}ok /m)
})

test('a comparison of nothing says so', (t) => {
  t.regex(describeComparison([]), /Nothing to compare/)
})

test('a table is aligned', (t) => {
  const expected = ['|     | b   |', '| --- | --- |', '| aaa | 1   |', '| aa  | 222 |']
  const rows = [
    ['aaa', '1'],
    ['aa', '222'],
  ]
  t.is(table(['', 'b'], rows), expected.join('\n'))
})

test('the page keeps its text and gets new results', (t) => {
  const begin = '<!-- results: written by npm run bench, do not edit -->'
  const end = '<!-- end of results -->'
  const page = `before\n\n${begin}\n\nold\n\n${end}\n\nafter\n`
  const replaced = replaceResults(page, 'new')
  t.is(replaced, `before\n\n${begin}\n\nnew\n\n${end}\n\nafter\n`)
  t.is(replaceResults(replaced, 'old'), page)
})

test('a page without a place for results is refused', (t) => {
  t.throws(() => replaceResults('text\n', 'new'), { message: /needs a line/ })
})

test('results are a page as the formatter wants it', async (t) => {
  const measured = results([row(), COLD], { skipped: ['fio is not installed.'] })
  const text = describeResults(measured, drawCharts(measured))
  const file = join(tempDirectory(t), 'page.md')
  writeFileSync(file, `${text}\n`)
  const prettier = join(REPOSITORY, 'node_modules/prettier/bin/prettier.cjs')
  const config = join(REPOSITORY, '.prettierrc.json')
  const { stdout } = await attempt(t, process.execPath, [prettier, '--config', config, file])
  t.is(stdout, `${text}\n`)
})

test('results show ratios, the machine, what was left out; cold rows apart', (t) => {
  const measured = results([row(), COLD], { skipped: ['fio is not installed.'] })
  const text = describeResults(measured, drawCharts(measured))
  const [warm, cold] = text.split('### Past the caches')
  t.regex(warm, /\| Random read \| 1\.00× \(1\.00 k\/s\) \| \*\*2\.50× \(2\.50 k\/s\)\*\* \|/)
  t.regex(warm, /Abacus, 2 cores of a virtual machine, 24 GiB of memory, ext4, Linux 6\.1/)
  t.regex(warm, /nbdkit file 1\.32\.5, chunknbd 0\.1\.0\./)
  t.regex(warm, /!\[Throughput[^\]]*\]\(performance\/throughput\.svg\)/)
  t.false(warm.includes('fio on a bare file'))
  t.regex(cold, /\| Cold read \| 1\.00× [^|]+\| \*\*0\.90× /)
  t.regex(cold, /### Not measured\n\n- fio is not installed\./)
})

test('without the reference there are no charts', (t) => {
  t.deepEqual(drawCharts(results([COLD])), [])
})

interface Bar {
  readonly width: number
  readonly text: string
}

function bars(svg: string): Bar[] {
  const pattern = /<rect x="250" [^>]*?width="([\d.]+)"[^>]*\/><text class="value"[^>]*>([^<]*)</g
  return [...svg.matchAll(pattern)].map(([, width, text]) => ({ width: Number(width), text }))
}

test('bars are as long as their values, and a missing value has none', (t) => {
  const groups = [
    { label: 'one', values: [1, 3] },
    { label: 'two', values: [null, 2] },
  ]
  const drawn = bars(barChart({ title: 'T', series: ['a', 'b'], groups, mark: 1 }))
  t.deepEqual(
    drawn.map(({ text }) => text),
    ['1.00', '3.00', '2.00'],
  )
  t.true(Math.abs(drawn[1].width - 3 * drawn[0].width) < 0.3)
  t.true(Math.abs(drawn[2].width - 2 * drawn[0].width) < 0.3)
})

test('a bar that would dwarf the others is cut and says so', (t) => {
  const groups = [{ label: 'one', values: [100, 8] }]
  const [long, short] = bars(barChart({ title: 'T', series: ['a', 'b'], groups, mark: 1 }))
  t.is(long.width, short.width)
  t.is(long.text, '100 →')
  t.is(short.text, '8.00')
})

test('text in a chart is escaped, and the chart follows light and dark', (t) => {
  const svg = barChart({ title: 'a < b & c', series: ['<x>'], groups: [], mark: 1 })
  t.true(svg.includes('a &lt; b &amp; c'))
  t.true(svg.includes('&lt;x&gt;'))
  t.regex(svg, /prefers-color-scheme: light/)
  t.regex(svg, /prefers-color-scheme: dark/)
})
