import test from 'ava'
import { ExtentKind, ExtentList } from '../../device/extents.ts'

const { ALLOCATION, DEPTH, PART, CHUNK } = ExtentKind

/** Entries as length, flags, depth, part, chunk. */
function entries(list: ExtentList): number[][] {
  return Array.from({ length: list.count }, (_, index) => [
    list.lengthAt(index),
    list.flagsAt(index),
    list.depthAt(index),
    list.partAt(index),
    list.chunkAt(index),
  ])
}

test('neighbours that are equal are one', (t) => {
  const list = new ExtentList(8)
  for (const [length, flags] of [
    [1, 0],
    [2, 0],
    [3, 3],
    [0, 0],
    [4, 3],
  ])
    t.true(list.append(length, flags))
  t.deepEqual(entries(list), [
    [3, 0, 0, 0, 0],
    [7, 3, 0, 0, 0],
  ])
  t.is(list.total, 10)
})

test('what is not asked for is not kept, and keeps nothing apart', (t) => {
  const list = new ExtentList(8)
  const fill = (kinds: number): number[][] => {
    list.clear(kinds)
    t.true(list.appendPlaced(10, 0, 1, 0, 5))
    t.true(list.appendPlaced(10, 3, 1, 0, 5))
    t.true(list.appendPlaced(10, 3, 1, 1, 6))
    t.true(list.appendPlaced(10, 3, 2, 1, 7))
    t.true(list.append(10, 3))
    t.is(list.total, 50)
    return entries(list)
  }
  t.deepEqual(fill(ALLOCATION), [
    [10, 0, 0, 0, 0],
    [40, 3, 0, 0, 0],
  ])
  t.deepEqual(fill(DEPTH), [
    [30, 0, 1, 0, 0],
    [10, 0, 2, 0, 0],
    [10, 0, 0, 0, 0],
  ])
  t.deepEqual(fill(DEPTH | PART), [
    [20, 0, 1, 0, 0],
    [10, 0, 1, 1, 0],
    [10, 0, 2, 1, 0],
    [10, 0, 0, 0, 0],
  ])
  t.is(fill(ALLOCATION | DEPTH | PART | CHUNK).length, 5)
})

test('what was kept once does not show when it is not asked for again', (t) => {
  const list = new ExtentList(2)
  list.clear(DEPTH | CHUNK)
  list.appendPlaced(1, 0, 7, 0, 2 ** 32 + 9)
  t.deepEqual(entries(list), [[1, 0, 7, 0, 9]])
  list.clear()
  list.append(1, 2)
  t.deepEqual(entries(list), [[1, 2, 0, 0, 0]])
})

test('a full list takes what is equal to its last entry, and nothing else', (t) => {
  for (const kinds of [ALLOCATION, ALLOCATION | DEPTH]) {
    const list = new ExtentList(2)
    list.clear(kinds)
    t.true(list.appendPlaced(1, 0, 1, 0, 0))
    t.true(list.appendPlaced(1, 3, 1, 0, 0))
    t.true(list.appendPlaced(1, 3, 1, 0, 0))
    t.false(list.appendPlaced(1, 0, 1, 0, 0))
    t.true(list.appendPlaced(0, 0, 1, 0, 0))
    t.is(list.total, 3)
    t.true(list.full)
  }
})

test('an entry of another list is taken over as far as it is wanted', (t) => {
  const source = new ExtentList(1)
  source.clear(ALLOCATION | DEPTH | PART | CHUNK)
  source.appendPlaced(100, 3, 2, 4, 6)
  const target = new ExtentList(1)
  target.clear(DEPTH | PART)
  t.true(target.appendLike(30, source, 0))
  t.deepEqual(entries(target), [[30, 0, 2, 4, 0]])
})
