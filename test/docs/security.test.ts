/** docs/security.md says what is so: each of its lessons has a test, and the test exists. */
import { readFileSync } from 'node:fs'
import { join } from 'node:path'
import test from 'ava'
import { brokenLinks, DOCS, itemsOf, linksIn } from './test-links.ts'

const PAGE = readFileSync(join(DOCS, 'security.md'), 'utf8')
const ITEMS = itemsOf(PAGE)

test('every test the page points to exists, by file and title', (t) => {
  t.true(linksIn(PAGE.replace(/\s+/g, ' ')).length > 40)
  t.deepEqual(brokenLinks(PAGE), [])
})

test('every lesson has a test', (t) => {
  t.true(ITEMS.length >= 20)
  for (const item of ITEMS) t.true(linksIn(item).length > 0, item)
})

test('no number is there twice', (t) => {
  const numbers = PAGE.match(/CVE-\d{4}-\d+/g) ?? []
  t.true(numbers.length >= 25)
  t.is(new Set(numbers).size, numbers.length)
})
