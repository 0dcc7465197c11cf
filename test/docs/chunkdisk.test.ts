/** docs/chunkdisk.md says what is so: its tests exist, its options too. */
import { readFileSync } from 'node:fs'
import { join } from 'node:path'
import test from 'ava'
import { serveCommand } from '../../cli/serve-command.ts'
import { brokenLinks, DOCS, itemsOf, linksIn } from './test-links.ts'

const PAGE = readFileSync(join(DOCS, 'chunkdisk.md'), 'utf8')

test('every test the page points to exists, by file and title', (t) => {
  t.true(linksIn(PAGE.replace(/\s+/g, ' ')).length > 80)
  t.deepEqual(brokenLinks(PAGE), [])
})

test('every line has its mark and a test, or the reason why there is none', (t) => {
  const items = itemsOf(PAGE)
  t.true(items.length >= 55)
  for (const item of items) {
    t.regex(item, /^- [✓◐–] /)
    if (item.startsWith('- ◐')) t.regex(item, / (Here|After)\b/, item)
    if (item.startsWith('- –')) t.regex(item, /Windows/, item)
    else t.true(linksIn(item).length > 0, item)
  }
})

test('every option of chunkdisk is in the table, and what it became exists', (t) => {
  const rows = PAGE.split('\n').filter((line) => line.startsWith('| `-'))
  const theirs = rows.map((row) => row.split('|')[1]).join(' ')
  for (const option of ['-f', '-W', '-X', '-Z', '-M', '-U', '-t', '-d', '-D', '-p']) {
    t.true(theirs.includes(`${option} `), option)
  }
  const known = new Set(serveCommand().options.map((option) => option.long))
  const ours = rows.flatMap((row) => row.split('|')[2].match(/--[a-z-]+/g) ?? [])
  t.true(ours.length >= 8)
  for (const option of ours) t.true(known.has(option), option)
})
