import test from 'ava'
import { ExtentFlag, ExtentList } from '../../device/extents.ts'
import { difference } from '../helpers/bytes.ts'
import { DiskFolder, plainFiles } from '../helpers/chunk-disk.ts'
import { Random, seedFor } from '../helpers/random.ts'
import { TestDevice, UNWRITTEN } from '../helpers/test-device.ts'

const CHUNK = 65_536
const PAGE = 4096
const SIZE = 8 * CHUNK + 3 * PAGE

/** Data, holes in files, empty chunks and absent ones, in runs of all lengths. */
async function fill(subject: TestDevice, image: Uint8Array, random: Random): Promise<void> {
  for (let at = 0; at < SIZE;) {
    const length = Math.min(SIZE - at, random.logarithmic(1, 24) * PAGE)
    const isData = random.chance(0.5)
    if (isData)
      await subject.write(
        at,
        image.fill(random.between(1, 255), at, at + length).slice(at, at + length),
      )
    else if (random.chance(0.5)) await subject.trim(at, length)
    at += length
  }
}

for (const [title, makeFiles] of [
  ['', undefined],
  [', without system calls', plainFiles],
] as const) {
  test(`a read covers its range with extents, however few fit${title}`, async (t) => {
    const random = new Random(seedFor(t))
    const folder = new DiskFolder(t)
    folder.make('a', { size: SIZE, chunkSize: CHUNK })
    const { disk } = await folder.open('a', {}, makeFiles?.())
    const subject = new TestDevice({ device: disk })
    const image = new Uint8Array(SIZE)
    await fill(subject, image, random)
    for (let round = 0; round < 400; round++) {
      const extents = new ExtentList(random.between(1, 7))
      const length = random.logarithmic(1, SIZE / PAGE) * PAGE
      const offset = random.between(0, (SIZE - length) / PAGE) * PAGE
      const { content, status } = await subject.perform('read', offset, length, { extents })
      t.is(status, 0)
      t.is(extents.total, length)
      for (let index = 0, at = 0; index < extents.count; index++) {
        const end = at + extents.lengthAt(index)
        const expected = image.slice(offset + at, offset + end)
        if (extents.flagsAt(index) !== ExtentFlag.DATA) {
          if (expected.some((byte) => byte !== 0)) t.fail(`no zeros at ${offset + at}`)
          expected.fill(UNWRITTEN)
        }
        const problem = difference(content.subarray(at, end), expected)
        if (problem !== '') t.fail(`extent ${index} of a read at ${offset}: ${problem}`)
        at = end
      }
    }
  })
}

test('a large read tells of the holes inside a file, a small one does not look', async (t) => {
  const folder = new DiskFolder(t)
  folder.make('a', { size: SIZE, chunkSize: CHUNK })
  const { disk, client } = await folder.open('a')
  await client.write(0, new Uint8Array(PAGE).fill(7))
  const subject = new TestDevice({ device: disk })
  const list = new ExtentList(8)
  const holes = (await client.blockStatus(0, CHUNK)).length > 1
  await subject.perform('read', 0, CHUNK, { extents: list })
  t.is(list.count, holes ? 2 : 1)
  list.clear()
  await subject.perform('read', 0, 2 * PAGE, { extents: list })
  t.is(list.count, 1)
})

test('the status of a file with very many holes is told a part at a time', async (t) => {
  const folder = new DiskFolder(t)
  folder.make('a', { size: 512 * PAGE, chunkSize: 512 * PAGE })
  const { disk, client } = await folder.open('a')
  const data = new Uint8Array(PAGE).fill(7)
  for (let page = 0; page < 512; page += 2) await client.write(page * PAGE, data)
  const subject = new TestDevice({ device: disk })
  const list = new ExtentList(4096)
  await subject.perform('blockStatus', 0, 512 * PAGE, { extents: list })
  t.true(list.count >= 1 && list.count <= 128, `${list.count} extents`)
  const whole = await client.blockStatus(0, 512 * PAGE)
  t.is(
    whole.reduce((sum, extent) => sum + extent.length, 0),
    512 * PAGE,
  )
})
