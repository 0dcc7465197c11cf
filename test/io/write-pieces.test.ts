/** Large writes in pieces where they bring folios of ext4: a kernel that the test plays itself. */
import test from 'ava'
import { PIECE_BYTES, WritePieces } from '../../io/write-pieces.ts'
import { IoOperation } from '../helpers/io-operation.ts'

const EXT4 = 0xef53
const XFS = 0x58465342
const FD = 5
const DIRECTORY = '/disks/part'
const EINTR = 4
const ENOSPC = 28

class Kernel {
  /** Position and length of each write. */
  readonly writes: [number, number][] = []
  isCached = (): boolean => this.hasPages
  hasPages = false
  /** What the next writes return instead of having written all. */
  readonly results: number[] = []

  write = (_fd: number, buffer: Uint8Array, start: number, length: number, at: number): number => {
    if (start + length > buffer.length) throw new Error('outside of the buffer')
    this.writes.push([at, length])
    return this.results.shift() ?? length
  }
}

async function piecesFor(kernel: Kernel, release: string, type: number): Promise<WritePieces> {
  const pieces = new WritePieces(kernel, { release, typeOf: () => Promise.resolve(type) })
  await pieces.probe(DIRECTORY)
  pieces.opened(`${DIRECTORY}/chunk7`, FD)
  return pieces
}

function operationOf(position: number, length: number): IoOperation {
  const buffer = new Uint8Array(8 + length)
  return Object.assign(new IoOperation(), { fd: FD, buffer, bufferOffset: 8, position, length })
}

test('ext4 with large folios gets new pages in pieces that end at borders', async (t) => {
  const kernel = new Kernel()
  const pieces = await piecesFor(kernel, '6.16.0', EXT4)
  const operation = operationOf(4096, 3 * PIECE_BYTES)
  t.is(pieces.write(operation), 0)
  t.is(operation.result, operation.length)
  t.deepEqual(kernel.writes, [
    [4096, PIECE_BYTES - 4096],
    [PIECE_BYTES, PIECE_BYTES],
    [2 * PIECE_BYTES, PIECE_BYTES],
    [3 * PIECE_BYTES, 4096],
  ])
})

test('pages that are there are written by one call', async (t) => {
  const kernel = new Kernel()
  kernel.hasPages = true
  const pieces = await piecesFor(kernel, '7.0.0-rc1', EXT4)
  t.is(pieces.write(operationOf(0, 4 * PIECE_BYTES)), 0)
  t.deepEqual(kernel.writes, [[0, 4 * PIECE_BYTES]])
})

for (const [title, release, type] of [
  ['an older kernel', '6.15.9-generic', EXT4],
  ['another file system', '6.18.4', XFS],
  ['a release that is no number', 'unknown', EXT4],
] as const) {
  test(`one call on ${title}`, async (t) => {
    const kernel = new Kernel()
    const pieces = await piecesFor(kernel, release, type)
    t.is(pieces.write(operationOf(0, 4 * PIECE_BYTES)), 0)
    t.is(kernel.writes.length, 1)
  })
}

test('one call for files of other directories, and after the file was closed', async (t) => {
  const kernel = new Kernel()
  const pieces = await piecesFor(kernel, '6.18.44', EXT4)
  pieces.closed(FD)
  t.is(pieces.write(operationOf(0, 4 * PIECE_BYTES)), 0)
  pieces.opened('/disks/part/below/chunk7', FD)
  t.is(pieces.write(operationOf(0, 4 * PIECE_BYTES)), 0)
  t.is(kernel.writes.length, 2)
})

test('a directory whose file system cannot be found out is like any other', async (t) => {
  const kernel = new Kernel()
  const typeOf = (): Promise<number> => Promise.reject(new Error('ENOSYS'))
  const pieces = new WritePieces(kernel, { release: '6.18.44', typeOf })
  await pieces.probe(DIRECTORY)
  pieces.opened(`${DIRECTORY}/chunk7`, FD)
  t.is(pieces.write(operationOf(0, 4 * PIECE_BYTES)), 0)
  t.is(kernel.writes.length, 1)
})

test('goes on after short and interrupted writes, and tells how far it came', async (t) => {
  const kernel = new Kernel()
  const pieces = await piecesFor(kernel, '6.18.44', EXT4)
  kernel.results.push(PIECE_BYTES, -EINTR, 100, -ENOSPC)
  const operation = operationOf(0, 4 * PIECE_BYTES)
  t.is(pieces.write(operation), -ENOSPC)
  t.is(operation.result, PIECE_BYTES + 100)
  t.deepEqual(kernel.writes, [
    [0, PIECE_BYTES],
    [PIECE_BYTES, PIECE_BYTES],
    [PIECE_BYTES, PIECE_BYTES],
    [PIECE_BYTES + 100, PIECE_BYTES - 100],
  ])
  t.is(pieces.write(operation), 0)
  t.is(operation.result, operation.length)
})

test('a write that comes to nothing is an error, not a loop', async (t) => {
  const kernel = new Kernel()
  const pieces = await piecesFor(kernel, '6.18.44', EXT4)
  kernel.results.push(0)
  t.is(pieces.write(operationOf(0, 100)), -5)
})
