import test from 'ava'
import { Geometry } from '../../chunkstore/geometry.ts'

test('chunks follow one another and the last is cut short by the end of the disk', (t) => {
  const geometry = new Geometry(10 * 4096, 4 * 4096)
  t.is(geometry.chunkCount, 3)
  t.deepEqual(
    [0, 1, 2].map((index) => geometry.startOf(index)),
    [0, 16_384, 32_768],
  )
  t.deepEqual(
    [0, 1, 2].map((index) => geometry.usedSizeOf(index)),
    [16_384, 16_384, 8192],
  )
})

test('an offset belongs to the chunk that begins at or before it', (t) => {
  const geometry = new Geometry(2 ** 20, 65_536)
  t.is(geometry.chunkOf(0), 0)
  t.is(geometry.chunkOf(65_535), 0)
  t.is(geometry.chunkOf(65_536), 1)
  t.is(geometry.chunkOf(2 ** 20 - 1), 15)
})

test('arithmetic stays exact on the largest disk', (t) => {
  const size = Number.MAX_SAFE_INTEGER - (Number.MAX_SAFE_INTEGER % 4096)
  const geometry = new Geometry(size, 4096)
  t.is(geometry.chunkCount, 2_199_023_255_551)
  t.is(geometry.chunkOf(size - 1), 2_199_023_255_550)
  t.is(geometry.startOf(2_199_023_255_550) + 4096, size)
  t.is(geometry.usedSizeOf(2_199_023_255_550), 4096)
})
