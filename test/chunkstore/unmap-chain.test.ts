import assert from 'node:assert/strict'
import test from 'ava'
import type { ExecutionContext } from 'ava'
import { RequestFlag } from '../../device/device.ts'
import { sameBytes } from '../helpers/bytes.ts'
import { DiskFolder, nodeFiles } from '../helpers/chunk-disk.ts'
import { TestFiles } from '../helpers/test-files.ts'

const CHUNK = 65_536
const PAGE = 4096
const MUTATIONS = /^(write|truncate|punchHole|create|rename|remove)/

const filled = (length: number, value = 7): Uint8Array => new Uint8Array(length).fill(value)

/** A parent with data in its first two chunks, an empty third, and nothing else; and a child. */
async function open(t: ExecutionContext) {
  const folder = new DiskFolder(t)
  folder.make('base', { size: 5 * CHUNK })
  folder.make('child', { size: 5 * CHUNK, parent: 'base' })
  const base = await folder.open('base')
  await base.client.write(0, filled(3 * CHUNK))
  await base.client.trim(2 * CHUNK, CHUNK)
  await base.disk.close()
  const before = folder.fingerprint('base')
  t.teardown(() => assert.deepEqual(folder.fingerprint('base'), before))
  const files = new TestFiles(nodeFiles())
  const { client } = await folder.open('child', {}, files)
  files.take()
  return { folder, files, client }
}

test("a whole chunk of the parent's is hidden by an empty file, without a copy", async (t) => {
  const { folder, files, client } = await open(t)
  await client.trim(CHUNK, CHUNK)
  t.deepEqual(files.take(MUTATIONS), ['create chunk1'])
  t.deepEqual(folder.list('child'), ['chunk1 0'])
  sameBytes(t, await client.read(0, 2 * CHUNK), filled(2 * CHUNK).fill(0, CHUNK))
})

test("part of a chunk of the parent's is trimmed in a copy", async (t) => {
  const { folder, client } = await open(t)
  await client.trim(PAGE, PAGE)
  t.deepEqual(folder.list('child'), ['chunk0 65536'])
  sameBytes(t, await client.read(0, CHUNK), filled(CHUNK).fill(0, PAGE, 2 * PAGE))
})

test('where the parent has no data either nothing is done', async (t) => {
  const { folder, files, client } = await open(t)
  await client.trim(2 * CHUNK, 3 * CHUNK)
  await client.zero(2 * CHUNK + PAGE, CHUNK)
  t.deepEqual(files.take(), [])
  t.deepEqual(folder.list('child'), [])
})

test('a zero with NO_HOLE over the parent allocates in the child', async (t) => {
  const { folder, client } = await open(t)
  await client.zero(0, CHUNK, RequestFlag.NO_HOLE)
  await client.zero(2 * CHUNK, PAGE, RequestFlag.NO_HOLE)
  await client.flush()
  t.deepEqual(folder.list('child'), ['chunk0 65536', 'chunk2 65536'])
  t.true(folder.allocated('child', 'chunk0') >= CHUNK)
  t.true(folder.allocated('child', 'chunk2') >= PAGE)
  sameBytes(t, await client.read(0, CHUNK), filled(CHUNK, 0))
})

test('a copied chunk that is trimmed stays as an empty file and hides the parent', async (t) => {
  const { folder, client } = await open(t)
  await client.write(0, filled(PAGE, 9))
  for (let page = 0; page < 16; page++) await client.trim(page * PAGE, PAGE)
  t.deepEqual(folder.list('child'), ['chunk0 0'])
  sameBytes(t, await client.read(0, CHUNK), filled(CHUNK, 0))
})
