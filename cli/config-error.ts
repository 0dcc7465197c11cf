/** What is wrong in a configuration file: where, and what was probably meant. */

export class ConfigError extends Error {
  readonly code = 'ECONFIG'

  /** @param problems one a line, each naming the file */
  constructor(problems: readonly string[]) {
    super(problems.join('\n'))
    this.name = 'ConfigError'
  }
}

/** The known name that is most like the written one. @param names at least one */
export function nearest(written: string, names: readonly string[]): string {
  const scored = names.map((name) => ({ name, distance: distance(written, name) }))
  return scored.reduce((best, each) => (each.distance < best.distance ? each : best)).name
}

/** Least number of characters to insert, remove or replace (Levenshtein). */
export function distance(a: string, b: string): number {
  let row = Array.from({ length: b.length + 1 }, (_, index) => index)
  for (const [i, left] of [...a].entries()) {
    const next = [i + 1]
    for (const [j, right] of [...b].entries()) {
      next.push(Math.min(row[j] + (left === right ? 0 : 1), row[j + 1] + 1, next[j] + 1))
    }
    row = next
  }
  return row[b.length]
}

const KEY = /"((?:[^"\\]|\\.)*)"|'([^']*)'|([A-Za-z0-9_-]+)/
const DOTTED = String.raw`(?:${KEY.source})(?:\s*\.\s*(?:${KEY.source}))*`
const HEADER = new RegExp(String.raw`^\s*\[\[?\s*(?<name>${DOTTED})\s*\]`)
const PAIR = new RegExp(String.raw`^\s*(?<name>${DOTTED})\s*=`)

/**
 * The line a key was written on; the parser does not tell. Of a key inside an inline table the line
 * of that table.
 * @param path names of the tables and of the key
 * @returns from 1; null: not found
 */
export function lineOf(text: string, path: readonly string[]): number | null {
  let table: string[] = []
  let found: { readonly line: number; readonly depth: number } | null = null
  for (const [index, line] of withoutLongStrings(text).split('\n').entries()) {
    const header = HEADER.exec(line)?.groups?.name
    const pair = PAIR.exec(line)?.groups?.name
    if (header === undefined && pair === undefined) continue
    if (header !== undefined) table = partsOf(header)
    const here = header !== undefined ? table : [...table, ...partsOf(pair ?? '')]
    const depth = Math.min(here.length, path.length)
    const isPrefix = path.slice(0, depth).every((name, at) => name === here[at])
    // A longer name, as in `a.b = 1` for the path `a`, is where that table begins.
    const weight = here.length > path.length ? depth - 0.5 : depth
    if (isPrefix && weight > (found?.depth ?? 0)) found = { line: index + 1, depth: weight }
  }
  return found?.line ?? null
}

/** Text in them that looks like a key is none; the lines stay. */
function withoutLongStrings(text: string): string {
  return text.replace(/"""[\s\S]*?"""|'''[\s\S]*?'''/g, (all) => all.replace(/[^\n]/g, '"'))
}

function partsOf(dotted: string): string[] {
  return [...dotted.matchAll(new RegExp(KEY, 'g'))].map(([, quoted, literal, bare]) =>
    quoted === undefined ? (literal ?? bare) : unquoted(quoted),
  )
}

function unquoted(text: string): string {
  try {
    return JSON.parse(`"${text}"`) as string
  } catch {
    return text
  }
}
