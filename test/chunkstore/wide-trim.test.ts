import test from 'ava'
import { CacheMode } from '../../chunkstore/options.ts'
import { DONE, RequestFlag } from '../../device/device.ts'
import type { Request, Status } from '../../device/device.ts'
import { ExtentList } from '../../device/extents.ts'
import { sameBytes } from '../helpers/bytes.ts'
import { DiskFolder, nodeFiles } from '../helpers/chunk-disk.ts'
import { TestFiles } from '../helpers/test-files.ts'

const TIB = 2 ** 40
const LOOKUPS_MAX = 10_000

function requestFor(offset: number, length: number, flags: number): Request {
  const buffer = new Uint8Array(0)
  const complete = (): void => {}
  const numbers = { offset, length, flags, bufferOffset: 0, errorOffset: -1 }
  return { ...numbers, buffer, extents: null, complete }
}

/** Every step looks into a map of chunks: counting these shows that no loop walks the disk. */
function lookupsOf(work: () => Status): number {
  const { get } = Map.prototype
  let count = 0
  const counting = function (this: Map<unknown, unknown>, key: unknown): unknown {
    count++
    return get.call(this, key)
  }
  Reflect.defineProperty(Map.prototype, 'get', { value: counting, configurable: true })
  try {
    if (work() !== DONE) throw new Error('it did not end at once')
  } finally {
    Reflect.defineProperty(Map.prototype, 'get', { value: get, configurable: true })
  }
  return count
}

for (const [size, chunkSize] of [
  ['64 KiB', 2 ** 16],
  ['64 MiB', 2 ** 26],
] as const) {
  for (const cacheMode of [CacheMode.WRITEBACK, CacheMode.WRITETHROUGH]) {
    test(`2 TiB of nothing is trimmed at once, chunks of ${size}, ${cacheMode}`, async (t) => {
      const folder = new DiskFolder(t)
      const shape = { size: 2 * TIB, chunkSize, parts: { a: 2 ** 26 } }
      folder.make('base', { ...shape, parts: { base: 2 ** 26 } })
      folder.make('a', { ...shape, parent: 'base' })
      const files = new TestFiles(nodeFiles())
      const { disk } = await folder.open('a', { cacheMode }, files)
      files.take()
      for (const flags of [0, RequestFlag.FUA]) {
        t.true(lookupsOf(() => disk.trim(requestFor(0, 2 * TIB, flags))) < LOOKUPS_MAX)
        t.true(lookupsOf(() => disk.zero(requestFor(0, 2 * TIB, flags))) < LOOKUPS_MAX)
      }
      t.deepEqual(files.take(), [])
      t.deepEqual(folder.list('a'), [])
    })
  }
}

test('asked for the status of 2 TiB of nothing, a call answers for a part of it', async (t) => {
  const folder = new DiskFolder(t)
  folder.make('a', { size: 2 * TIB, chunkSize: 65_536, parts: { a: 2 ** 26 } })
  const { disk } = await folder.open('a')
  const extents = new ExtentList(4)
  const lookups = lookupsOf(() => disk.blockStatus(requestFor(0, 2 * TIB, 0), extents))
  t.true(lookups < 200_000)
  t.is(extents.count, 1)
  t.true(extents.total >= 2 ** 32 && extents.total < TIB)
  t.is(extents.flagsAt(0), 3)
})

test('a wide trim finds every chunk there is, in the disk and its parent', async (t) => {
  const folder = new DiskFolder(t)
  const chunkSize = 65_536
  const size = 4096 * chunkSize
  folder.make('base', { size, chunkSize })
  folder.make('child', { size, chunkSize, parent: 'base' })
  const data = new Uint8Array(chunkSize).fill(7)
  const base = await folder.open('base')
  for (const index of [0, 1, 1500, 4095]) await base.client.write(index * chunkSize, data)
  await base.disk.close()
  const { client } = await folder.open('child')
  for (const index of [1, 2, 3000, 4094]) await client.write(index * chunkSize, data)
  await client.trim(chunkSize + 4096, size - 2 * chunkSize)
  t.deepEqual(folder.list('child').sort(), [
    'chunk1 65536',
    'chunk1500 0',
    'chunk2 0',
    'chunk3000 0',
    'chunk4094 0',
    'chunk4095 65536',
  ])
  sameBytes(t, await client.read(chunkSize, 4096), data.subarray(0, 4096))
  sameBytes(t, await client.read(size - chunkSize + 4096, 4096), data.subarray(0, 4096))
  const inside = await client.blockStatus(2 * chunkSize, size - 3 * chunkSize)
  t.deepEqual(inside, [{ length: size - 3 * chunkSize, flags: 3 }])
})
