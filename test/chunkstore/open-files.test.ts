import fs from 'node:fs'
import test from 'ava'
import type { ExecutionContext } from 'ava'
import { CacheMode } from '../../chunkstore/options.ts'
import type { DiskOptions } from '../../chunkstore/options.ts'
import { sameBytes } from '../helpers/bytes.ts'
import { DiskFolder, nodeFiles, systemCalls } from '../helpers/chunk-disk.ts'
import type { OpenedDisk } from '../helpers/chunk-disk.ts'
import { Random, seedFor } from '../helpers/random.ts'
import { TestFiles } from '../helpers/test-files.ts'

const CHUNK = 65_536
const PAGE = 4096
const EIO = { message: /errno 5 / }

interface Scene extends OpenedDisk {
  readonly folder: DiskFolder
  readonly files: TestFiles
}

async function open(t: ExecutionContext, options: Partial<DiskOptions> = {}): Promise<Scene> {
  const folder = new DiskFolder(t)
  folder.make('a', { size: 16 * CHUNK })
  const files = new TestFiles(nodeFiles())
  return { folder, files, ...(await folder.open('a', options, files)) }
}

const filled = (length: number, value = 7): Uint8Array => new Uint8Array(length).fill(value)
const openChunks = ({ files }: Scene): string[] =>
  [...files.openNames.values()].filter((name) => name.startsWith('chunk'))

test('writes that create chunks keep no more files open than allowed', async (t) => {
  const scene = await open(t, { openFilesMax: 3 })
  for (let index = 0; index < 16; index++) {
    await scene.client.write(index * CHUNK, filled(PAGE, index + 1))
    t.true(openChunks(scene).length <= 3)
  }
  for (let index = 0; index < 16; index++) {
    sameBytes(t, await scene.client.read(index * CHUNK, PAGE), filled(PAGE, index + 1))
    t.true(openChunks(scene).length <= 3)
  }
})

test('files beyond the bound, opened while all were in use, are closed again', async (t) => {
  const scene = await open(t, { openFilesMax: 2 })
  const { client, files } = scene
  await client.write(0, filled(16 * CHUNK))
  const held = files.hold(/^read/)
  const reads = Array.from({ length: 10 }, (_, index) => client.read(index * CHUNK, PAGE))
  await held.reached
  held.release()
  await Promise.all(reads)
  const isOpen = openChunks(scene)
  const closed = Array.from({ length: 16 }, (_, index) => index).find(
    (index) => !isOpen.includes(`chunk${index}`),
  )
  await client.read((closed ?? 0) * CHUNK, PAGE)
  t.true(openChunks(scene).length <= 2)
})

test('a dirty file is synced before it is closed', async (t) => {
  const { client, files } = await open(t, { openFilesMax: 1 })
  await client.write(0, filled(PAGE))
  await client.write(CHUNK, filled(PAGE))
  await client.read(0, PAGE)
  t.deepEqual(files.take(/^(sync|close|write) /), [
    'write chunk0 0+4096',
    'sync chunk0',
    'close chunk0',
    'write chunk1 0+4096',
    'sync chunk1',
    'close chunk1',
  ])
})

test('no dirty file is closed while its sync is not done', async (t) => {
  const { client, files } = await open(t, { openFilesMax: 12 })
  const held = files.hold(/^sync/)
  const writes = Array.from({ length: 16 }, (_, index) => index)
  const done = (async () => {
    for (const index of writes) await client.write(index * CHUNK, filled(PAGE))
  })()
  await held.reached
  await files.made(/^write chunk11/)
  for (let turn = 0; turn < 50; turn++) await new Promise((go) => setImmediate(go))
  t.deepEqual(
    files.log.filter((call) => call.startsWith('close chunk')),
    [],
  )
  held.release()
  await done
  t.true(files.log.some((call) => call.startsWith('close chunk')))
})

test('in unsafe mode files are closed without a sync, and the disk all the same', async (t) => {
  const { client, files, disk, folder } = await open(t, {
    openFilesMax: 1,
    cacheMode: CacheMode.UNSAFE,
  })
  for (let index = 0; index < 4; index++) await client.write(index * CHUNK, filled(PAGE))
  t.is(files.log.filter((call) => call.startsWith('close chunk')).length, 3)
  await client.write(0, filled(PAGE, 9))
  await disk.close()
  t.deepEqual(folder.openDescriptors(), [])
  const again = await folder.open('a')
  sameBytes(t, await again.client.read(0, PAGE), filled(PAGE, 9))
})

test('a file in use is not closed', async (t) => {
  const scene = await open(t, { openFilesMax: 1 })
  const { client, files } = scene
  await client.write(0, filled(CHUNK))
  await client.flush()
  for (const pattern of [/^read chunk0/, /^write chunk0/, /^sync chunk0/]) {
    await client.write(0, filled(PAGE))
    const held = files.hold(pattern)
    const busy =
      pattern.source === '^read chunk0' ? client.read(0, PAGE) : client.write(0, filled(PAGE), 1)
    await held.reached
    files.take()
    await client.read(5 * CHUNK, PAGE)
    const other = client.write(CHUNK, filled(PAGE))
    if (pattern.source !== '^sync chunk0') await other
    t.deepEqual(files.take(/^close chunk0/), [])
    held.release()
    await Promise.all([busy, other])
  }
})

test('requests on more chunks than may be open are all answered', async (t) => {
  const { client, files } = await open(t, { openFilesMax: 1 })
  const random = new Random(seedFor(t))
  const indexes = Array.from({ length: 16 }, (_, index) => index)
  for (const index of indexes) await client.write(index * CHUNK, filled(PAGE, index + 1))
  const read = async (): Promise<void> => {
    for (let step = 0; step < 40; step++) {
      const index = random.pick(indexes)
      sameBytes(t, await client.read(index * CHUNK, PAGE), filled(PAGE, index + 1))
    }
  }
  await Promise.all([read(), read(), read(), read()])
  const opened = files.take(/^open chunk/).length
  t.true(opened > 40, `${opened} times`)
})

test('a chunk file that was deleted is an error, not zeros', async (t) => {
  const { client, folder, messages } = await open(t, { openFilesMax: 1 })
  await client.write(0, filled(CHUNK))
  await client.write(CHUNK, filled(CHUNK))
  fs.unlinkSync(folder.path('a', 'chunk0'))
  await t.throwsAsync(client.read(PAGE, PAGE), { message: /errno 5 at 4096/ })
  await t.throwsAsync(client.readExtents(0, CHUNK), EIO)
  await t.throwsAsync(client.blockStatus(0, CHUNK), EIO)
  await t.throwsAsync(client.write(0, filled(PAGE)), EIO)
  await t.throwsAsync(client.trim(0, CHUNK), EIO)
  await t.throwsAsync(client.trim(0, PAGE), EIO)
  t.true(messages.includes('chunk file cannot be opened'))
  sameBytes(t, await client.read(CHUNK, CHUNK), filled(CHUNK))
  await client.write(CHUNK, filled(PAGE, 9))
  await client.flush()
})

for (const [title, open1] of [
  ['open', 1000],
  ['closed', 1],
] as const) {
  test(`a chunk file cut short while ${title} is an error, not zeros`, async (t) => {
    const { client, folder } = await open(t, { openFilesMax: open1 })
    await client.write(0, filled(CHUNK))
    await client.trim(PAGE, CHUNK - PAGE)
    await client.write(CHUNK, filled(CHUNK))
    fs.truncateSync(folder.path('a', 'chunk0'), CHUNK / 2)
    const half = CHUNK / 2
    await t.throwsAsync(client.read(half, PAGE), { message: /errno 5 at 32768/ })
    await t.throwsAsync(client.readExtents(half, half), EIO)
    await t.throwsAsync(client.readExtents(0, CHUNK), EIO)
    // Where holes cannot be told from data no zeros are promised.
    if (systemCalls !== null || title === 'closed') {
      await t.throwsAsync(client.blockStatus(half, half), EIO)
      await t.throwsAsync(client.blockStatus(0, CHUNK), EIO)
    }
    sameBytes(t, await client.read(CHUNK, CHUNK), filled(CHUNK))
  })
}

test('a trim does not make a file that was cut short look empty', async (t) => {
  const { client, folder, disk } = await open(t)
  await client.write(0, filled(PAGE))
  await disk.close()
  const again = await folder.open('a')
  await again.client.read(0, PAGE)
  fs.truncateSync(folder.path('a', 'chunk0'), CHUNK / 2)
  await again.client.trim(0, PAGE)
  await t.throwsAsync(again.client.read(CHUNK / 2, PAGE), EIO)
})
