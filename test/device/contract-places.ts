/** Cases of the device contract: what blockStatus tells beside flags, and where extents end. */
import assert from 'node:assert/strict'
import { DONE } from '../../device/device.ts'
import { ExtentFlag, ExtentKind, ExtentList } from '../../device/extents.ts'
import type { ContractCase } from '../device-contract.ts'
import type { TestDevice } from '../helpers/test-device.ts'
import { fillWithHoles } from './contract-extents.ts'

const { ALLOCATION, DEPTH, PART, CHUNK } = ExtentKind
const ALL = ALLOCATION | DEPTH | PART | CHUNK
const HOLE = ExtentFlag.HOLE | ExtentFlag.ZERO

interface Told {
  readonly start: number
  readonly end: number
  readonly flags: number
  readonly depth: number
  readonly part: number
  readonly chunk: number
}

/** The whole device, asked on and on. */
async function walk(subject: TestDevice, kinds: number, capacity: number): Promise<Told[]> {
  const { size } = subject.device
  const list = new ExtentList(capacity)
  const told: Told[] = []
  for (let offset = 0; offset < size;) {
    list.clear(kinds)
    const options = { extents: list }
    const { status } = await subject.perform('blockStatus', offset, size - offset, options)
    assert.equal(status, DONE)
    assert(list.total > 0 && list.total <= size - offset)
    for (let index = 0; index < list.count; index++) {
      const end = offset + list.lengthAt(index)
      const [flags, depth] = [list.flagsAt(index), list.depthAt(index)]
      const [part, chunk] = [list.partAt(index), list.chunkAt(index)]
      told.push({ start: offset, end, flags, depth, part, chunk })
      offset = end
    }
  }
  return told
}

/** Equal neighbours become one; what is not in `kinds` is forgotten. */
function merged(told: readonly Told[], kinds: number): Told[] {
  const result: Told[] = []
  for (const each of told) {
    const flags = (kinds & ALLOCATION) === 0 ? 0 : each.flags
    const depth = (kinds & DEPTH) === 0 ? 0 : each.depth
    const part = (kinds & PART) === 0 ? 0 : each.part
    const chunk = (kinds & CHUNK) === 0 ? 0 : each.chunk
    const next = { start: each.start, end: each.end, flags, depth, part, chunk }
    const last = result.at(-1)
    const isSame =
      last?.flags === flags && last.depth === depth && last.part === part && last.chunk === chunk
    if (last !== undefined && isSame) result[result.length - 1] = { ...next, start: last.start }
    else result.push(next)
  }
  return result
}

export const placeCases: readonly ContractCase[] = [
  {
    title: 'blockStatus tells of places what is asked and what its features say, no more',
    async run(t, subject) {
      await fillWithHoles(subject)
      const kinds = ALLOCATION | (subject.device.features.extentKinds ?? 0)
      const all = await walk(subject, ALL, 4096)
      t.deepEqual(merged(all, kinds), merged(all, ALL), 'more than its features say')
      for (let wanted = 1; wanted <= ALL; wanted++)
        for (const capacity of [1, 3, 4096])
          t.deepEqual(merged(await walk(subject, wanted, capacity), ALL), merged(all, wanted))
    },
  },
  {
    title: 'what no layer has is a hole, and data is in a layer',
    async run(t, subject) {
      t.pass()
      if (((subject.device.features.extentKinds ?? 0) & DEPTH) === 0) return
      await fillWithHoles(subject)
      for (const { start, flags, depth } of await walk(subject, ALLOCATION | DEPTH, 4096))
        if (depth === 0) t.is(flags, HOLE, `at ${start}`)
      const [first] = await walk(subject, DEPTH, 1)
      t.true(first.depth <= 1, 'a device without parents')
    },
  },
  {
    title: 'all extents of blockStatus but the last end at multiples of the alignment',
    async run(t, subject) {
      const { alignment } = subject.device
      await fillWithHoles(subject)
      for (const capacity of [1, 2, 4096])
        for (const { end } of await walk(subject, ALL, capacity)) t.is(end % alignment, 0)
    },
  },
]
