/** `repair` removes empty chunk files where they say nothing that their absence does not. */
import fs from 'node:fs'
import test from 'ava'
import type { ExecutionContext } from 'ava'
import { repairDisk } from '../../chunkstore/repair.ts'
import { DiskFolder, nodeFiles, sameAsImage } from '../helpers/chunk-disk.ts'
import { TestFiles } from '../helpers/test-files.ts'
import { A, B, CHUNK, EMPTY, put } from './repair-macro.ts'

const EIO = 5
const REMOVE = { removeEmpty: true }

/** Chunks 0 and 5 are full, 1, 4 and 6 empty. */
function makeBase(t: ExecutionContext): DiskFolder {
  const folder = new DiskFolder(t)
  folder.make('base', { size: 8 * CHUNK, chunkSize: CHUNK, parts: { p: 8, q: 8 } })
  for (const name of ['p/chunk1', 'q/CHUNK4', 'q/chunk6']) put(folder, name, EMPTY)
  put(folder, 'p/chunk0', A)
  put(folder, 'q/chunk5', B)
  return folder
}

const IMAGE = Buffer.from(A + '\0'.repeat(4 * CHUNK) + B + '\0'.repeat(2 * CHUNK), 'latin1')

async function reads(folder: DiskFolder, name: string): Promise<void> {
  const { client, disk } = await folder.open(name, { readOnly: true })
  await sameAsImage(client, IMAGE)
  await disk.close()
}

test('empty chunk files of a disk without a parent are removed if asked for', async (t) => {
  const folder = makeBase(t)
  folder.make('child', { size: 8 * CHUNK, chunkSize: CHUNK, parent: 'base' })
  const file = folder.path('base.chunkdisk')
  t.deepEqual(await repairDisk(nodeFiles(), file), { mends: [], findings: [] })
  const planned = await repairDisk(nodeFiles(), file, { ...REMOVE, dryRun: true })
  const { mends, findings } = await repairDisk(nodeFiles(), file, REMOVE)
  t.deepEqual(findings, [])
  const paths = ['p/chunk1', 'q/CHUNK4', 'q/chunk6'].map((name) => folder.path(name))
  for (const list of [planned.mends, mends])
    t.deepEqual(list.map((each) => each.file).sort(), paths)
  t.like(mends[0], { rule: 'empty-chunk', outcome: 'mended' })
  t.deepEqual(folder.list('p'), ['chunk0 4096'])
  t.deepEqual(folder.list('q'), ['chunk5 4096'])
  await reads(folder, 'base')
  await reads(folder, 'child')
  t.deepEqual(await repairDisk(nodeFiles(), file, REMOVE), { mends: [], findings: [] })
})

test('those of a child stay: they hide what the parent has', async (t) => {
  const folder = makeBase(t)
  folder.make('child', { size: 8 * CHUNK, chunkSize: CHUNK, parent: 'base' })
  put(folder, 'child/chunk0', EMPTY)
  put(folder, 'child/chunk8', A)
  const message = /child\.chunkdisk: its empty chunks hide what the parent has; commit or flatten/
  const repairing = repairDisk(nodeFiles(), folder.path('child.chunkdisk'), REMOVE)
  await t.throwsAsync(repairing, { code: 'ECHAIN', message })
  t.deepEqual(folder.list('child'), ['chunk0 0', 'chunk8 4096'])
})

test('a doubled empty file stays, as does all while a part is missing', async (t) => {
  const folder = makeBase(t)
  const file = folder.path('base.chunkdisk')
  // Newer than the full one: a person decides.
  put(folder, 'p/chunk5', EMPTY, 0)
  const { mends } = await repairDisk(nodeFiles(), file, REMOVE)
  t.is(mends.length, 3)
  t.deepEqual(folder.list('p'), ['chunk0 4096', 'chunk5 0'])
  put(folder, 'p/chunk1', EMPTY)
  fs.renameSync(folder.path('q'), folder.path('away'))
  t.deepEqual((await repairDisk(nodeFiles(), file, REMOVE)).mends, [])
  t.deepEqual(folder.list('p'), ['chunk0 4096', 'chunk1 0', 'chunk5 0'])
})

test('interrupted at any call, the disk reads the same, and the next one ends it', async (t) => {
  for (let n = 1; ; n++) {
    const folder = makeBase(t)
    const files = new TestFiles(nodeFiles())
    let count = 0
    files.fault = () => (++count >= n ? EIO : 0)
    const done = await repairDisk(files, folder.path('base.chunkdisk'), REMOVE).catch(() => null)
    await reads(folder, 'base')
    if (done !== null && count < n) {
      t.true(n > 10)
      return
    }
    await repairDisk(nodeFiles(), folder.path('base.chunkdisk'), REMOVE)
    t.deepEqual([...folder.list('p'), ...folder.list('q')], ['chunk0 4096', 'chunk5 4096'])
    t.deepEqual(folder.openDescriptors(), [])
  }
})
