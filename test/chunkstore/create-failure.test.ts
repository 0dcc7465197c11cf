import test from 'ava'
import { sameBytes } from '../helpers/bytes.ts'
import { DiskFolder, nodeFiles, systemCalls } from '../helpers/chunk-disk.ts'
import { TestFiles } from '../helpers/test-files.ts'

const CHUNK = 65_536
const PAGE = 4096
const ENOSPC = 28

/** Without system calls a copy writes what it takes for data: everything. */
const withHoles = systemCalls === null ? test.skip : test

const filled = (length: number, value = 7): Uint8Array => new Uint8Array(length).fill(value)

test('a chunk file that can be neither sized nor removed is an empty chunk', async (t) => {
  const folder = new DiskFolder(t)
  folder.make('a')
  const files = new TestFiles(nodeFiles())
  const { client } = await folder.open('a', {}, files)
  files.fault = (call) => (/^(truncate|remove)/.test(call) ? ENOSPC : 0)
  await t.throwsAsync(client.write(0, filled(PAGE)), { message: /errno 28 at 0/ })
  t.deepEqual(folder.list('a'), ['chunk0 0'])
  files.fault = () => 0
  sameBytes(t, await client.read(0, CHUNK), filled(CHUNK, 0))
  await client.write(0, filled(PAGE))
  sameBytes(t, await client.read(0, PAGE), filled(PAGE))
  files.take()
  await client.flush()
  t.deepEqual(files.take(/^sync/), ['sync chunk0', 'syncDirectory a'], 'its name is new')
})

test('a failed creation takes no room in its part', async (t) => {
  const folder = new DiskFolder(t)
  folder.make('a', { size: 4 * CHUNK, parts: { first: 1, second: 8 } })
  const files = new TestFiles(nodeFiles())
  const { client } = await folder.open('a', {}, files)
  files.fault = (call) => (call.startsWith('create') ? ENOSPC : 0)
  await t.throwsAsync(client.write(0, filled(PAGE)), { message: /errno 28 at 0/ })
  files.fault = () => 0
  await client.write(CHUNK, filled(PAGE))
  t.deepEqual(folder.list('first'), ['chunk1 65536'])
})

withHoles('a chunk is copied under a temporary name and appears whole', async (t) => {
  const folder = new DiskFolder(t)
  const shape = { size: 8 * 2 ** 20, chunkSize: 4 * 2 ** 20 }
  folder.make('base', shape)
  folder.make('child', { ...shape, parent: 'base' })
  const base = await folder.open('base')
  await base.client.write(PAGE, filled(2 ** 20))
  await base.client.write(3 * 2 ** 20, filled(PAGE))
  await base.disk.close()
  const files = new TestFiles(nodeFiles())
  const { client } = await folder.open('child', {}, files)
  files.take()
  const held = files.hold(/^rename/)
  const write = client.write(0, filled(PAGE, 9))
  await held.reached
  t.deepEqual(folder.list('child'), ['.tmp-chunk0 4194304'])
  // Until then the parent is read, by everybody.
  sameBytes(t, await client.read(0, 2 * PAGE), filled(2 * PAGE).fill(0, 0, PAGE))
  held.release()
  await write
  t.deepEqual(files.take(/^(create|truncate|write|sync|rename)/), [
    'create .tmp-chunk0',
    'truncate .tmp-chunk0 4194304',
    'write .tmp-chunk0 4096+1048576',
    'write .tmp-chunk0 3145728+4096',
    'sync .tmp-chunk0',
    'rename .tmp-chunk0 chunk0',
    'write chunk0 0+4096',
  ])
  t.deepEqual(folder.list('child'), ['chunk0 4194304'])
  t.true(folder.allocated('child', 'chunk0') < 2 * 2 ** 20, 'holes stay holes')
})

test('a temporary file that could not be removed is used again', async (t) => {
  const folder = new DiskFolder(t)
  folder.make('base')
  folder.make('child', { parent: 'base' })
  const base = await folder.open('base')
  await base.client.write(0, filled(PAGE))
  await base.disk.close()
  const files = new TestFiles(nodeFiles())
  const { client } = await folder.open('child', {}, files)
  files.fault = (call) => (/^(rename|remove)/.test(call) ? ENOSPC : 0)
  await t.throwsAsync(client.write(PAGE, filled(PAGE)), { message: /errno 28 at 4096/ })
  t.deepEqual(folder.list('child'), ['.tmp-chunk0 65536'])
  files.fault = () => 0
  await client.write(PAGE, filled(PAGE, 9))
  t.deepEqual(folder.list('child'), ['chunk0 65536'])
  sameBytes(t, await client.read(0, 2 * PAGE), filled(2 * PAGE).fill(9, PAGE))
})

test('everybody who waits for a chunk that cannot be made is told, readers go on', async (t) => {
  const folder = new DiskFolder(t)
  folder.make('base')
  folder.make('child', { parent: 'base' })
  const base = await folder.open('base')
  await base.client.write(0, filled(CHUNK))
  await base.disk.close()
  const files = new TestFiles(nodeFiles())
  const { client } = await folder.open('child', {}, files)
  const held = files.hold(/^truncate/)
  files.fault = (call) => (call.startsWith('sync .tmp') ? ENOSPC : 0)
  const changes = [
    client.write(PAGE, filled(PAGE)),
    client.write(2 * PAGE, filled(PAGE)),
    client.trim(3 * PAGE, PAGE),
  ]
  await held.reached
  const read = client.read(0, CHUNK)
  held.release()
  for (const [index, change] of changes.entries()) {
    await t.throwsAsync(change, { message: `device fails with errno 28 at ${(index + 1) * PAGE}` })
  }
  sameBytes(t, await read, filled(CHUNK))
  t.deepEqual(folder.list('child'), [])
})
