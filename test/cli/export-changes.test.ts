/** What a new configuration changes about the exports of a running server. */
import test from 'ava'
import { Networks, OPEN } from '../../cli/access-rules.ts'
import { type Changes, changesTo } from '../../cli/export-changes.ts'
import type { ExportSettings } from '../../cli/settings.ts'

const HOW = { cache: 'writeback', trim: 'free', pageCache: 0, movable: false } as const
const MORE = { lockFiles: false, uuid: null, mapPath: [] }

const disk = (name: string, file: string, readOnly = false, pageCache = 0): ExportSettings => ({
  name,
  readOnly,
  access: OPEN,
  disk: { file, ...HOW, ...MORE, pageCache },
})
const memory = (name: string, size: number): ExportSettings => ({
  name,
  readOnly: false,
  access: OPEN,
  disk: size,
})

const namesOf = (changes: Changes): unknown => ({
  kept: changes.kept.map((each) => each.name),
  access: changes.access,
  early: changes.early.map((each) => each.name),
  late: changes.late.map((each) => each.name),
  reopened: changes.reopened.map((each) => each.after.name),
  removed: changes.removed.map((each) => each.name),
})
const NOTHING = { kept: [], access: [], early: [], late: [], reopened: [], removed: [] }

test('the same configuration changes nothing', (t) => {
  const all = [disk('a', '/a'), memory('m', 4096)]
  const again = [disk('a', '/a'), memory('m', 4096)]
  t.deepEqual(namesOf(changesTo(all, again)), { ...NOTHING, kept: ['a', 'm'] })
})

test('new ones are opened first, unless they wait for a disk that an old one has', (t) => {
  const before = [disk('a', '/a'), disk('b', '/b'), memory('m', 4096)]
  const after = [disk('b', '/b', true), disk('renamed', '/a'), disk('c', '/c'), memory('n', 4096)]
  t.deepEqual(namesOf(changesTo(before, after)), {
    ...NOTHING,
    early: ['c', 'n'],
    late: ['renamed'],
    reopened: ['b'],
    removed: ['a', 'm'],
  })
})

test('every option of a disk opens it again, rules of access do not', (t) => {
  const before = [disk('a', '/a'), disk('b', '/b'), disk('c', '/c'), memory('m', 4096)]
  const networks = { ...OPEN, networks: new Networks(['unix']) }
  const others = { ...OPEN, networks: new Networks(['10.0.0.0/8']) }
  const after = [
    { ...disk('a', '/a'), access: networks },
    disk('b', '/b', false, 1 << 20),
    disk('c', '/other'),
    memory('m', 8192),
  ]
  const changes = changesTo(before, after)
  const expected = { ...NOTHING, kept: ['a'], access: ['a'], reopened: ['b', 'c', 'm'] }
  t.deepEqual(namesOf(changes), expected)
  t.is(changes.kept[0].access, networks)
  const next = changesTo(after, [{ ...disk('a', '/a'), access: others }, ...after.slice(1)])
  t.deepEqual(namesOf(next), { ...NOTHING, kept: ['a', 'b', 'c', 'm'], access: ['a'] })
})
