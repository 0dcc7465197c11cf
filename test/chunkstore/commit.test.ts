import fs from 'node:fs'
import path from 'node:path'
import test from 'ava'
import { commitDisk } from '../../chunkstore/commit.ts'
import { DiskFolder, nodeFiles, plainFiles, sameAsImage } from '../helpers/chunk-disk.ts'
import { Random, seedFor } from '../helpers/random.ts'
import { TestFiles } from '../helpers/test-files.ts'
import { CHUNK, RandomChain } from './random-chain.ts'

const EIO = 5
const EXDEV = 18
const ROUNDS = 10

/** Chunk files cannot be renamed from one part to another, as between file systems. */
const apart = (call: string): number => (/^rename chunk/i.test(call) ? EXDEV : 0)
const together = (): number => 0

for (const [title, fault] of [
  ['renamed', together],
  ['copied', apart],
] as const) {
  test(`a commit leaves parent and child reading as the child did: ${title}`, async (t) => {
    const random = new Random(seedFor(t))
    for (let round = 0; round < ROUNDS; round++) {
      const chain = new RandomChain(t, random)
      const files = new TestFiles(round % 2 === 0 ? nodeFiles() : plainFiles())
      files.syncs = false
      files.fault = fault
      const expected = chain.files('child').length
      const result = await commitDisk(files, chain.folder.path('child.chunkdisk'))
      t.deepEqual(result, {
        file: chain.folder.path('child.chunkdisk'),
        parent: chain.folder.path('mid.chunkdisk'),
        moved: title === 'renamed' ? expected : 0,
        copied: title === 'renamed' ? 0 : expected,
      })
      t.deepEqual(chain.files('child'), [])
      await chain.reads('mid', chain.image('child'))
      await chain.reads('child', chain.image('child'))
      await chain.reads('base', chain.image('base'))
      t.is(files.openNames.size, 0)
      t.deepEqual(chain.folder.openDescriptors(), [])
    }
  })

  test(`a commit interrupted at any call is finished by another: ${title}`, async (t) => {
    const random = new Random(seedFor(t))
    for (let n = 1; ; n++) {
      const chain = new RandomChain(t, random, 5)
      const file = chain.folder.path('child.chunkdisk')
      const files = new TestFiles(nodeFiles())
      files.syncs = false
      let count = 0
      files.fault = (call) => (++count >= n ? EIO : fault(call))
      const error = await commitDisk(files, file).then(
        () => null,
        (thrown: Error) => thrown,
      )
      await chain.reads('child', chain.image('child'))
      await chain.reads('base', chain.image('base'))
      if (error === null && count < n) {
        t.true(n > 30, `${n} calls`)
        return
      }
      files.fault = fault
      await commitDisk(files, file)
      await chain.reads('mid', chain.image('child'))
      t.deepEqual(chain.files('child'), [])
      t.false(chain.files('mid').some((name) => name.startsWith('.tmp')))
    }
  })
}

async function makePair(t: Parameters<typeof seedFor>[0]): Promise<DiskFolder> {
  const folder = new DiskFolder(t)
  folder.make('base', { size: 4 * CHUNK, chunkSize: CHUNK })
  folder.make('child', { size: 4 * CHUNK, chunkSize: CHUNK, parent: 'base' })
  fs.writeFileSync(folder.path('base', 'chunk0'), new Uint8Array(CHUNK).fill(1))
  fs.writeFileSync(folder.path('child', 'chunk0'), new Uint8Array(CHUNK).fill(2))
  fs.writeFileSync(folder.path('child', 'chunk3'), new Uint8Array(CHUNK).fill(3))
  return folder
}

const commit = (folder: DiskFolder, files = nodeFiles()) =>
  commitDisk(files, folder.path('child.chunkdisk'))

test('data is synced before its file replaces another, the names afterwards', async (t) => {
  const folder = await makePair(t)
  const files = new TestFiles(nodeFiles())
  await commitDisk(files, folder.path('child.chunkdisk'))
  t.deepEqual(files.take(/^(sync|rename|syncDirectory|remove) /), [
    'syncDirectory child',
    'syncDirectory base',
    'sync chunk0',
    'rename chunk0 chunk0',
    'sync chunk3',
    'rename chunk3 chunk3',
    'syncDirectory base',
    'syncDirectory child',
  ])
})

test("a copy is durable in the parent before the child's is removed", async (t) => {
  const folder = await makePair(t)
  const files = new TestFiles(nodeFiles())
  files.fault = apart
  await commitDisk(files, folder.path('child.chunkdisk'))
  const calls = files.take(/^(sync|rename|syncDirectory|remove) /)
  t.deepEqual(calls.slice(2, 8), [
    'sync chunk0',
    'rename chunk0 chunk0',
    'sync .tmp-chunk0',
    'rename .tmp-chunk0 chunk0',
    'syncDirectory base',
    'remove chunk0',
  ])
})

test('a commit is refused while the disk or its parent is in use, and by whom', async (t) => {
  const folder = await makePair(t)
  for (const [name, options] of [
    ['child', {}],
    ['child', { readOnly: true }],
    ['base', {}],
    ['base', { readOnly: true }],
  ] as const) {
    const { disk } = await folder.open(name, options)
    await t.throwsAsync(commit(folder), { code: 'EINUSE', message: /in use by this process/ })
    await disk.close()
  }
  t.deepEqual(folder.list('child'), ['chunk0 8192', 'chunk3 8192'])
})

test('while a commit runs nobody can open the disk or its parent', async (t) => {
  const folder = await makePair(t)
  const files = new TestFiles(nodeFiles())
  const hold = files.hold(/^rename chunk3/)
  const running = commitDisk(files, folder.path('child.chunkdisk'))
  await hold.reached
  for (const name of ['child', 'base']) {
    for (const readOnly of [true, false]) {
      await t.throwsAsync(folder.open(name, { readOnly }), { code: 'EINUSE' })
    }
  }
  hold.release()
  t.like(await running, { moved: 2 })
})

test('a grandparent may be read by others during a commit, not written', async (t) => {
  const chain = new RandomChain(t, new Random(seedFor(t)))
  const file = chain.folder.path('child.chunkdisk')
  const writer = await chain.folder.open('base')
  await t.throwsAsync(commitDisk(nodeFiles(), file), { code: 'EINUSE' })
  await writer.disk.close()
  await chain.folder.open('base', { readOnly: true })
  await commitDisk(nodeFiles(), file)
  await chain.reads('mid', chain.image('child'))
})

for (const place of ['child', 'base']) {
  test(`chunkdisk's lock file in the ${place} stops a commit`, async (t) => {
    const folder = await makePair(t)
    fs.writeFileSync(folder.path(place, '.lock'), '')
    const message = new RegExp(`/${place}/\\.lock exists.* remove the file`)
    await t.throwsAsync(commit(folder), { code: 'EINUSE', message })
    t.deepEqual(folder.list('child').slice(-2), ['chunk0 8192', 'chunk3 8192'])
  })
}

test('a damaged chunk stops a commit before anything is moved', async (t) => {
  const folder = await makePair(t)
  fs.writeFileSync(folder.path('child', 'chunk3'), 'short')
  const message = /child\/chunk3 is damaged; "chunknbd check"/
  await t.throwsAsync(commit(folder), { code: 'EPART', message })
  t.deepEqual(folder.list('child'), ['chunk0 8192', 'chunk3 5'])
})

test('a part that cannot be written stops a commit before anything is moved', async (t) => {
  for (const place of ['child', 'base']) {
    const folder = await makePair(t)
    const files = new TestFiles(nodeFiles())
    files.fault = (call) => (call === `abilities ${place}` ? EIO : 0)
    const message = new RegExp(`/${place} cannot be written`)
    await t.throwsAsync(commitDisk(files, folder.path('child.chunkdisk')), { message })
    t.deepEqual(folder.list('child'), ['chunk0 8192', 'chunk3 8192'])
  }
})

test('a disk without a parent has nothing to be committed to', async (t) => {
  const folder = await makePair(t)
  const committed = commitDisk(nodeFiles(), folder.path('base.chunkdisk'))
  await t.throwsAsync(committed, { code: 'ECHAIN', message: /base\.chunkdisk: it has no parent/ })
})

test('another child beside it stops a commit unless that is accepted', async (t) => {
  const folder = await makePair(t)
  folder.make('other', { size: 4 * CHUNK, chunkSize: CHUNK, parent: 'base' })
  fs.mkdirSync(folder.path('odd.chunkdisk'))
  fs.writeFileSync(folder.path('not.chunkdisk'), 'no descriptor')
  folder.make('stranger')
  const message = /^\S+\/other\.chunkdisk: stands on .*base\.chunkdisk too.* --break-siblings$/
  await t.throwsAsync(commit(folder), { code: 'ECHAIN', message })
  t.deepEqual(folder.list('child'), ['chunk0 8192', 'chunk3 8192'])
  const file = folder.path('child.chunkdisk')
  t.like(await commitDisk(nodeFiles(), file, { breakSiblings: true }), { moved: 2 })
})

test('a child that has a child itself can be committed, and that one reads the same', async (t) => {
  const chain = new RandomChain(t, new Random(seedFor(t)))
  await commitDisk(nodeFiles(), chain.folder.path('mid.chunkdisk'))
  t.deepEqual(chain.files('mid'), [])
  await chain.reads('child', chain.image('child'))
  await chain.reads('base', chain.image('mid'))
})

test('a chunk that is a symbolic link is copied, not moved', async (t) => {
  const folder = await makePair(t)
  fs.renameSync(folder.path('child', 'chunk3'), folder.path('elsewhere'))
  fs.symlinkSync('../elsewhere', folder.path('child', 'chunk3'))
  t.like(await commit(folder), { moved: 1, copied: 1 })
  t.true(fs.lstatSync(folder.path('base', 'chunk3')).isFile())
  const { client } = await folder.open('base', { readOnly: true })
  t.is((await client.read(3 * CHUNK, 1))[0], 3)
})

test('between two file systems chunks are copied, new ones stay where they are', async (t) => {
  const folder = await makePair(t)
  const memory = fs.mkdtempSync('/dev/shm/chunknbd-')
  t.teardown(() => fs.rmSync(memory, { recursive: true }))
  if (fs.statSync(memory).dev === fs.statSync(folder.directory).dev) {
    t.log('skipped: /dev/shm and the temporary directory are one file system')
    t.pass()
    return
  }
  const child = path.join(memory, 'child')
  const base = path.join(memory, 'base')
  for (const each of [child, base]) fs.mkdirSync(each)
  fs.writeFileSync(folder.path('base.chunkdisk'), `${4 * CHUNK}\n${CHUNK}\n9 base\n9 ${base}\n`)
  fs.writeFileSync(
    folder.path('child.chunkdisk'),
    `base.chunkdisk\n${4 * CHUNK}\n${CHUNK}\n9 ${child}\n`,
  )
  fs.writeFileSync(path.join(child, 'chunk0'), new Uint8Array(CHUNK).fill(2))
  fs.writeFileSync(path.join(child, 'chunk1'), '')
  fs.writeFileSync(path.join(child, 'chunk3'), new Uint8Array(CHUNK).fill(3))
  t.like(await commit(folder), { moved: 2, copied: 1 })
  t.deepEqual(folder.list('base'), ['chunk0 8192'])
  t.deepEqual(fs.readdirSync(base).sort(), ['chunk1', 'chunk3'])
  t.deepEqual(fs.readdirSync(child), [])
  const { client } = await folder.open('base', { readOnly: true })
  const image = new Uint8Array(4 * CHUNK).fill(2, 0, CHUNK).fill(3, 3 * CHUNK)
  await sameAsImage(client, image)
})
