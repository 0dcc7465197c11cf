import fs from 'node:fs'
import test from 'ava'
import { A, B, CHUNK, EMPTY, put, repairs } from './repair-macro.ts'
import type { DiskFolder } from '../helpers/chunk-disk.ts'

test('nothing to mend', repairs, {}, (folder) => put(folder, 'p/chunk1', A), { p: ['chunk1 4096'] })

test(
  'a temporary file is removed',
  repairs,
  {},
  (folder) => {
    put(folder, 'p/.tmp-chunk3', A)
    put(folder, 'q/.tmp-checksums-4711-0a1b2c3d', A)
    put(folder, 'base/.tmp-chunk3', A)
  },
  {
    mends: [
      'stale-temporary: p/.tmp-chunk3: mended',
      'stale-temporary: q/.tmp-checksums-4711-0a1b2c3d: mended',
    ],
    left: [
      ['stale-temporary: base/.tmp-chunk3', /parent is never touched: repair .*\/base\.chunk/],
    ],
    p: [],
  },
)

test(
  'a chunk beyond the end is moved aside, and nothing there is overwritten',
  repairs,
  {},
  (folder) => {
    fs.mkdirSync(folder.path('p/.chunknbd-aside'))
    put(folder, 'p/.chunknbd-aside/chunk8', 'old')
    put(folder, 'p/.chunknbd-aside/chunk8.1', 'older')
    put(folder, 'p/chunk8', A)
    put(folder, 'q/chunk99', 'x')
  },
  {
    mends: ['orphan: p/chunk8: mended', 'orphan: q/chunk99: mended'],
    p: ['.chunknbd-aside/chunk8 3', '.chunknbd-aside/chunk8.1 5', '.chunknbd-aside/chunk8.2 4096'],
    q: ['.chunknbd-aside/chunk99 1'],
  },
)

test(
  'an empty chunk older than its full twin is moved aside',
  repairs,
  {},
  (folder) => {
    put(folder, 'p/chunk2', EMPTY, 200)
    put(folder, 'q/chunk2', A, 100)
  },
  {
    mends: ['duplicate-chunk: p/chunk2: mended'],
    p: ['.chunknbd-aside/chunk2 0'],
    q: ['chunk2 4096'],
  },
)

for (const age of [100, 50]) {
  const damage = (folder: DiskFolder): void => {
    put(folder, 'p/chunk2', A, 100)
    put(folder, 'q/chunk2', EMPTY, age)
  }
  const when = age === 100 ? 'as old as' : 'newer than'
  test(`an empty chunk ${when} its full twin may be a trim`, repairs, {}, damage, {
    left: [['duplicate-chunk: q/chunk2', /may be a later trim; --prefer-full takes the full one/]],
    p: ['chunk2 4096'],
    q: ['chunk2 0'],
  })
  test(
    `an empty chunk ${when} its full twin goes if asked for`,
    repairs,
    { preferFull: true },
    damage,
    {
      mends: ['duplicate-chunk: q/chunk2: mended'],
      p: ['chunk2 4096'],
      q: ['.chunknbd-aside/chunk2 0'],
    },
  )
}

test(
  'of equal chunks the first stays; of empty ones too',
  repairs,
  {},
  (folder) => {
    for (const name of ['p/chunk1', 'q/chunk1', 'q/CHUNK1']) put(folder, name, A)
    for (const name of ['p/chunk4', 'q/chunk4']) put(folder, name, EMPTY)
  },
  {
    mends: [
      'duplicate-chunk: q/CHUNK1: mended',
      'duplicate-chunk: q/chunk1: mended',
      'duplicate-chunk: q/chunk4: mended',
    ],
    p: ['chunk1 4096', 'chunk4 0'],
    q: ['.chunknbd-aside/CHUNK1 4096', '.chunknbd-aside/chunk1 4096', '.chunknbd-aside/chunk4 0'],
  },
)

test(
  'full chunks that differ are left, with everything else of that chunk',
  repairs,
  {},
  (folder) => {
    put(folder, 'p/chunk1', A)
    put(folder, 'q/chunk1', B)
    put(folder, 'q/CHUNK1', EMPTY, 500)
  },
  {
    left: [
      ['duplicate-chunk: q/CHUNK1', /p\/chunk1 and .*q\/chunk1 hold different data; find out/],
      ['duplicate-chunk: q/chunk1', /hold different data/],
    ],
    p: ['chunk1 4096'],
    q: ['CHUNK1 0', 'chunk1 4096'],
  },
)

test(
  'an unfinished copy is moved aside; a file cut short that differs is left',
  repairs,
  {},
  (folder) => {
    put(folder, 'p/chunk1', A)
    put(folder, 'q/chunk1', A.slice(0, 1000), 1)
    put(folder, 'p/chunk2', A)
    put(folder, 'q/chunk2', B.slice(0, 1000), 1)
  },
  {
    mends: ['duplicate-chunk: q/chunk1: mended'],
    left: [
      ['duplicate-chunk: q/chunk2', /what it holds is not in .*p\/chunk2/],
      ['wrong-size: q/chunk2', /bring the file back from a backup/],
    ],
    p: ['chunk1 4096', 'chunk2 4096'],
    q: ['.chunknbd-aside/chunk1 1000', 'chunk2 1000'],
  },
)

test(
  'where no file of a chunk has a right size all are left',
  repairs,
  {},
  (folder) => {
    put(folder, 'p/chunk1', 'x')
    put(folder, 'q/chunk1', 'x')
  },
  {
    left: [
      ['wrong-size: p/chunk1', /backup/],
      ['duplicate-chunk: q/chunk1', /none has a right size/],
      ['wrong-size: q/chunk1', /backup/],
    ],
  },
)

test(
  'an empty chunk does not win over a damaged one',
  repairs,
  {},
  (folder) => {
    put(folder, 'p/chunk1', EMPTY)
    put(folder, 'q/chunk1', 'x')
  },
  {
    left: [
      ['duplicate-chunk: q/chunk1', /wrong size, and what it holds is not in .*p\/chunk1/],
      ['wrong-size: q/chunk1', /backup/],
    ],
    p: ['chunk1 0'],
    q: ['chunk1 1'],
  },
)

test(
  'two names of one file are left',
  repairs,
  { preferFull: true },
  (folder) => {
    put(folder, 'p/chunk1', A)
    fs.symlinkSync('../p/chunk1', folder.path('q/chunk1'))
  },
  {
    left: [
      ['duplicate-chunk: q/chunk1', /p\/chunk1 and .*q\/chunk1 are one file; remove the name/],
    ],
    p: ['chunk1 4096'],
    q: ['chunk1 4096'],
  },
)

test(
  'a quota is kept again when its duplicates are gone',
  repairs,
  {},
  (folder) => {
    folder.make('a', { size: 8 * CHUNK, chunkSize: CHUNK, parent: 'base', parts: { p: 8, q: 1 } })
    for (const name of ['p/chunk1', 'q/chunk1', 'p/chunk2', 'q/chunk2']) put(folder, name, A)
    put(folder, 'q/chunk3', A)
  },
  {
    mends: ['duplicate-chunk: q/chunk1: mended', 'duplicate-chunk: q/chunk2: mended'],
    p: ['chunk1 4096', 'chunk2 4096'],
  },
)

test(
  'a quota that is not kept is left',
  repairs,
  {},
  (folder) => {
    folder.make('a', { size: 8 * CHUNK, chunkSize: CHUNK, parent: 'base', parts: { p: 8, q: 1 } })
    for (const name of ['q/chunk1', 'q/chunk2']) put(folder, name, A)
  },
  { left: [['too-many: q', /move chunk files to a part with room/]] },
)
