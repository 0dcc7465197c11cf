/** O_DIRECT: aligned buffers for memory that is not, with a kernel that the test plays itself. */
import test from 'ava'
import {
  BOUNCE_BYTES_MAX,
  BOUNCE_PIECE_BYTES_MAX,
  DirectFiles,
  resumeFrom,
} from '../../io/direct-files.ts'
import type { FileOperation } from '../../io/io.ts'
import type { SystemCalls } from '../../io/syscalls.ts'
import { sameBytes } from '../helpers/bytes.ts'
import { IoOperation } from '../helpers/io-operation.ts'
import { Random, seedFor } from '../helpers/random.ts'

const FD = 5
const PAGE = 4096

/** Pretends that every buffer begins at a page border; what is at an odd place in it is not. */
class Kernel {
  readonly direct: DirectFiles
  readonly started: { readonly operation: FileOperation; readonly isWrite: boolean }[] = []
  /** Every buffer that was allocated. */
  readonly memory: Uint8Array[] = []
  alignment = 512

  constructor() {
    const calls = {
      memoryAlignment: () => this.alignment,
      addressOf: (view: Uint8Array, start: number) => view.byteOffset + start,
      memory: (bytes: number) => {
        const memory = new Uint8Array(bytes)
        this.memory.push(memory)
        return memory
      },
    }
    this.direct = new DirectFiles(calls as unknown as SystemCalls, (operation, isWrite) => {
      this.started.push({ operation, isWrite })
    })
    this.direct.opened(FD)
  }

  start(isWrite: boolean, fields: Partial<FileOperation>): [IoOperation, Promise<number>] {
    const operation = new IoOperation()
    const run = operation.run((each) => this.direct.start(each, isWrite), { fd: FD, ...fields })
    return [operation, run]
  }

  /** Completes what was started first. */
  complete(result?: number): FileOperation {
    const next = this.started.shift()
    if (next === undefined) throw new Error('nothing was started')
    next.operation.result = result ?? next.operation.length
    next.operation.complete()
    return next.operation
  }
}

const filled = (length: number, value = 7): Uint8Array => new Uint8Array(length).fill(value)

test('aligned memory goes to the kernel itself, without a copy', async (t) => {
  const kernel = new Kernel()
  const place = { buffer: new Uint8Array(3 * PAGE), bufferOffset: 512, length: PAGE }
  const [operation, run] = kernel.start(false, place)
  t.is(kernel.started[0].operation, operation)
  kernel.complete()
  t.is(await run, PAGE)
  t.deepEqual(kernel.memory, [])
})

test('what is aligned is what the kernel says of the file', async (t) => {
  for (const [alignment, offset, copies] of [
    [4, 28, 0],
    [4, 30, 1],
    [512, 28, 1],
    [0, 512, 1],
    [0, 4096, 0],
  ]) {
    const kernel = new Kernel()
    kernel.alignment = alignment
    kernel.direct.opened(FD)
    const place = { buffer: new Uint8Array(3 * PAGE), bufferOffset: offset, length: PAGE }
    const [, run] = kernel.start(true, place)
    kernel.complete()
    t.is(await run, PAGE)
    t.is(kernel.memory.length, copies, `${alignment}, ${offset}`)
  }
})

test('a read through a buffer fills its place and nothing around it', async (t) => {
  const kernel = new Kernel()
  const buffer = filled(3 * PAGE, 1)
  const [, run] = kernel.start(false, {
    buffer,
    bufferOffset: 100,
    length: 2 * PAGE,
    position: PAGE,
  })
  const [{ operation, isWrite }] = kernel.started
  t.false(isWrite)
  t.is(operation.position, PAGE)
  operation.buffer.fill(9)
  kernel.complete()
  t.is(await run, 2 * PAGE)
  sameBytes(t, buffer, filled(3 * PAGE, 1).fill(9, 100, 100 + 2 * PAGE))
})

test('a read that ends early fills as much as there was', async (t) => {
  const kernel = new Kernel()
  const buffer = filled(3 * PAGE, 1)
  const [, run] = kernel.start(false, { buffer, bufferOffset: 1, length: 2 * PAGE })
  kernel.started[0].operation.buffer.fill(9)
  kernel.complete(PAGE + 10)
  t.is(await run, PAGE + 10)
  sameBytes(t, buffer, filled(3 * PAGE, 1).fill(9, 1, 1 + PAGE + 10))
})

test('what is longer than a buffer goes in pieces, in order', async (t) => {
  const kernel = new Kernel()
  const length = 2 * BOUNCE_PIECE_BYTES_MAX + 3 * PAGE
  const data = new Random(seedFor(t)).bytes(length + 1)
  const written = new Uint8Array(length)
  const fields = { buffer: data, bufferOffset: 1, length, position: 8 * PAGE }
  const [, run] = kernel.start(true, fields)
  const pieces: number[] = []
  while (kernel.started.length > 0) {
    const { operation, isWrite } = kernel.started[0]
    t.true(isWrite)
    written.set(operation.buffer.subarray(0, operation.length), operation.position - 8 * PAGE)
    pieces.push(operation.length)
    kernel.complete()
  }
  t.is(await run, length)
  t.deepEqual(pieces, [BOUNCE_PIECE_BYTES_MAX, BOUNCE_PIECE_BYTES_MAX, 3 * PAGE])
  sameBytes(t, written, data.subarray(1))
})

test('an error of any piece is that of the operation, and ends it', async (t) => {
  const kernel = new Kernel()
  const length = 2 * BOUNCE_PIECE_BYTES_MAX
  const [, run] = kernel.start(true, {
    buffer: new Uint8Array(length + 1),
    bufferOffset: 1,
    length,
  })
  kernel.complete()
  kernel.complete(-28)
  t.is(await run, -28)
  t.deepEqual(kernel.started, [])
})

test('buffers are used again: what was needed at once is all that is ever allocated', async (t) => {
  const kernel = new Kernel()
  const place = { buffer: new Uint8Array(2 * PAGE), bufferOffset: 1, length: PAGE }
  for (let round = 0; round < 50; round++) {
    const runs = Array.from({ length: 8 }, () => kernel.start(round % 2 === 0, place)[1])
    while (kernel.started.length > 0) kernel.complete()
    await Promise.all(runs)
  }
  t.is(kernel.memory.length, 8)
})

test('when the buffers are used up operations wait their turn', async (t) => {
  const kernel = new Kernel()
  const length = BOUNCE_PIECE_BYTES_MAX
  const buffer = new Uint8Array(length + 1)
  const count = BOUNCE_BYTES_MAX / length
  const ended: number[] = []
  const runs = Array.from({ length: count + 3 }, (_, position) => {
    const [, run] = kernel.start(false, { buffer, bufferOffset: 1, length, position })
    return run.then(() => ended.push(position))
  })
  // A small one could be served, but not before those that came before it.
  const small = { buffer, bufferOffset: 1, length: PAGE, position: 99 }
  runs.push(kernel.start(false, small)[1].then(() => ended.push(99)))
  t.is(kernel.started.length, count)
  while (kernel.started.length > 0) {
    kernel.complete()
    t.true(kernel.started.length <= count)
  }
  await Promise.all(runs)
  t.deepEqual(ended, [...Array.from({ length: count + 3 }, (_, position) => position), 99])
  const bytes = kernel.memory.reduce((sum, each) => sum + each.length, 0)
  t.true(bytes <= BOUNCE_BYTES_MAX + PAGE, `${bytes}`)
})

test('free buffers of one size make room for those of another', async (t) => {
  const kernel = new Kernel()
  const random = new Random(seedFor(t))
  const buffer = new Uint8Array(BOUNCE_PIECE_BYTES_MAX + 1)
  for (let round = 0; round < 20; round++) {
    const runs: Promise<number>[] = []
    for (let count = 0; count < 40; count++) {
      const length = PAGE * random.logarithmic(1, BOUNCE_PIECE_BYTES_MAX / PAGE)
      runs.push(kernel.start(random.chance(0.5), { buffer, bufferOffset: 1, length })[1])
    }
    while (kernel.started.length > 0) {
      const inUse = kernel.started.reduce((sum, { operation }) => sum + operation.buffer.length, 0)
      t.true(inUse <= BOUNCE_BYTES_MAX)
      kernel.complete()
    }
    await Promise.all(runs)
  }
})

test('a descriptor that was closed is not taken for a direct one', (t) => {
  const kernel = new Kernel()
  t.true(kernel.direct.has(FD))
  kernel.direct.closed(FD)
  t.false(kernel.direct.has(FD))
})

test('a short transfer goes on from an aligned place, or ends', (t) => {
  // before, after, direct: where it goes on
  for (const [before, after, isDirect, expected] of [
    [0, 100, false, 100],
    [0, 0, false, -1],
    [100, 100, false, -1],
    [0, PAGE, true, PAGE],
    [0, PAGE + 512, true, PAGE],
    [0, 512, true, -1],
    [PAGE, PAGE + 512, true, -1],
    [0, 0, true, -1],
  ] as const) {
    t.is(resumeFrom(before, after, isDirect), expected, `${before} ${after} ${isDirect}`)
  }
})
