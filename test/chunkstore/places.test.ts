/** Block status tells the layer, the part and the chunk of every extent. */
import test from 'ava'
import { ExtentKind, ExtentList } from '../../device/extents.ts'
import { mapDisk } from '../../chunkstore/map.ts'
import type { ChunkDisk } from '../../chunkstore/disk.ts'
import { Seek } from '../../io/io.ts'
import type { FileOperation, SeekKind } from '../../io/io.ts'
import { DiskFolder, nodeFiles } from '../helpers/chunk-disk.ts'
import { Random, seedFor } from '../helpers/random.ts'
import { TestDevice } from '../helpers/test-device.ts'
import { TestFiles } from '../helpers/test-files.ts'

const CHUNK_SIZE = 65_536
const PAGE = 4096
const { ALLOCATION, DEPTH, PART, CHUNK } = ExtentKind
const filled = (length: number, value = 7): Uint8Array => new Uint8Array(length).fill(value)

/** Rows of length, flags, depth, part, chunk. */
async function told(disk: ChunkDisk, kinds: number): Promise<number[][]> {
  const subject = new TestDevice({ device: disk })
  const rows: number[][] = []
  for (let offset = 0; offset < disk.size;) {
    const extents = new ExtentList(100)
    extents.clear(kinds)
    await subject.perform('blockStatus', offset, disk.size - offset, { extents })
    for (let index = 0; index < extents.count; index++)
      rows.push([
        extents.lengthAt(index),
        extents.flagsAt(index),
        extents.depthAt(index),
        extents.partAt(index),
        extents.chunkAt(index),
      ])
    offset += extents.total
  }
  return rows
}

test('each extent has the layer that decides, its part in that layer and its chunk', async (t) => {
  const folder = new DiskFolder(t)
  const size = 8 * CHUNK_SIZE
  folder.make('base', { size, parts: { base1: 1, base2: 10 } })
  folder.make('child', { size, parent: 'base', parts: { child1: 1, child2: 1, child3: 6 } })
  const base = await folder.open('base')
  for (const chunk of [0, 1, 4]) await base.client.write(chunk * CHUNK_SIZE, filled(CHUNK_SIZE))
  await base.disk.close()
  const { client, disk } = await folder.open('child')
  await client.write(4 * CHUNK_SIZE, filled(CHUNK_SIZE, 8))
  await client.write(6 * CHUNK_SIZE, filled(CHUNK_SIZE, 8))
  // An empty file hides what the parent has.
  await client.trim(0, CHUNK_SIZE)
  t.deepEqual(await told(disk, ALLOCATION | DEPTH | PART | CHUNK), [
    [CHUNK_SIZE, 3, 1, 2, 0],
    [CHUNK_SIZE, 0, 2, 1, 1],
    [2 * CHUNK_SIZE, 3, 0, 0, 0],
    [CHUNK_SIZE, 0, 1, 0, 4],
    [CHUNK_SIZE, 3, 0, 0, 0],
    [CHUNK_SIZE, 0, 1, 1, 6],
    [CHUNK_SIZE, 3, 0, 0, 0],
  ])
  t.deepEqual(
    (await told(disk, DEPTH)).map(([length, , depth]) => [length / CHUNK_SIZE, depth]),
    [
      [1, 1],
      [1, 2],
      [2, 0],
      [1, 1],
      [1, 0],
      [1, 1],
      [1, 0],
    ],
  )
  const { client: reader } = await folder.open('base', { readOnly: true })
  t.deepEqual((await told(reader.device as ChunkDisk, DEPTH | PART))[0], [CHUNK_SIZE, 0, 1, 0, 0])
})

test('the depth is that of the map of the files', async (t) => {
  const random = new Random(seedFor(t))
  const folder = new DiskFolder(t)
  const names = ['first', 'second', 'third', 'fourth']
  for (const [index, name] of names.entries()) {
    const parent = names[index - 1]
    folder.make(name, parent === undefined ? {} : { parent })
    const { client, disk } = await folder.open(name)
    for (let count = 0; count < 4; count++) {
      const chunk = random.between(0, 15)
      if (random.chance(0.7)) await client.write(chunk * CHUNK_SIZE, filled(PAGE))
      else await client.trim(chunk * CHUNK_SIZE, CHUNK_SIZE)
    }
    const expected: number[][] = []
    for await (const { length, depth } of mapDisk(nodeFiles(), disk.file)) {
      const last = expected.at(-1)
      const value = depth === null ? 0 : depth + 1
      if (last?.[1] === value) last[0] += length
      else expected.push([length, value])
    }
    const depths = (await told(disk, DEPTH)).map(([length, , depth]) => [length, depth])
    t.deepEqual(depths, expected)
    await disk.close()
  }
})

test('who asks for places only has no file searched', async (t) => {
  const files = new TestFiles(nodeFiles())
  let seeks = 0
  files.seek = (operation: FileOperation): boolean => {
    seeks++
    operation.result = CHUNK_SIZE
    return true
  }
  const folder = new DiskFolder(t)
  folder.make('a')
  const { client, disk } = await folder.open('a', {}, files)
  await client.write(0, filled(4 * CHUNK_SIZE))
  t.deepEqual((await told(disk, CHUNK)).length, 5)
  t.is(seeks, 0)
  await told(disk, ALLOCATION)
  t.true(seeks > 0)
})

test('a file system whose search goes in circles has data everywhere', async (t) => {
  const files = new TestFiles(nodeFiles())
  files.seek = (operation: FileOperation): boolean => {
    operation.result = operation.position
    return true
  }
  const folder = new DiskFolder(t)
  folder.make('a', { size: 2 * CHUNK_SIZE })
  const { client, disk } = await folder.open('a', {}, files)
  await client.write(0, filled(CHUNK_SIZE))
  t.deepEqual(await told(disk, ALLOCATION), [
    [CHUNK_SIZE, 0, 0, 0, 0],
    [CHUNK_SIZE, 3, 0, 0, 0],
  ])
})

test('extents end at pages where the blocks of the file system are smaller', async (t) => {
  const KIB = 1024
  // Data and holes as a file system of 1 KiB blocks may have them.
  const data: readonly (readonly [number, number])[] = [
    [0, 1 * KIB],
    [9 * KIB, 11 * KIB],
    [12 * KIB, 13 * KIB],
    [14 * KIB, 15 * KIB],
    [23 * KIB, 25 * KIB],
  ]
  const files = new TestFiles(nodeFiles())
  files.seek = (operation: FileOperation, kind: SeekKind): boolean => {
    const { position } = operation
    const inside = data.find(([from, to]) => position >= from && position < to)
    const next = data.find(([from]) => from >= position)
    if (kind === Seek.HOLE) operation.result = inside === undefined ? position : inside[1]
    else if (inside !== undefined) operation.result = position
    else operation.result = next === undefined ? -6 : next[0]
    return true
  }
  const folder = new DiskFolder(t)
  folder.make('a', { size: CHUNK_SIZE })
  const { client, disk } = await folder.open('a', {}, files)
  await client.write(0, filled(PAGE))
  t.deepEqual(
    (await told(disk, ALLOCATION)).map(([length, flags]) => [length / PAGE, flags]),
    [
      [1, 0],
      [1, 3],
      [2, 0],
      [1, 3],
      [2, 0],
      [9, 3],
    ],
  )
  t.deepEqual(
    (await client.blockStatus(4 * PAGE, 2 * PAGE)).map(({ length, flags }) => [length, flags]),
    [
      [PAGE, 3],
      [PAGE, 0],
    ],
  )
})
