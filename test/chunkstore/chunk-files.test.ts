import fs from 'node:fs'
import test from 'ava'
import { sameBytes } from '../helpers/bytes.ts'
import { DiskFolder } from '../helpers/chunk-disk.ts'

const CHUNK = 65_536
const PAGE = 4096
const EIO = { message: /errno 5 / }

const filled = (length: number, value = 7): Uint8Array => new Uint8Array(length).fill(value)

/** One chunk of the disk is damaged; everything else of it is full. */
const damages: Readonly<Record<string, (file: string) => void>> = {
  'a file that is too short': (file) => fs.writeFileSync(file, filled(CHUNK - 1)),
  'a file that is too long': (file) => fs.writeFileSync(file, filled(CHUNK + 1)),
  'a directory': (file) => fs.mkdirSync(file),
  'a symbolic link to nothing': (file) => fs.symlinkSync('nothing', file),
}

for (const [title, damage] of Object.entries(damages)) {
  for (const place of ['the disk', 'its parent']) {
    test(`${title} in place of a chunk in ${place} is an error there only`, async (t) => {
      const folder = new DiskFolder(t)
      folder.make('base', { size: 3 * CHUNK })
      folder.make('child', { size: 3 * CHUNK, parent: 'base' })
      const part = place === 'the disk' ? 'child' : 'base'
      const name = part
      const made = await folder.open(name)
      await made.client.write(0, filled(3 * CHUNK))
      await made.disk.close()
      fs.unlinkSync(folder.path(part, 'chunk1'))
      damage(folder.path(part, 'chunk1'))

      const { client, disk } = await folder.open('child')
      await t.throwsAsync(client.read(0, 3 * CHUNK), { message: /errno 5 at 65536/ })
      await t.throwsAsync(client.readExtents(CHUNK, PAGE), EIO)
      await t.throwsAsync(client.blockStatus(0, 3 * CHUNK), { message: /errno 5 at 65536/ })
      await t.throwsAsync(client.write(CHUNK, filled(PAGE)), EIO)
      await t.throwsAsync(client.trim(CHUNK, PAGE), EIO)
      await t.throwsAsync(client.zero(CHUNK, CHUNK, 2), EIO)
      sameBytes(t, await client.read(0, CHUNK), filled(CHUNK))
      await client.write(2 * CHUNK, filled(PAGE, 9))
      sameBytes(t, await client.read(2 * CHUNK, PAGE), filled(PAGE, 9))
      await client.flush()
      await disk.close()
    })
  }
}

test("a whole trim hides a parent's damaged chunk", async (t) => {
  const folder = new DiskFolder(t)
  folder.make('base')
  folder.make('child', { parent: 'base' })
  fs.writeFileSync(folder.path('base', 'chunk1'), 'damaged')
  const { client } = await folder.open('child')
  await client.trim(CHUNK, CHUNK)
  sameBytes(t, await client.read(CHUNK, CHUNK), filled(CHUNK, 0))
})

test('chunk names count in any case, and keep it', async (t) => {
  const folder = new DiskFolder(t)
  folder.make('a')
  fs.writeFileSync(folder.path('a', 'CHUNK0'), filled(CHUNK))
  fs.writeFileSync(folder.path('a', 'Chunk10'), '')
  const { client } = await folder.open('a', { openFilesMax: 1 })
  sameBytes(t, await client.read(0, CHUNK), filled(CHUNK))
  await client.write(10 * CHUNK, filled(PAGE, 9))
  await client.write(PAGE, filled(PAGE, 8))
  sameBytes(t, await client.read(10 * CHUNK, PAGE), filled(PAGE, 9))
  await client.trim(0, CHUNK)
  t.deepEqual(folder.list('a'), ['CHUNK0 0', 'Chunk10 65536'])
})

test('other names are no chunks and are left alone', async (t) => {
  const folder = new DiskFolder(t)
  folder.make('a')
  const names = ['chunk', 'chunk00', 'chunk-1', 'chunk1x', 'xchunk1', 'chunk16', 'chunk1.bak']
  for (const name of [...names, 'chunk99999999999999999999']) {
    fs.writeFileSync(folder.path('a', name), 'something')
  }
  const before = folder.fingerprint('a')
  const { client, disk } = await folder.open('a')
  sameBytes(t, await client.read(0, disk.size), filled(disk.size, 0))
  await client.trim(0, disk.size)
  await disk.close()
  t.deepEqual(folder.fingerprint('a'), before)
})

test('a file of Windows chunkdisk, all written and nothing sparse, is served', async (t) => {
  const folder = new DiskFolder(t)
  folder.make('base', { parts: { p: 8, q: 8 } })
  fs.writeFileSync(folder.path('p', 'chunk0'), filled(CHUNK, 1))
  fs.writeFileSync(folder.path('q', 'chunk15'), filled(CHUNK, 2))
  const { client } = await folder.open('base', { readOnly: true })
  sameBytes(t, await client.read(CHUNK - PAGE, 2 * PAGE), filled(2 * PAGE, 1).fill(0, PAGE))
  sameBytes(t, await client.read(15 * CHUNK, CHUNK), filled(CHUNK, 2))
  for (const change of [
    client.write(0, filled(PAGE)),
    client.trim(0, PAGE),
    client.zero(0, PAGE),
  ]) {
    await t.throwsAsync(change, { message: /errno 1 at 0/ })
  }
  await client.flush()
})

test('new chunks fill the parts in the order of the descriptor', async (t) => {
  const folder = new DiskFolder(t)
  folder.make('a', { size: 8 * CHUNK, parts: { none: 0, first: 2, second: 3, third: 9 } })
  fs.writeFileSync(folder.path('second', 'chunk7'), '')
  const { client, disk } = await folder.open('a')
  for (const index of [7, 5, 4, 3, 2, 1, 0, 6]) await client.write(index * CHUNK, filled(PAGE))
  const expected = {
    none: [],
    first: ['chunk4 65536', 'chunk5 65536'],
    second: ['chunk2 65536', 'chunk3 65536', 'chunk7 65536'],
    third: ['chunk0 65536', 'chunk1 65536', 'chunk6 65536'],
  }
  for (const [part, files] of Object.entries(expected)) t.deepEqual(folder.list(part), files)
  await disk.close()
})

test('chunks made at the same time do not overfill a part', async (t) => {
  const folder = new DiskFolder(t)
  folder.make('a', { size: 8 * CHUNK, parts: { first: 3, second: 5 } })
  const { client } = await folder.open('a')
  const writes = Array.from({ length: 8 }, (_, index) => client.write(index * CHUNK, filled(PAGE)))
  await Promise.all(writes)
  t.is(folder.list('first').length, 3)
  t.is(folder.list('second').length, 5)
})
