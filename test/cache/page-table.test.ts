import test from 'ava'
import { PageState, PageTable } from '../../cache/page-table.ts'
import { Random, seedFor } from '../helpers/random.ts'

const FAR = 2 ** 41 - 1

test('a page is found in the slot it was given', (t) => {
  const table = new PageTable(8)
  const pages = [0, 1, 2 ** 31, 2 ** 32, 2 ** 32 + 1, 2 ** 40, FAR]
  const slots = pages.map((page) => table.insert(page))
  t.is(new Set(slots).size, pages.length)
  t.deepEqual(
    pages.map((page) => table.find(page)),
    slots,
  )
  t.deepEqual(
    slots.map((slot) => table.pageIn(slot)),
    pages,
  )
  t.is(table.find(3), -1)
  t.is(table.find(2 ** 33), -1)
})

test('a page that was removed is not found, and its slot is given again', (t) => {
  const table = new PageTable(1)
  const slot = table.insert(5)
  table.remove(slot)
  t.is(table.find(5), -1)
  t.is(table.count, 0)
  t.is(table.insert(6), slot)
  t.is(table.evictions, 0)
})

test('a new page has no state but that it is used', (t) => {
  const table = new PageTable(1)
  table.state[table.insert(5)] |= PageState.VALID | PageState.REFERENCED
  t.is(table.state[table.insert(6)], PageState.USED)
})

test('a full table gives up pages in turn', (t) => {
  const table = new PageTable(4)
  for (let page = 0; page < 8; page++) t.true(table.insert(page) >= 0)
  t.deepEqual(
    [0, 1, 2, 3, 4, 5, 6, 7].map((page) => table.find(page) >= 0),
    [false, false, false, false, true, true, true, true],
  )
  t.is(table.evictions, 4)
})

test('a page that was asked for gets a second chance, once', (t) => {
  const table = new PageTable(4)
  for (let page = 0; page < 4; page++) table.insert(page)
  table.state[table.find(0)] |= PageState.REFERENCED
  table.insert(4)
  t.true(table.find(0) >= 0)
  t.is(table.find(1), -1)
  for (let page = 5; page < 8; page++) table.insert(page)
  t.is(table.find(0), -1)
})

test('when all were asked for, one is given up nevertheless', (t) => {
  const table = new PageTable(4)
  for (let page = 0; page < 4; page++) table.state[table.insert(page)] |= PageState.REFERENCED
  t.true(table.insert(4) >= 0)
  t.is(table.count, 4)
})

test('locked pages are never given up', (t) => {
  const table = new PageTable(3)
  for (let page = 0; page < 3; page++) table.state[table.insert(page)] |= PageState.LOCKED
  t.is(table.insert(3), -1)
  table.state[table.find(1)] &= ~PageState.LOCKED
  t.true(table.insert(3) >= 0)
  t.deepEqual([table.find(0) >= 0, table.find(1), table.find(2) >= 0], [true, -1, true])
})

for (const slots of [1, 2, 3, 64, 100]) {
  test(`${slots} slots agree with a Map under random use`, (t) => {
    const random = new Random(seedFor(t))
    const table = new PageTable(slots)
    const model = new Map<number, number>()
    for (let step = 0; step < 30_000; step++) {
      // Few pages, in three clusters far apart, so that probe sequences collide and wrap.
      const page = random.pick([0, 2 ** 33, FAR - 3 * slots]) + random.between(0, slots)
      const slot = table.find(page)
      t.is(slot, model.get(page) ?? -1)
      if (slot >= 0) {
        if (!random.chance(0.5)) continue
        table.remove(slot)
        model.delete(page)
      } else if (model.size < slots) {
        model.set(page, table.insert(page))
      }
      t.is(table.count, model.size)
    }
    for (const [page, slot] of model) t.is(table.find(page), slot)
    t.is(table.evictions, 0)
  })
}
