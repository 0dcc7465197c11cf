/**
 * A chart of horizontal bars as SVG: a group of bars for each label, a bar for each series. Its
 * colours follow the reader's light or dark scheme, so it carries no background.
 */
import { formatNumber } from './format.ts'

export interface BarChart {
  readonly title: string
  readonly series: readonly string[]
  /** The values stand in the order of the series; null: no bar. */
  readonly groups: readonly {
    readonly label: string
    readonly values: readonly (number | null)[]
  }[]
  /** A line is drawn at this value. */
  readonly mark: number
}

/** Told apart by people who see no red or green too (Okabe and Ito), on white and on black. */
const COLOURS = ['#8c8c8c', '#0072b2', '#e69f00', '#56b4e9', '#d55e00', '#009e73', '#cc79a7']

/** A bar longer than so many times the mark is cut, and has an arrow: the rest stays legible. */
const CUT_FACTOR = 8

const WIDTH = 860
const LABEL_WIDTH = 250
const VALUE_WIDTH = 60
const PLOT_WIDTH = WIDTH - LABEL_WIDTH - VALUE_WIDTH
const TITLE_HEIGHT = 34
const LEGEND_HEIGHT = 30
const BAR_HEIGHT = 11
const BAR_STEP = 13
const GROUP_GAP = 12
/** Of the legend: a swatch, a gap, and about so much for each letter. */
const SWATCH_WIDTH = 30
const LETTER_WIDTH = 7.2

/** The grey is legible on white and on black, for viewers that know no schemes. */
const STYLE = `
  text { font: 12px system-ui, sans-serif; fill: #7a828c; }
  .title { font-size: 14px; font-weight: 600; }
  .value { font-size: 10px; }
  .mark { stroke: #7a828c; stroke-dasharray: 3 3; }
  @media (prefers-color-scheme: light) { text { fill: #24292f; } }
  @media (prefers-color-scheme: dark) { text { fill: #e6edf3; } }
`

export function barChart(chart: BarChart): string {
  const groupHeight = chart.series.length * BAR_STEP + GROUP_GAP
  const top = TITLE_HEIGHT + LEGEND_HEIGHT
  const height = top + chart.groups.length * groupHeight
  const largest = Math.max(chart.mark, ...chart.groups.flatMap(({ values }) => values.map(Number)))
  const scale = PLOT_WIDTH / Math.min(largest, chart.mark * CUT_FACTOR)
  const groups = chart.groups.map((group, index) =>
    drawGroup(group, top + index * groupHeight, scale),
  )
  const markX = round(LABEL_WIDTH + chart.mark * scale)
  return [
    `<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 ${WIDTH} ${height}" role="img">`,
    `<title>${escape(chart.title)}</title>`,
    `<style>${STYLE}</style>`,
    `<text class="title" x="0" y="18">${escape(chart.title)}</text>`,
    ...drawLegend(chart.series),
    `<line class="mark" x1="${markX}" x2="${markX}" y1="${top - 6}" y2="${height - GROUP_GAP}"/>`,
    ...groups.flat(),
    '</svg>',
    '',
  ].join('\n')
}

function drawLegend(series: readonly string[]): string[] {
  let x = 0
  return series.map((name, index) => {
    const y = TITLE_HEIGHT
    const swatch = `<rect x="${round(x)}" y="${y}" width="12" height="12" fill="${colour(index)}"/>`
    const text = `<text x="${round(x + 17)}" y="${y + 10}">${escape(name)}</text>`
    x += SWATCH_WIDTH + name.length * LETTER_WIDTH
    return swatch + text
  })
}

function drawGroup(group: BarChart['groups'][number], top: number, scale: number): string[] {
  const middle = top + (group.values.length * BAR_STEP) / 2
  const label = `<text x="0" y="${round(middle + 4)}">${escape(group.label)}</text>`
  const bars = group.values.flatMap((value, index) => {
    if (value === null) return []
    const y = top + index * BAR_STEP
    const width = round(Math.min(value * scale, PLOT_WIDTH))
    const text = formatNumber(value) + (value * scale > PLOT_WIDTH ? ' →' : '')
    const size = `width="${width}" height="${BAR_HEIGHT}"`
    const textX = round(LABEL_WIDTH + width + 4)
    return [
      `<rect x="${LABEL_WIDTH}" y="${y}" ${size} fill="${colour(index)}"/>` +
        `<text class="value" x="${textX}" y="${y + 9}">${text}</text>`,
    ]
  })
  return [label, ...bars]
}

function colour(index: number): string {
  return COLOURS[index % COLOURS.length]
}

function round(value: number): number {
  return Math.round(value * 10) / 10
}

function escape(text: string): string {
  return text.replaceAll('&', '&amp;').replaceAll('<', '&lt;').replaceAll('>', '&gt;')
}
