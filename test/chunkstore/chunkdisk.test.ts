/** What chunkdisk 1.6 promises its users, and no other test shows. See docs/chunkdisk.md. */
import fs from 'node:fs'
import test from 'ava'
import { sameBytes } from '../helpers/bytes.ts'
import { DiskFolder, nodeFiles, sameAsImage } from '../helpers/chunk-disk.ts'
import { Random, seedFor } from '../helpers/random.ts'
import { TestFiles } from '../helpers/test-files.ts'

const CHUNK = 65_536
const PAGE = 4096
const ENOSPC = 28

const filled = (length: number, value = 7): Uint8Array => new Uint8Array(length).fill(value)

test('the descriptor is read once: it may be changed or deleted afterwards', async (t) => {
  const folder = new DiskFolder(t)
  const file = folder.make('a')
  const { client, disk } = await folder.open('a')
  fs.writeFileSync(file, 'something else')
  await client.write(0, filled(PAGE))
  fs.unlinkSync(file)
  await client.write(CHUNK, filled(PAGE))
  sameBytes(t, await client.read(0, PAGE), filled(PAGE))
  await disk.close()
  t.deepEqual(folder.list('a'), ['chunk0 65536', 'chunk1 65536'])
})

test('an empty chunk made beforehand pins where the chunk will be', async (t) => {
  const folder = new DiskFolder(t)
  folder.make('a', { parts: { first: 99, second: 99 } })
  fs.writeFileSync(folder.path('second', 'chunk3'), '')
  const { client } = await folder.open('a')
  await client.write(2 * CHUNK, filled(2 * CHUNK))
  t.deepEqual(folder.list('first'), ['chunk2 65536'])
  t.deepEqual(folder.list('second'), ['chunk3 65536'])
  sameBytes(t, await client.read(2 * CHUNK, 2 * CHUNK), filled(2 * CHUNK))
})

test('chunk files may be moved between parts while nobody serves the disk', async (t) => {
  const folder = new DiskFolder(t)
  folder.make('a', { parts: { first: 99, second: 99 } })
  const random = new Random(seedFor(t))
  const image = random.bytes(2 ** 20)
  const { client, disk } = await folder.open('a')
  await client.write(0, image)
  await disk.close()
  for (let index = 0; index < 16; index += 3) {
    fs.renameSync(folder.path('first', `chunk${index}`), folder.path('second', `chunk${index}`))
  }
  const again = await folder.open('a')
  await sameAsImage(again.client, image)
  await again.client.write(3 * CHUNK, filled(PAGE))
  t.is(folder.list('second').length, 6)
  t.is(folder.list('first').length, 10)
})

test('an earlier part is filled before a later one again when it has room', async (t) => {
  const folder = new DiskFolder(t)
  folder.make('a', { parts: { first: 2, second: 99 } })
  const { client, disk } = await folder.open('a')
  await client.write(0, filled(3 * CHUNK))
  await disk.close()
  fs.renameSync(folder.path('first', 'chunk0'), folder.path('second', 'chunk0'))
  const again = await folder.open('a')
  await again.client.write(5 * CHUNK, filled(2 * CHUNK))
  t.deepEqual(folder.list('first'), ['chunk1 65536', 'chunk5 65536'])
  t.deepEqual(folder.list('second'), ['chunk0 65536', 'chunk2 65536', 'chunk6 65536'])
})

test('no chunk file is ever deleted, and none that nothing needs is made', async (t) => {
  const folder = new DiskFolder(t)
  folder.make('base')
  folder.make('a', { parent: 'base' })
  const base = await folder.open('base')
  await base.client.write(CHUNK, filled(CHUNK))
  await base.disk.close()
  const files = new TestFiles(nodeFiles())
  const { client, disk } = await folder.open('a', {}, files)
  await client.write(0, filled(2 * CHUNK))
  await client.trim(0, disk.size)
  await client.zero(0, disk.size)
  await client.write(0, filled(PAGE))
  await client.trim(0, disk.size)
  t.deepEqual(files.take(/^remove/), [])
  await disk.close()
  t.deepEqual(folder.list('a'), ['chunk0 0', 'chunk1 0'])
})

test('a file is of use to other programs: written chunks have a new time', async (t) => {
  const folder = new DiskFolder(t)
  folder.make('a')
  fs.writeFileSync(folder.path('a', 'chunk0'), filled(CHUNK))
  fs.utimesSync(folder.path('a', 'chunk0'), 1, 1)
  const first = await folder.open('a')
  await first.client.read(0, CHUNK)
  await first.disk.close()
  t.is(fs.statSync(folder.path('a', 'chunk0')).mtimeMs, 1000)
  const second = await folder.open('a')
  await second.client.write(0, filled(PAGE))
  await second.disk.close()
  t.true(fs.statSync(folder.path('a', 'chunk0')).mtimeMs > 1000)
})

// Bugs that chunkdisk had, by the release that mended them.

test('the parts are read at the start only: every place is known from then on', async (t) => {
  const folder = new DiskFolder(t)
  folder.make('base', { parts: { b: 16 } })
  folder.make('a', { parent: 'base', parts: { p: 2, q: 2, r: 16 } })
  for (const [part, index] of [
    ['b', 0],
    ['p', 1],
    ['r', 2],
  ] as const) {
    fs.writeFileSync(folder.path(part, `chunk${index}`), filled(CHUNK, index))
  }
  const files = new TestFiles(nodeFiles())
  const { client, disk } = await folder.open('a', { openFilesMax: 1 }, files)
  t.deepEqual(files.take(/^list/), ['list p', 'list q', 'list r', 'list b'])
  for (let index = 0; index < 16; index++) {
    t.is((await client.read(index * CHUNK, PAGE))[0], index < 3 ? index : 0)
    await client.write(index * CHUNK, filled(PAGE))
  }
  await client.trim(0, disk.size)
  t.deepEqual(files.take(/^list/), [])
  t.is(folder.list('p').length + folder.list('q').length, 4)
})

test('what has no data anywhere is zeros, and no file is asked', async (t) => {
  const folder = new DiskFolder(t)
  folder.make('base')
  folder.make('a', { parent: 'base' })
  fs.writeFileSync(folder.path('base', 'chunk3'), '')
  fs.writeFileSync(folder.path('base', 'chunk4'), filled(CHUNK))
  fs.writeFileSync(folder.path('a', 'chunk4'), '')
  const files = new TestFiles(nodeFiles())
  const { client, disk } = await folder.open('a', {}, files)
  files.take()
  sameBytes(t, await client.read(0, disk.size), filled(disk.size, 0))
  t.deepEqual(files.take(), [])
})

test('a new file is made exclusively, and removed if it cannot be sized', async (t) => {
  const folder = new DiskFolder(t)
  folder.make('a')
  const files = new TestFiles(nodeFiles())
  const { client } = await folder.open('a', {}, files)
  files.fault = (call) => (call.startsWith('truncate') ? ENOSPC : 0)
  await t.throwsAsync(client.write(0, filled(PAGE)), { message: /errno 28 at 0/ })
  t.deepEqual(folder.list('a'), [])
  files.fault = () => 0
  fs.writeFileSync(folder.path('a', 'chunk0'), 'of somebody else')
  await t.throwsAsync(client.write(0, filled(PAGE)), { message: /at 0/ })
  t.is(fs.readFileSync(folder.path('a', 'chunk0'), 'utf8'), 'of somebody else')
  fs.unlinkSync(folder.path('a', 'chunk0'))
  await client.write(0, filled(PAGE))
  t.deepEqual(folder.list('a'), ['chunk0 65536'])
})

test('0.9: unmapping part of a chunk that does not exist makes no file', async (t) => {
  const folder = new DiskFolder(t)
  folder.make('a')
  const { client } = await folder.open('a')
  await client.trim(PAGE, PAGE)
  await client.trim(0, CHUNK)
  await client.zero(CHUNK - PAGE, 2 * PAGE)
  t.deepEqual(folder.list('a'), [])
})

test('1.4: what was unmapped before a chunk was emptied counts for nothing after', async (t) => {
  const folder = new DiskFolder(t)
  folder.make('a')
  const { client } = await folder.open('a')
  await client.write(0, filled(CHUNK))
  await client.trim(0, CHUNK / 2)
  await client.trim(0, CHUNK)
  await client.write(0, filled(CHUNK, 9))
  await client.trim(CHUNK / 2, CHUNK / 2)
  t.deepEqual(folder.list('a'), ['chunk0 65536'])
  sameBytes(t, await client.read(0, CHUNK / 2), filled(CHUNK / 2, 9))
})

test('1.4: writes that arrive while a differential chunk is made are all kept', async (t) => {
  const folder = new DiskFolder(t)
  folder.make('base')
  folder.make('a', { parent: 'base' })
  const base = await folder.open('base')
  await base.client.write(0, filled(CHUNK, 1))
  await base.disk.close()
  const files = new TestFiles(nodeFiles())
  const { client } = await folder.open('a', {}, files)
  const image = filled(CHUNK, 1)
  const held = files.hold(/^sync \.tmp-chunk0/)
  const writes = [0, 3, 7, 15].map((page) => {
    image.fill(page + 10, page * PAGE, (page + 1) * PAGE)
    return client.write(page * PAGE, filled(PAGE, page + 10))
  })
  await held.reached
  image.fill(99, PAGE, 2 * PAGE)
  writes.push(client.write(PAGE, filled(PAGE, 99)))
  held.release()
  await Promise.all(writes)
  sameBytes(t, await client.read(0, CHUNK), image)
})

test('1.6: one directory under two names is found out by what it is', async (t) => {
  const folder = new DiskFolder(t)
  folder.make('a', { parts: { part: 8, 'part/.': 8 } })
  await t.throwsAsync(folder.open('a'), { code: 'ECHAIN', message: /part directory used twice/ })
  fs.symlinkSync('part', folder.path('link'))
  folder.make('b', { parts: { part: 8, link: 8 } })
  await t.throwsAsync(folder.open('b'), { code: 'ECHAIN', message: /part directory used twice/ })
})
