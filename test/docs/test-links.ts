/** Pages that point to tests: the links they have, and whether a test of that title exists. */
import { existsSync, readFileSync } from 'node:fs'
import { join } from 'node:path'

export const DOCS = join(import.meta.dirname, '../../docs')

export interface TestLink {
  readonly title: string
  /** From the folder of the pages. */
  readonly path: string
}

export function linksIn(text: string): TestLink[] {
  const links = text.matchAll(/\[((?:[^[\]]|\[[^\]]*\])+)\]\((\.\.\/test\/[^)]+)\)/g)
  return [...links].map(([, title, path]) => ({ title: title.replace(/\\(.)/g, '$1'), path }))
}

/** Items of a list: from a dash at the start of a line to the next, or an empty line. */
export function itemsOf(text: string): string[] {
  return text
    .split(/\n(?=- )|\n\n/)
    .filter((item) => item.startsWith('- '))
    .map((item) => item.replace(/\s+/g, ' '))
}

/** @returns the links of a page whose test does not exist, by file and title */
export function brokenLinks(page: string): TestLink[] {
  return linksIn(page.replace(/\s+/g, ' ')).filter(({ title, path }) => {
    const file = join(DOCS, path)
    return !existsSync(file) || !hasTitle(readFileSync(file, 'utf8'), title)
  })
}

/** Whether a source has a test of this title, which may be a template or a row of a table. */
export function hasTitle(source: string, title: string): boolean {
  const literal =
    /(?:\btest[\w.]*\(|\bcheck\(|\bwithHoles\(|\btitle:|=>)\s*(['"`])((?:\\.|(?!\1)[^\\])*)\1/g
  const plain = source.replace(/["'`]/g, "'")
  return [...source.matchAll(literal)].some(([, quote, text]) => {
    const written = unescaped(text)
    if (quote !== '`') return written === title
    const parts = written.split(/\$\{[^}]*\}/).map(escaped)
    const match = new RegExp(`^${parts.join('(.*)')}$`).exec(title)
    // What is filled in must come from somewhere, too.
    return match?.slice(1).every((value) => plain.includes(value.replace(/["'`]/g, "'"))) ?? false
  })
}

function escaped(text: string): string {
  return text.replace(/[.*+?^${}()|[\]\\]/g, String.raw`\$&`)
}

function unescaped(text: string): string {
  const code = /\\u([0-9a-f]{4})/gi
  return text
    .replace(code, (_, hex: string) => String.fromCharCode(Number.parseInt(hex, 16)))
    .replace(/\\(.)/g, '$1')
}
