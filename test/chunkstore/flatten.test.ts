import fs from 'node:fs'
import test from 'ava'
import type { ExecutionContext } from 'ava'
import { flattenDisk } from '../../chunkstore/flatten.ts'
import { DiskFolder, nodeFiles, plainFiles } from '../helpers/chunk-disk.ts'
import { Random, seedFor } from '../helpers/random.ts'
import { TestFiles } from '../helpers/test-files.ts'
import { CHUNK, RandomChain } from './random-chain.ts'

const EIO = 5
const ROUNDS = 10

/** The disk alone, without what stood below it. */
async function readsAlone(chain: RandomChain): Promise<void> {
  for (const name of ['base', 'mid']) {
    fs.renameSync(chain.folder.path(`${name}.chunkdisk`), chain.folder.path(`${name}.gone`))
  }
  await chain.reads('child', chain.image('child'))
}

test('a flattened disk reads as before without its parents, which are as they were', async (t) => {
  const random = new Random(seedFor(t))
  for (let round = 0; round < ROUNDS; round++) {
    const chain = new RandomChain(t, random)
    const { folder } = chain
    const parents = () => ['base1', 'base2', 'mid1', 'mid2'].map((part) => folder.fingerprint(part))
    const before = parents()
    const own = chain.files('child')
    const files = new TestFiles(round % 2 === 0 ? nodeFiles() : plainFiles())
    files.syncs = false
    const { copied, ...named } = await flattenDisk(files, folder.path('child.chunkdisk'))
    t.deepEqual(named, {
      file: folder.path('child.chunkdisk'),
      parent: folder.path('mid.chunkdisk'),
    })
    t.deepEqual(parents(), before)
    t.is(chain.files('child').length, own.length + copied)
    t.deepEqual(folder.openDescriptors(), [])
    await readsAlone(chain)
  }
})

test('a flatten interrupted at any call is finished by another', async (t) => {
  const random = new Random(seedFor(t))
  for (let n = 1; ; n++) {
    const chain = new RandomChain(t, random, 5)
    const file = chain.folder.path('child.chunkdisk')
    const files = new TestFiles(nodeFiles())
    files.syncs = false
    let count = 0
    files.fault = () => (++count >= n ? EIO : 0)
    const failed = await flattenDisk(files, file).then(
      () => false,
      () => true,
    )
    await chain.reads('child', chain.image('child'))
    if (!failed) {
      await readsAlone(chain)
      t.true(n > 30, `${n} calls`)
      return
    }
    files.fault = () => 0
    await flattenDisk(files, file)
    t.false(chain.files('child').some((name) => name.startsWith('.tmp')))
    await readsAlone(chain)
  }
})

async function makePair(t: ExecutionContext): Promise<DiskFolder> {
  const folder = new DiskFolder(t)
  folder.make('base', { size: 4 * CHUNK, chunkSize: CHUNK })
  folder.make('child', { size: 4 * CHUNK, chunkSize: CHUNK, parent: 'base' })
  fs.writeFileSync(folder.path('base', 'chunk0'), new Uint8Array(CHUNK).fill(1))
  fs.writeFileSync(folder.path('base', 'chunk1'), new Uint8Array(CHUNK).fill(1))
  fs.writeFileSync(folder.path('child', 'chunk1'), '')
  return folder
}

const flatten = (folder: DiskFolder, files = nodeFiles()) =>
  flattenDisk(files, folder.path('child.chunkdisk'))

test('all is durable before the descriptor lets go of the parent', async (t) => {
  const folder = await makePair(t)
  const files = new TestFiles(nodeFiles())
  await flattenDisk(files, folder.path('child.chunkdisk'))
  t.deepEqual(files.take(/^(sync|rename|syncDirectory|replaceText) /), [
    'syncDirectory child',
    'sync .tmp-chunk0',
    'rename .tmp-chunk0 chunk0',
    'syncDirectory child',
    'replaceText child.chunkdisk',
  ])
  t.deepEqual(folder.list('child'), ['chunk0 8192', 'chunk1 0'])
})

test('only the line of the parent leaves the descriptor', async (t) => {
  const folder = await makePair(t)
  const file = folder.path('child.chunkdisk')
  const rest = `\r\n# sizes\r\n${4 * CHUNK}\r\n${CHUNK}\r\n# parts\r\n9 child`
  fs.writeFileSync(file, `# a child\r\nbase.chunkdisk${rest}`, { mode: 0o640 })
  fs.chmodSync(file, 0o640)
  await flatten(folder)
  t.is(fs.readFileSync(file, 'utf8'), `# a child${rest}`)
  t.is(fs.statSync(file).mode & 0o777, 0o640)
  t.deepEqual(
    fs.readdirSync(folder.directory).filter((name) => name.startsWith('.tmp')),
    [],
  )
})

test('a descriptor that is a symbolic link is rewritten where it leads', async (t) => {
  const folder = await makePair(t)
  fs.renameSync(folder.path('child.chunkdisk'), folder.path('real'))
  fs.symlinkSync('real', folder.path('child.chunkdisk'))
  await flatten(folder)
  t.true(fs.lstatSync(folder.path('child.chunkdisk')).isSymbolicLink())
  t.is(fs.readFileSync(folder.path('real'), 'utf8'), `${4 * CHUNK}\n${CHUNK}\n1000000 child\n`)
})

test('copies fill the parts in the order of the descriptor, as new chunks do', async (t) => {
  const folder = await makePair(t)
  fs.unlinkSync(folder.path('child', 'chunk1'))
  folder.make('child', {
    size: 4 * CHUNK,
    chunkSize: CHUNK,
    parent: 'base',
    parts: { child: 1, more: 9 },
  })
  await flatten(folder)
  t.deepEqual(folder.list('child'), ['chunk0 8192'])
  t.deepEqual(folder.list('more'), ['chunk1 8192'])
})

test('a disk in use is not flattened; parents may be read by others', async (t) => {
  const folder = await makePair(t)
  const { disk } = await folder.open('child')
  await t.throwsAsync(flatten(folder), { code: 'EINUSE' })
  await disk.close()
  const base = await folder.open('base')
  await t.throwsAsync(flatten(folder), { code: 'EINUSE' })
  await base.disk.close()
  await folder.open('base', { readOnly: true })
  t.like(await flatten(folder), { copied: 1 })
})

test('a disk without a parent is independent already', async (t) => {
  const folder = await makePair(t)
  const flattened = flattenDisk(nodeFiles(), folder.path('base.chunkdisk'))
  const message = /base\.chunkdisk: it has no parent, it is independent already/
  await t.throwsAsync(flattened, { code: 'ECHAIN', message })
})

test("a parent's damaged chunk is refused before anything is copied, unless hidden", async (t) => {
  const folder = await makePair(t)
  fs.writeFileSync(folder.path('base', 'chunk1'), 'short')
  fs.writeFileSync(folder.path('base', 'chunk3'), 'short')
  await t.throwsAsync(flatten(folder), { code: 'EPART', message: /base\/chunk3 is damaged/ })
  t.deepEqual(folder.list('child'), ['chunk1 0'])
  fs.unlinkSync(folder.path('base', 'chunk3'))
  t.like(await flatten(folder), { copied: 1 })
})

test('where space runs out the disk reads as before, and another try goes on', async (t) => {
  const folder = await makePair(t)
  fs.writeFileSync(folder.path('base', 'chunk2'), new Uint8Array(CHUNK).fill(1))
  const files = new TestFiles(nodeFiles())
  files.fault = (call) => (call.startsWith('write .tmp-chunk2') ? 28 : 0)
  const flattened = flattenDisk(files, folder.path('child.chunkdisk'))
  await t.throwsAsync(flattened, { message: /^writing .*chunk2: ENOSPC: no space/ })
  t.deepEqual(folder.list('child'), ['chunk0 8192', 'chunk1 0'])
  t.like(await flatten(folder), { copied: 1 })
  t.deepEqual(folder.list('child'), ['chunk0 8192', 'chunk1 0', 'chunk2 8192'])
})

test('a descriptor that a flatten replaced is not taken for the locked one', async (t) => {
  for (const readOnly of [false, true]) {
    const folder = await makePair(t)
    const files = new TestFiles(nodeFiles())
    const hold = files.hold(/^lock child\.chunkdisk/)
    const opening = folder.open('child', { readOnly }, files)
    await hold.reached
    await flatten(folder)
    hold.release()
    const message = /child\.chunkdisk was changed by somebody else just now; try again/
    await t.throwsAsync(opening, { code: 'EINUSE', message })
    t.deepEqual(folder.openDescriptors(), [])
  }
})
