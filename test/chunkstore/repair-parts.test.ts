import fs from 'node:fs'
import os from 'node:os'
import test from 'ava'
import { DiskError } from '../../chunkstore/disk-error.ts'
import { repairDisk } from '../../chunkstore/repair.ts'
import { type DiskFolder, nodeFiles } from '../helpers/chunk-disk.ts'
import { TestFiles } from '../helpers/test-files.ts'
import { A, CHUNK, makeDisk, put, repairs, tree } from './repair-macro.ts'

const BOOT_ID = '/proc/sys/kernel/random/boot_id'

test(
  'a directory that is missing may not be mounted',
  repairs,
  {},
  (folder) => fs.rmdirSync(folder.path('q')),
  { left: [['part: q', /mount what holds it; if it never held a chunk, --create-parts/]] },
)

test(
  'while a directory is missing it is not known which file of a chunk is right',
  repairs,
  {},
  (folder) => {
    folder.make('a', {
      size: 8 * CHUNK,
      chunkSize: CHUNK,
      parent: 'base',
      parts: { q: 8, p: 8, r: 8 },
    })
    fs.rmdirSync(folder.path('r'))
    for (const name of ['p/chunk1', 'q/chunk1']) put(folder, name, A)
  },
  {
    left: [
      ['duplicate-chunk: p/chunk1', /repair again when what kept this from being mended/],
      ['part: r', /mount what holds it/],
    ],
    p: ['chunk1 4096'],
  },
)

test(
  'a directory that is missing is made if asked for, and then it is known',
  repairs,
  { createParts: true },
  (folder) => {
    fs.rmdirSync(folder.path('q'))
    for (const name of ['p/chunk1', 'p/CHUNK1']) put(folder, name, A)
  },
  {
    mends: ['part: q: mended', 'duplicate-chunk: p/chunk1: mended'],
    p: ['.chunknbd-aside/chunk1 4096', 'CHUNK1 4096'],
    q: [],
  },
)

test(
  'a directory that is missing is made if asked for',
  repairs,
  { createParts: true },
  (folder) => {
    fs.rmdirSync(folder.path('q'))
    put(folder, 'p/chunk1', A)
  },
  { mends: ['part: q: mended'], q: [] },
)

test(
  'a directory is not made before one that has chunks',
  repairs,
  { createParts: true },
  (folder) => {
    fs.rmdirSync(folder.path('p'))
    put(folder, 'q/chunk1', A)
  },
  { left: [['part: p', /q has chunks, and takes some only when this one is full: mount/]] },
)

test(
  'a directory is not made in one that is missing',
  repairs,
  { createParts: true },
  (folder) =>
    folder.make('a', { size: 8 * CHUNK, chunkSize: CHUNK, parent: 'base', parts: { 'm/q': 8 } }) &&
    fs.rmSync(folder.path('m'), { recursive: true }),
  { left: [['part: m/q', /\/m is missing too: mount what holds it/]] },
)

test(
  'a part that is no directory is left',
  repairs,
  { createParts: true },
  (folder) => {
    fs.rmdirSync(folder.path('q'))
    put(folder, 'q', '')
  },
  { left: [['part: q', /make it a directory that can be read/]] },
)

const foreign = (folder: DiskFolder): void => {
  put(folder, 'p/.lock', '')
  put(folder, 'p/chunk8', A)
}

test("chunkdisk's lock stops everything", repairs, {}, foreign, {
  left: [
    ['foreign-lock: p/.lock', /give --remove-foreign-lock if neither is so\. Nothing was mended/],
    ['orphan: p/chunk8', /repair again when/],
  ],
  p: ['.lock 0', 'chunk8 4096'],
})

test("chunkdisk's lock is removed if asked for", repairs, { removeForeignLock: true }, foreign, {
  mends: ['foreign-lock: p/.lock: mended', 'orphan: p/chunk8: mended'],
  p: ['.chunknbd-aside/chunk8 4096'],
})

test("while chunkdisk's lock cannot be removed nothing else is done", async (t) => {
  const folder = makeDisk(t)
  foreign(folder)
  const files = new TestFiles(nodeFiles())
  files.fault = (call) => (call === 'remove .lock' ? 1 : 0)
  const file = folder.path('a.chunkdisk')
  const { mends } = await repairDisk(files, file, { removeForeignLock: true })
  t.is(mends.length, 1)
  t.like(mends[0], { rule: 'foreign-lock', outcome: 'failed' })
  t.regex(mends[0].message, /^cannot remove it: EPERM/)
  t.deepEqual(tree(folder, 'p'), ['.lock 0', 'chunk8 4096'])
})

const lockOf =
  (access: 'read' | 'write', host: string) =>
  (folder: DiskFolder): void => {
    const boot = host === os.hostname() ? fs.readFileSync(BOOT_ID, 'utf8').trim() : 'another'
    const lock = { program: 'chunknbd', access, host, machine: '', boot, process: 7, id: 'x' }
    put(folder, 'p/.lock', JSON.stringify(lock))
    put(folder, 'p/chunk8', A)
  }

test('a lock file left behind is removed', repairs, {}, lockOf('write', os.hostname()), {
  mends: ['stale-lock: p/.lock: mended', 'orphan: p/chunk8: mended'],
  p: ['.chunknbd-aside/chunk8 4096'],
})

test("another machine's lock file stops everything", repairs, {}, lockOf('write', 'nas'), {
  left: [
    ['foreign-lock: p/.lock', /^nas is writing to the disk \(process 7\); give --remove-foreign/],
    ['orphan: p/chunk8', /repair again when/],
  ],
})

test('the lock file of a base stops everything', repairs, {}, lockOf('read', os.hostname()), {
  left: [
    ['foreign-lock: p/.lock', /served the disk for reading, .* give --remove-foreign-lock when/],
    ['orphan: p/chunk8', /repair again when/],
  ],
})

const removed = { mends: ['foreign-lock: p/.lock: mended', 'orphan: p/chunk8: mended'] }
const remove = { removeForeignLock: true }
test('the lock file of a base is removed if asked for', repairs, remove, lockOf('read', 'nas'), {
  ...removed,
  p: ['.chunknbd-aside/chunk8 4096'],
})

const parentBroken = (folder: DiskFolder): void => {
  fs.rmSync(folder.path('base.chunkdisk'))
  put(folder, 'p/chunk8', A)
}

test('without its parent nothing is mended', repairs, {}, parentBroken, {
  left: [
    ['orphan: p/chunk8', /repair again when/],
    ['parent-mismatch: base.chunkdisk', /bring the parent back.*until then nothing is mended/],
  ],
  p: ['chunk8 4096'],
})

const partTwice = (folder: DiskFolder): void => {
  const shape = { size: 8 * CHUNK, chunkSize: CHUNK, parent: 'base' }
  folder.make('a', { ...shape, parts: { p: 8, 'q/../p': 8 } })
  put(folder, 'p/chunk8', A)
}

test('where a directory is named twice nothing is mended', repairs, {}, partTwice, {
  left: [
    ['orphan: p/chunk8', /repair again when/],
    ['duplicate-part: p', /directories of its own; until then nothing is mended/],
  ],
  p: ['chunk8 4096'],
})

const descriptorBroken = (folder: DiskFolder): void => {
  put(folder, 'a.chunkdisk', '1M\n')
  put(folder, 'p/chunk8', A)
}

test('without a good descriptor nothing is mended', repairs, {}, descriptorBroken, {
  left: [['descriptor: a.chunkdisk', /correct the descriptor; until then nothing is mended/]],
  p: ['chunk8 4096'],
})

test('a disk that is in use is not repaired, by whomever', async (t) => {
  const folder = makeDisk(t)
  put(folder, 'base/chunk8', A)
  put(folder, 'p/chunk8', A)
  const { disk } = await folder.open('a')
  for (const name of ['a', 'base']) {
    for (const dryRun of [false, true]) {
      const repairing = repairDisk(nodeFiles(), folder.path(`${name}.chunkdisk`), { dryRun })
      const error = await t.throwsAsync(repairing, { instanceOf: DiskError, code: 'EINUSE' })
      t.regex(error.message, /\.chunkdisk cannot be opened for writing: it is in use by/)
    }
  }
  await disk.close()
  const other = await folder.open('a', { readOnly: true })
  const repairing = repairDisk(nodeFiles(), folder.path('a.chunkdisk'))
  await t.throwsAsync(repairing, { code: 'EINUSE' })
  await other.disk.close()
  t.deepEqual(tree(folder, 'p'), ['chunk8 4096'])
  t.deepEqual(tree(folder, 'base'), ['chunk0 4096', 'chunk8 4096'])
})
