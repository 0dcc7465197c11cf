import test from 'ava'
import { RangeSet } from '../../chunkstore/range-set.ts'
import { Random, seedFor } from '../helpers/random.ts'

const SPACE = 200

/** One flag for each number. */
class NaiveSet {
  readonly flags = new Uint8Array(SPACE)

  get count(): number {
    return this.flags.filter((flag, at) => flag === 1 && (at === 0 || this.flags[at - 1] === 0))
      .length
  }

  covers(start: number, end: number): boolean {
    return this.flags.subarray(start, end).every((flag) => flag === 1)
  }
}

function randomRange(random: Random): [number, number] {
  const start = random.between(0, SPACE - 1)
  return [start, Math.min(SPACE, start + random.logarithmic(1, 60))]
}

test('adds and removals agree with a set that has a flag for each number', (t) => {
  const random = new Random(seedFor(t))
  for (let round = 0; round < 60; round++) {
    const set = new RangeSet(SPACE)
    const naive = new NaiveSet()
    for (let step = 0; step < 200; step++) {
      const [start, end] = randomRange(random)
      const adds = random.chance(0.55)
      if (adds) set.add(start, end)
      else set.remove(start, end)
      naive.flags.fill(adds ? 1 : 0, start, end)
      if (set.count !== naive.count) t.fail(`${set.count} ranges, not ${naive.count}`)
      for (let probe = 0; probe < 8; probe++) {
        const [from, to] = randomRange(random)
        if (set.covers(from, to) !== naive.covers(from, to)) t.fail(`covers ${from} ${to}`)
      }
    }
  }
  t.pass()
})

test('a full set may forget, but never claims what was not added', (t) => {
  const random = new Random(seedFor(t))
  for (let round = 0; round < 60; round++) {
    const countMax = random.between(1, 6)
    const set = new RangeSet(countMax)
    const naive = new NaiveSet()
    for (let step = 0; step < 200; step++) {
      const [start, end] = randomRange(random)
      const adds = random.chance(0.6)
      if (adds) set.add(start, end)
      else set.remove(start, end)
      naive.flags.fill(adds ? 1 : 0, start, end)
      if (set.count > countMax) t.fail(`${set.count} ranges in a set of ${countMax}`)
      for (let at = 0; at < SPACE; at++) {
        if (set.covers(at, at + 1) && naive.flags[at] === 0) t.fail(`claims ${at}`)
      }
    }
  }
  t.pass()
})

test('a full set still takes a range that touches one it has', (t) => {
  const set = new RangeSet(2)
  set.add(10, 20)
  set.add(30, 40)
  set.add(50, 60)
  t.false(set.covers(50, 60))
  set.add(20, 30)
  t.true(set.covers(10, 40))
  set.add(50, 60)
  t.true(set.covers(50, 60))
  t.is(set.count, 2)
})

test('nothing is covered after clear', (t) => {
  const set = new RangeSet(4)
  set.add(0, 10)
  set.clear()
  t.is(set.count, 0)
  t.false(set.covers(0, 1))
})
