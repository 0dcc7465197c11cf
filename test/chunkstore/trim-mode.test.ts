import test from 'ava'
import type { ExecutionContext } from 'ava'
import { type DiskOptions, TrimMode } from '../../chunkstore/options.ts'
import { RequestFlag } from '../../device/device.ts'
import { sameBytes } from '../helpers/bytes.ts'
import { DiskFolder, nodeFiles, systemCalls } from '../helpers/chunk-disk.ts'
import { Random, seedFor } from '../helpers/random.ts'
import { TestFiles } from '../helpers/test-files.ts'
import { RandomLoad } from './random-load.ts'

const CHUNK = 65_536
const PAGE = 4096
const MUTATIONS = /^(write|truncate|punchHole|zeroRange|create|rename)/
const { FAST_ZERO, FUA, NO_HOLE } = RequestFlag

const filled = (length: number, value = 7): Uint8Array => new Uint8Array(length).fill(value)
const withHoles = systemCalls === null ? test.skip : test

/** A child with full chunks 0 and 1 over a parent with full chunks 0 and 2, both of 3.5 chunks. */
async function open(t: ExecutionContext, trim: TrimMode, abilities = {}) {
  const folder = new DiskFolder(t)
  const shape = { size: 3 * CHUNK + CHUNK / 2 }
  folder.make('base', shape)
  folder.make('a', { ...shape, parent: 'base' })
  const base = await folder.open('base')
  await base.client.write(0, filled(CHUNK, 3))
  await base.client.write(2 * CHUNK, filled(CHUNK, 3))
  await base.disk.close()
  const files = new TestFiles(nodeFiles())
  files.fixedAbilities = abilities
  const opened = await folder.open('a', { trim }, files)
  await opened.client.write(0, filled(2 * CHUNK))
  files.take()
  return { folder, files, ...opened }
}

test('chunks: a trim of part of a chunk leaves its data and touches no file', async (t) => {
  const { client, files } = await open(t, TrimMode.CHUNKS)
  await client.trim(PAGE, CHUNK)
  await client.trim(2 * CHUNK, CHUNK / 2, FUA)
  t.deepEqual(files.take(MUTATIONS), [])
  sameBytes(t, await client.read(0, 2 * CHUNK), filled(2 * CHUNK))
  sameBytes(t, await client.read(2 * CHUNK, CHUNK), filled(CHUNK, 3))
})

test('chunks: block status goes on telling of data until the chunk is given back', async (t) => {
  const { client } = await open(t, TrimMode.CHUNKS)
  await client.trim(0, CHUNK - PAGE)
  t.deepEqual(await client.blockStatus(0, CHUNK), [{ length: CHUNK, flags: 0 }])
  await client.trim(CHUNK - PAGE, PAGE)
  t.deepEqual(await client.blockStatus(0, CHUNK), [{ length: CHUNK, flags: 3 }])
})

test('chunks: trims of parts give the chunk back when together they cover it', async (t) => {
  const { client, folder } = await open(t, TrimMode.CHUNKS)
  await client.trim(PAGE, CHUNK - PAGE)
  t.deepEqual(folder.list('a'), ['chunk0 65536', 'chunk1 65536'])
  await client.trim(0, PAGE)
  t.deepEqual(folder.list('a'), ['chunk0 0', 'chunk1 65536'])
  sameBytes(t, await client.read(0, CHUNK), filled(CHUNK, 0))
})

test('chunks: a write takes its range out of what was trimmed', async (t) => {
  const { client, folder } = await open(t, TrimMode.CHUNKS)
  await client.trim(0, CHUNK / 2)
  await client.write(PAGE, filled(PAGE, 9))
  await client.trim(CHUNK / 2, CHUNK / 2)
  t.deepEqual(folder.list('a'), ['chunk0 65536', 'chunk1 65536'])
  sameBytes(t, await client.read(PAGE, PAGE), filled(PAGE, 9))
  await client.trim(PAGE, PAGE)
  t.deepEqual(folder.list('a'), ['chunk0 0', 'chunk1 65536'])
})

test("chunks: a whole chunk is emptied, or hidden where it is the parent's", async (t) => {
  const { client, folder } = await open(t, TrimMode.CHUNKS)
  await client.trim(CHUNK, 2 * CHUNK)
  t.deepEqual(folder.list('a'), ['chunk0 65536', 'chunk1 0', 'chunk2 0'])
  sameBytes(t, await client.read(CHUNK, 2 * CHUNK), filled(2 * CHUNK, 0))
})

test('holes: a trim of a chunk leaves its file at its size, without data', async (t) => {
  const { client, folder, files } = await open(t, TrimMode.HOLES)
  for (let page = 0; page < CHUNK / PAGE; page++) await client.trim(page * PAGE, PAGE)
  await client.trim(CHUNK, CHUNK)
  t.deepEqual(files.take(/^truncate/), [])
  t.deepEqual(folder.list('a'), ['chunk0 65536', 'chunk1 65536'])
  if (systemCalls !== null) t.is(folder.allocated('a'), 0)
  sameBytes(t, await client.read(0, 2 * CHUNK), filled(2 * CHUNK, 0))
})

test("holes: the parent's chunks are hidden, in part by a copy", async (t) => {
  const { client, folder } = await open(t, TrimMode.HOLES)
  await client.trim(2 * CHUNK, PAGE)
  t.deepEqual(folder.list('a'), ['chunk0 65536', 'chunk1 65536', 'chunk2 65536'])
  sameBytes(t, await client.read(2 * CHUNK, 2 * PAGE), filled(2 * PAGE, 3).fill(0, 0, PAGE))
})

test('ignore: trims succeed and nothing happens', async (t) => {
  const { client, files } = await open(t, TrimMode.IGNORE)
  await client.trim(0, 3 * CHUNK + CHUNK / 2)
  await client.trim(PAGE, PAGE, FUA)
  t.deepEqual(files.take(), [])
  sameBytes(t, await client.read(0, 2 * CHUNK), filled(2 * CHUNK))
  sameBytes(t, await client.read(2 * CHUNK, CHUNK), filled(CHUNK, 3))
})

test('ignore: a read-only disk refuses trims all the same', async (t) => {
  const { disk, folder } = await open(t, TrimMode.IGNORE)
  await disk.close()
  const { client } = await folder.open('a', { trim: TrimMode.IGNORE, readOnly: true })
  await t.throwsAsync(client.trim(0, PAGE), { message: /errno 1 at 0/ })
})

for (const trim of Object.values(TrimMode)) {
  test(`${trim}: a zero is never only remembered, in part or whole`, async (t) => {
    for (const flags of [0, NO_HOLE, FAST_ZERO]) {
      const { client, disk } = await open(t, trim)
      const image = filled(disk.size)
        .fill(3, 2 * CHUNK, 3 * CHUNK)
        .fill(0, 3 * CHUNK)
      for (const [offset, length] of [
        [PAGE, PAGE],
        [CHUNK, CHUNK],
        [2 * CHUNK + PAGE, PAGE],
        [CHUNK / 2, 2 * CHUNK],
        [0, disk.size],
      ]) {
        await client.zero(offset, length, disk.features.fastZero ? flags : flags & ~FAST_ZERO)
        image.fill(0, offset, offset + length)
        sameBytes(t, await client.read(0, disk.size), image)
      }
    }
  })
}

test('each trim mode offers what it does', async (t) => {
  for (const trim of Object.values(TrimMode)) {
    const { disk } = await open(t, trim)
    const zeroes = trim === TrimMode.FREE || trim === TrimMode.HOLES
    t.like(disk.features, { trim: true, trimZeroes: zeroes })
    const needed = await open(t, trim, { punchHole: zeroes, zeroRange: !zeroes })
    t.true(needed.disk.features.fastZero)
    const other = await open(t, trim, { punchHole: !zeroes, zeroRange: zeroes })
    t.false(other.disk.features.fastZero)
    const refused = other.client.zero(0, PAGE, FAST_ZERO)
    await t.throwsAsync(refused, { message: /errno 95 at 0/ })
  }
})

for (const trim of [TrimMode.CHUNKS, TrimMode.IGNORE]) {
  withHoles(`${trim}: a zero keeps the space of its range`, async (t) => {
    const { client, folder } = await open(t, trim)
    await client.zero(PAGE, CHUNK / 2)
    t.true(folder.allocated('a', 'chunk0') >= CHUNK)
  })

  test(`${trim}: a random load agrees with a model`, async (t) => {
    const random = new Random(seedFor(t))
    const options: Partial<DiskOptions> = { trim, openFilesMax: 3 }
    for (let round = 0; round < 3; round++) {
      const folder = new DiskFolder(t)
      const shape = { size: 10 * 16_384 + PAGE, chunkSize: 16_384 }
      folder.make('base', shape)
      folder.make('child', { ...shape, parent: 'base' })
      const files = Object.assign(new TestFiles(nodeFiles()), { syncs: false, late: random })
      for (const name of ['base', 'child']) {
        const { client, disk } = await folder.open(name, options, files)
        const load = new RandomLoad(shape.size, random)
        for (let at = 0; at < shape.size; at += PAGE) await client.zero(at, PAGE)
        await load.run(client, { clients: 8, steps: 300, pagesMax: 8, trimKeeps: true })
        await load.settle(client)
        sameBytes(t, await client.read(0, shape.size), load.image)
        await disk.close()
        const again = await folder.open(name, { readOnly: true })
        sameBytes(t, await again.client.read(0, shape.size), load.image)
        await again.disk.close()
      }
    }
  })
}
