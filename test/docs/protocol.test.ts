/** docs/protocol.md says what is so: its tests exist, its numbers are those of the code. */
import { readFileSync } from 'node:fs'
import { join } from 'node:path'
import test from 'ava'
import * as limits from '../../nbd/limits.ts'
import * as protocol from '../../nbd/protocol.ts'
import { brokenLinks, DOCS, hasTitle, itemsOf, linksIn, type TestLink } from './test-links.ts'

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
  readonly links: readonly TestLink[]
}

/** The lines of the checklist. */
const ITEMS: readonly Item[] = itemsOf(section('## Checklist', '## ')).map((text) => ({
  text,
  mark: text.slice(2, 3),
  links: linksIn(text),
}))

/** What stands behind a heading, up to the next line that begins so. */
function section(heading: string, end: string): string {
  const start = PAGE.indexOf(`\n${heading}\n`)
  if (start < 0) throw new Error(`no section "${heading}"`)
  const body = PAGE.slice(start + heading.length + 1)
  const length = body.indexOf(`\n${end}`)
  return length < 0 ? body : body.slice(0, length)
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

test('every test the page points to exists, by file and title', (t) => {
  t.true(linksIn(PAGE.replace(/\s+/g, ' ')).length > 100)
  t.deepEqual(brokenLinks(PAGE), [])
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
