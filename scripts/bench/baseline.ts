/**
 * The committed ratios of our server to the reference, one set for each form of a run, and the
 * comparison with them. Absolute figures are not kept: they belong to one machine and one hour.
 */
import { type FormName, type Results, type Row, summarize } from './results.ts'

/** A ratio below this share of the committed one is a regression: less is the noise of a run. */
export const REGRESSION_FACTOR = 0.8

/** Of each server, by its name. */
type Ratios = Readonly<Record<string, number>>

interface BaselineRow {
  readonly reference: string
  readonly ratios: Ratios
}

export type Baseline = {
  readonly [form in FormName]?: Readonly<Record<string, BaselineRow>>
}

export interface Comparison {
  readonly title: string
  readonly server: string
  readonly ratio: number
  readonly committed: number
  readonly isRegression: boolean
}

/** @returns what stands in both, in the order of the results */
export function compareWithBaseline(results: Results, baseline: Baseline): Comparison[] {
  const committedRows = baseline[results.form] ?? {}
  return results.rows.flatMap((row) => {
    const committedRow = committedRows[row.name]
    if (committedRow === undefined || committedRow.reference !== row.reference) return []
    return Object.entries(ratiosOfOurs(results, row)).flatMap(([server, ratio]) => {
      const committed = committedRow.ratios[server]
      if (committed === undefined) return []
      const isRegression = ratio < committed * REGRESSION_FACTOR
      return [{ title: row.title, server, ratio, committed, isRegression }]
    })
  })
}

/** @returns the baseline with the rows of these results in place of those it had */
export function updateBaseline(baseline: Baseline, results: Results): Baseline {
  const rows = { ...baseline[results.form] }
  for (const row of results.rows) {
    if (row.reference === null) continue
    const ratios: Record<string, number> = {}
    for (const [server, ratio] of Object.entries(ratiosOfOurs(results, row))) {
      ratios[server] = Math.round(ratio * 100) / 100
    }
    if (Object.keys(ratios).length > 0) rows[row.name] = { reference: row.reference, ratios }
  }
  return { ...baseline, [results.form]: rows }
}

function ratiosOfOurs(results: Results, row: Row): Ratios {
  const ratios: Record<string, number> = {}
  for (const { name, isOurs } of results.servers) {
    const ratio = isOurs ? (summarize(row, name)?.ratio ?? null) : null
    if (ratio !== null) ratios[name] = ratio
  }
  return ratios
}
