import test from 'ava'
import { isWindowsPath, PathMap } from '../../chunkstore/path-map.ts'

const map = new PathMap([
  { written: 'C:\\disks', directory: '/mnt/disks' },
  { written: 'C:\\disks\\fast', directory: '/ssd' },
  { written: 'D:', directory: '/mnt/d' },
  { written: '\\\\server\\share', directory: '/net/share' },
  { written: '/old/place', directory: '/new/place' },
])

const cases: [written: string, local: string | null][] = [
  ['C:\\disks', '/mnt/disks'],
  ['C:\\disks\\part 1', '/mnt/disks/part 1'],
  ['c:\\DISKS\\Part\\One', '/mnt/disks/Part/One'],
  ['C:/disks/one', '/mnt/disks/one'],
  ['C:\\disks\\fast\\a', '/ssd/a'],
  ['C:\\disks\\faster', '/mnt/disks/faster'],
  ['C:\\disksother', null],
  ['C:\\other', null],
  ['D:\\', '/mnt/d/'],
  ['d:\\a\\b', '/mnt/d/a/b'],
  ['D:relative', null],
  ['\\\\SERVER\\share\\x', '/net/share/x'],
  ['/old/place/x', '/new/place/x'],
  ['/OLD/place/x', null],
  ['/old/placebo', null],
  ['relative', null],
]

for (const [written, local] of cases) {
  test(`${written} is found at ${local}`, (t) => {
    t.is(map.locate(written), local)
  })
}

test('what was found is written as it was, but for case and slashes', (t) => {
  for (const [written, local] of cases) {
    if (local === null) continue
    const back = map.write(local.replace(/(?<=.)\/$/, ''))
    t.is(
      back?.toLowerCase(),
      written
        .replace(/^(\w:)\//, '$1\\')
        .replace('disks/', 'disks\\')
        .toLowerCase(),
    )
  }
})

test('what no entry covers, or Windows cannot name, is not written', (t) => {
  t.is(map.write('/elsewhere'), null)
  t.is(map.write('/mnt'), null)
  t.is(map.write('/mnt/disksother'), null)
  for (const name of ['a:b', 'a?', 'a\\b', 'ends.', 'ends ', 'sub/a*']) {
    t.is(map.write(`/mnt/disks/${name}`), null, name)
  }
  t.is(map.write('/new/place/a:b'), '/old/place/a:b')
})

test('paths of Windows begin with a drive or a share', (t) => {
  for (const yes of ['C:\\', 'c:/x', 'C:', '\\\\server\\share']) t.true(isWindowsPath(yes), yes)
  for (const no of ['C:x', '/c', 'c', '\\x', '', '1:\\x', 'CC:\\x']) t.false(isWindowsPath(no), no)
})
