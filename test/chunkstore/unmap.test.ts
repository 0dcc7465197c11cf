import test from 'ava'
import type { ExecutionContext } from 'ava'
import { RequestFlag } from '../../device/device.ts'
import { sameBytes } from '../helpers/bytes.ts'
import { DiskFolder, nodeFiles, systemCalls } from '../helpers/chunk-disk.ts'
import type { OpenedDisk } from '../helpers/chunk-disk.ts'
import { Random, seedFor } from '../helpers/random.ts'
import { TestFiles } from '../helpers/test-files.ts'

const CHUNK = 65_536
const PAGE = 4096
const { FUA, NO_HOLE, FAST_ZERO } = RequestFlag

/** Where no hole can be punched these tests say nothing. */
const withHoles = systemCalls === null ? test.skip : test

interface Scene extends OpenedDisk {
  readonly folder: DiskFolder
  readonly files: TestFiles
}

/** A disk of three chunks and two pages, opened. */
async function open(t: ExecutionContext, abilities = {}): Promise<Scene> {
  const folder = new DiskFolder(t)
  folder.make('a', { size: 3 * CHUNK + 2 * PAGE })
  const files = new TestFiles(nodeFiles())
  files.fixedAbilities = abilities
  return { folder, files, ...(await folder.open('a', {}, files)) }
}

const filled = (length: number, value = 7): Uint8Array => new Uint8Array(length).fill(value)

test('trimming a whole chunk leaves a file of 0 bytes', async (t) => {
  const { client, folder } = await open(t)
  await client.write(0, filled(2 * CHUNK))
  await client.trim(CHUNK, CHUNK)
  t.deepEqual(folder.list('a'), ['chunk0 65536', 'chunk1 0'])
  t.is(folder.allocated('a', 'chunk1'), 0)
  sameBytes(t, await client.read(0, CHUNK), filled(CHUNK))
  sameBytes(t, await client.read(CHUNK, CHUNK), filled(CHUNK, 0))
})

test('the last chunk is whole when the trim reaches the end of the disk', async (t) => {
  const { client, folder, disk } = await open(t)
  await client.write(3 * CHUNK, filled(2 * PAGE))
  t.deepEqual(folder.list('a'), ['chunk3 65536'])
  await client.trim(3 * CHUNK, 2 * PAGE)
  t.deepEqual(folder.list('a'), ['chunk3 0'])
  await client.write(0, filled(disk.size))
  await client.trim(3 * CHUNK, PAGE)
  await client.trim(3 * CHUNK + PAGE, PAGE)
  t.is(folder.list('a')[3], 'chunk3 0')
  await client.trim(0, disk.size)
  t.deepEqual(folder.list('a'), ['chunk0 0', 'chunk1 0', 'chunk2 0', 'chunk3 0'])
})

for (const [title, abilities] of [
  ['punched', {}],
  ['overwritten with zeros', { punchHole: false }],
] as const) {
  test(`small trims in any order free their chunk, ${title}`, async (t) => {
    const random = new Random(seedFor(t))
    const { client, folder } = await open(t, abilities)
    await client.write(0, filled(2 * CHUNK))
    const pages = Array.from({ length: 16 }, (_, page) => page)
    for (let left = 16; left > 0; left--) {
      t.is(folder.list('a')[0], 'chunk0 65536')
      const [page] = pages.splice(random.between(0, left - 1), 1)
      await client.trim(page * PAGE, PAGE)
    }
    t.deepEqual(folder.list('a'), ['chunk0 0', 'chunk1 65536'])
  })
}

withHoles('trims from before the disk was opened count', async (t) => {
  const { client, disk, folder } = await open(t)
  await client.write(0, filled(CHUNK))
  await client.trim(PAGE, CHUNK - PAGE)
  await disk.close()
  const again = await folder.open('a')
  await again.client.trim(0, PAGE)
  t.deepEqual(folder.list('a'), ['chunk0 0'])
})

test('what is written between trims keeps its chunk', async (t) => {
  const { client, folder } = await open(t)
  await client.write(0, filled(CHUNK))
  await client.trim(0, CHUNK / 2)
  await client.write(PAGE, filled(PAGE, 9))
  await client.trim(CHUNK / 2, CHUNK / 2)
  t.deepEqual(folder.list('a'), ['chunk0 65536'])
  sameBytes(t, await client.read(PAGE, PAGE), filled(PAGE, 9))
  await client.trim(PAGE, PAGE)
  t.deepEqual(folder.list('a'), ['chunk0 0'])
})

test('a chunk that was freed takes data again, and forgets what was trimmed', async (t) => {
  const { client, folder } = await open(t)
  await client.write(0, filled(CHUNK))
  await client.trim(0, CHUNK)
  await client.write(0, filled(PAGE, 9))
  t.deepEqual(folder.list('a'), ['chunk0 65536'])
  await client.trim(PAGE, PAGE)
  sameBytes(t, await client.read(0, PAGE), filled(PAGE, 9))
  sameBytes(t, await client.read(PAGE, CHUNK - PAGE), filled(CHUNK - PAGE, 0))
})

withHoles('a trim inside a chunk gives its blocks back', async (t) => {
  const { client, folder } = await open(t)
  await client.write(0, filled(CHUNK))
  const before = folder.allocated('a', 'chunk0')
  await client.trim(0, CHUNK / 2)
  t.true(folder.allocated('a', 'chunk0') <= before - CHUNK / 2)
  t.is((await client.blockStatus(0, CHUNK))[0].length, CHUNK / 2)
})

for (const state of ['absent', 'empty', 'full of holes', 'full of data'] as const) {
  test(`a zero with NO_HOLE allocates a chunk that is ${state}`, async (t) => {
    const { client, folder } = await open(t)
    if (state !== 'absent') await client.write(0, filled(CHUNK))
    if (state === 'empty') await client.trim(0, CHUNK)
    if (state === 'full of holes') await client.trim(PAGE, CHUNK - PAGE)
    await client.zero(0, CHUNK, NO_HOLE)
    await client.flush()
    t.true(folder.allocated('a', 'chunk0') >= CHUNK)
    sameBytes(t, await client.read(0, CHUNK), filled(CHUNK, 0))
  })
}

test('trims beside a range zeroed with NO_HOLE leave it allocated', async (t) => {
  const { client, disk, folder } = await open(t)
  await client.zero(PAGE, 4 * PAGE, NO_HOLE)
  await client.trim(0, PAGE)
  await client.trim(5 * PAGE, CHUNK - 5 * PAGE)
  await client.flush()
  t.true(folder.allocated('a', 'chunk0') >= 4 * PAGE)
  await disk.close()
  const again = await folder.open('a')
  await again.client.trim(0, PAGE)
  await again.client.zero(5 * PAGE, PAGE)
  t.true(folder.allocated('a', 'chunk0') >= 4 * PAGE)
  await again.client.zero(0, CHUNK)
  t.is(folder.allocated('a', 'chunk0'), 0)
})

test('a zero with NO_HOLE takes a range out of what was trimmed', async (t) => {
  const { client, folder } = await open(t)
  await client.write(0, filled(CHUNK))
  await client.trim(0, CHUNK / 2)
  await client.zero(0, PAGE, NO_HOLE)
  await client.trim(CHUNK / 2, CHUNK / 2)
  t.deepEqual(folder.list('a'), ['chunk0 65536'])
})

test('FAST_ZERO succeeds where holes can be punched', async (t) => {
  const { client, disk } = await open(t, { punchHole: true, zeroRange: true })
  t.true(disk.features.fastZero)
  await client.write(0, filled(CHUNK))
  await client.zero(0, CHUNK, FAST_ZERO)
  await client.zero(0, PAGE, FAST_ZERO | NO_HOLE)
  sameBytes(t, await client.read(0, CHUNK), filled(CHUNK, 0))
})

for (const [title, abilities, flags] of [
  ['holes cannot be punched', { punchHole: false }, FAST_ZERO],
  ['blocks cannot be zeroed in place', { zeroRange: false }, FAST_ZERO | NO_HOLE],
] as const) {
  test(`FAST_ZERO is refused at once and changes nothing where ${title}`, async (t) => {
    const { client, files } = await open(t, abilities)
    await client.write(0, filled(CHUNK))
    files.take()
    await t.throwsAsync(client.zero(PAGE, PAGE, flags), { message: /errno 95 at 4096/ })
    t.deepEqual(files.take(), [])
    sameBytes(t, await client.read(0, CHUNK), filled(CHUNK))
  })
}

test('where holes cannot be punched zeros are written, a step at a time', async (t) => {
  const folder = new DiskFolder(t)
  folder.make('a', { size: 8 * 2 ** 20, chunkSize: 4 * 2 ** 20 })
  const files = new TestFiles(nodeFiles())
  files.fixedAbilities = { punchHole: false, zeroRange: false }
  const { client, disk } = await folder.open('a', {}, files)
  t.false(disk.features.fastZero)
  await client.write(0, filled(4 * 2 ** 20))
  files.take()
  await client.zero(PAGE, 2 * 2 ** 20)
  t.deepEqual(files.take(), ['write chunk0 4096+1048576', 'write chunk0 1052672+1048576'])
  await client.trim(3 * 2 ** 20, PAGE, FUA)
  t.deepEqual(files.take(), [
    'write chunk0 3145728+4096',
    'sync chunk0',
    'statusOf chunk0',
    'syncDirectory a',
  ])
  const image = filled(4 * 2 ** 20)
  image.fill(0, PAGE, PAGE + 2 * 2 ** 20).fill(0, 3 * 2 ** 20, 3 * 2 ** 20 + PAGE)
  sameBytes(t, await client.read(0, image.length), image)
})

test('a punch that turns out to be impossible is made up for with zeros', async (t) => {
  const { client, files } = await open(t, { punchHole: true, zeroRange: true })
  await client.write(0, filled(CHUNK))
  files.fault = (call) => (/^(punchHole|zeroRange)/.test(call) ? 95 : 0)
  await client.trim(0, PAGE)
  await client.zero(PAGE, PAGE, NO_HOLE)
  const image = filled(CHUNK).fill(0, 0, 2 * PAGE)
  sameBytes(t, await client.read(0, CHUNK), image)
})

for (const [title, abilities] of [
  ['punch', { punchHole: true }],
  ['write of zeros', { punchHole: false }],
] as const) {
  test(`after a failed ${title} the range does not count as trimmed`, async (t) => {
    const { client, files, folder } = await open(t, abilities)
    await client.write(0, filled(CHUNK))
    files.fault = (call) => (/^(punchHole|write) chunk0/.test(call) ? 5 : 0)
    await t.throwsAsync(client.trim(PAGE, PAGE), { message: /errno 5 at 4096/ })
    files.fault = () => 0
    await client.trim(0, PAGE)
    await client.trim(2 * PAGE, CHUNK - 2 * PAGE)
    sameBytes(t, await client.read(PAGE, PAGE), filled(PAGE))
    t.deepEqual(folder.list('a'), ['chunk0 65536'])
  })
}

test('a trim stops at the chunk that fails and says where', async (t) => {
  const { client, files } = await open(t)
  await client.write(0, filled(3 * CHUNK))
  files.fault = (call) => (call.startsWith('truncate chunk1') ? 5 : 0)
  await t.throwsAsync(client.trim(0, 3 * CHUNK), { message: /errno 5 at 65536/ })
  sameBytes(t, await client.read(0, CHUNK), filled(CHUNK, 0))
  sameBytes(t, await client.read(CHUNK, 2 * CHUNK), filled(2 * CHUNK))
})
