/** docs/protocol.md says what is so: its tests exist, its numbers are those of the code. */
import { existsSync, readFileSync } from 'node:fs'
import { join } from 'node:path'
import test from 'ava'
import * as limits from '../../nbd/limits.ts'
import * as protocol from '../../nbd/protocol.ts'

const DOCS = join(import.meta.dirname, '../../docs')
const PAGE = readFileSync(join(DOCS, 'protocol.md'), 'utf8')

const UNITS: Readonly<Record<string, number>> = {
  '': 1,
  KiB: 2 ** 10,
  MiB: 2 ** 20,
  GiB: 2 ** 30,
  ms: 1,
  s: 1000,
}

interface Item {
  readonly text: string
  readonly mark: string
  readonly links: readonly Link[]
}

interface Link {
  readonly title: string
  readonly path: string
}

/** The lines of the checklist: from a dash at the start of a line to the next, or an empty line. */
const ITEMS: readonly Item[] = section('## Checklist', '## ')
  .split(/\n(?=- )|\n\n/)
  .filter((text) => text.startsWith('- '))
  .map((text) => {
    const line = text.replace(/\s+/g, ' ')
    return { text: line, mark: line.slice(2, 3), links: linksIn(line) }
  })

/** What stands behind a heading, up to the next line that begins so. */
function section(heading: string, end: string): string {
  const start = PAGE.indexOf(`\n${heading}\n`)
  if (start < 0) throw new Error(`no section "${heading}"`)
  const body = PAGE.slice(start + heading.length + 1)
  const length = body.indexOf(`\n${end}`)
  return length < 0 ? body : body.slice(0, length)
}

function linksIn(text: string): Link[] {
  const links = text.matchAll(/\[((?:[^[\]]|\[[^\]]*\])+)\]\((\.\.\/test\/[^)]+)\)/g)
  return [...links].map(([, title, path]) => ({ title: title.replace(/\\(.)/g, '$1'), path }))
}

/** Cells of the rows of the table below a heading, without the head. */
function rows(heading: string): string[][] {
  return section(heading, '#')
    .split('\n')
    .filter((line) => line.startsWith('|'))
    .slice(2)
    .map((line) =>
      line
        .split(/(?<!\\)\|/)
        .slice(1, -1)
        .map((cell) => cell.trim()),
    )
}

/** Whether a source has a test of this title, which may be a template or a row of a table. */
function hasTitle(source: string, title: string): boolean {
  const literal = /(?:\btest[\w.]*\(|\bcheck\(|\btitle:|=>)\s*(['"`])((?:\\.|(?!\1)[^\\])*)\1/g
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

test('every test the page points to exists, by file and title', (t) => {
  const links = linksIn(PAGE.replace(/\s+/g, ' '))
  t.true(links.length > 100)
  const missing = links.filter(({ title, path }) => {
    const file = join(DOCS, path)
    return !existsSync(file) || !hasTitle(readFileSync(file, 'utf8'), title)
  })
  t.deepEqual(missing, [])
})

test('every line of the checklist has its mark, its level and, unless not yet, a test', (t) => {
  t.true(ITEMS.length >= 80)
  for (const { text, mark, links } of ITEMS) {
    t.regex(text, /^- [✓◐✗] \*\*(must|should|ours)\*\* /)
    if (mark === '✗') t.regex(text, /[Nn]ot yet/)
    else t.true(links.length > 0, text)
  }
})

test('the limits are those of nbd/limits.ts, all of them', (t) => {
  const told = rows('## Limits').map(([name, value, reason]) => {
    const [, number, unitName = ''] = /^([\d,]+) ?([A-Za-z]*)$/.exec(value) ?? []
    t.true(reason.length > 0, name)
    return [name.replaceAll('`', ''), Number(number?.replaceAll(',', '')) * UNITS[unitName]]
  })
  t.deepEqual(Object.fromEntries(told), { ...limits })
})

for (const [heading, table] of [
  ['### Option codes', protocol.Option],
  ['### Option replies', protocol.OptionReply],
  ['### Information', protocol.InfoType],
  ['### Transmission flag bits', protocol.TransmissionFlag],
  ['### Commands', protocol.Command],
  ['### Command flag bits', protocol.CommandFlag],
  ['### Reply chunks', protocol.ReplyChunkType],
  ['### Errors', protocol.NbdError],
] as const) {
  test(`the table below "${heading}" has every name and its number`, (t) => {
    const isFlag = heading.endsWith('bits')
    const told = rows(heading).map(([number, name]) => {
      return [name.replaceAll('`', ''), isFlag ? 1 << Number(number) : Number(number)]
    })
    t.deepEqual(Object.fromEntries(told), { ...table })
  })
}

test('a title that is not there is noticed', (t) => {
  const source = "test('one', f)\nfor (const x of ['two'])\n  test(`${x} and three`, f)\n"
  t.true(hasTitle(source, 'one'))
  t.true(hasTitle(source, 'two and three'))
  t.false(hasTitle(source, 'One'))
  t.false(hasTitle(source, 'five and three'))
})
