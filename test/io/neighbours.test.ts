/** Operations side by side in a file, on both engines. */
import fs from 'node:fs'
import { join } from 'node:path'
import test from 'ava'
import type { ExecutionContext } from 'ava'
import { FileOperation, type Files } from '../../io/io.ts'
import { NodeFiles } from '../../io/node-files.ts'
import { loadFfi, loadSystemCalls, SystemCalls } from '../../io/syscalls.ts'
import { WritePieces } from '../../io/write-pieces.ts'
import { sameBytes } from '../helpers/bytes.ts'
import { Random, seedFor } from '../helpers/random.ts'
import { tempDirectory } from '../helpers/temp.ts'
import { uringForTests } from './uring-for-tests.ts'

const PAGE = 4096
const PAGES = 300

class Operation extends FileOperation {
  isDone = false

  constructor(fields: Partial<FileOperation>) {
    super()
    Object.assign(this, fields)
  }

  override complete(): void {
    if (this.isDone) throw new Error('completed twice')
    this.isDone = true
  }
}

/** Counts the system calls that transfer. */
class CountedCalls extends SystemCalls {
  count = 0

  override readNowait(...args: Parameters<SystemCalls['readNowait']>): number {
    this.count++
    return super.readNowait(...args)
  }

  override readVectorNowait(...args: Parameters<SystemCalls['readVectorNowait']>): number {
    this.count++
    return super.readVectorNowait(...args)
  }

  override write(...args: Parameters<SystemCalls['write']>): number {
    this.count++
    return super.write(...args)
  }

  override writeVector(...args: Parameters<SystemCalls['writeVector']>): number {
    this.count++
    return super.writeVector(...args)
  }
}

/** @returns null, and says why: there are no system calls here */
function countedCalls(t: ExecutionContext): CountedCalls | null {
  const koffi = loadFfi()
  if (typeof koffi !== 'string') return new CountedCalls(koffi)
  t.log(`SKIPPED: ${koffi}`)
  t.not(process.env.CI, 'true')
  return null
}

function openFile(t: ExecutionContext, bytes: Uint8Array): number {
  const file = join(tempDirectory(t), 'file')
  fs.writeFileSync(file, bytes)
  const fd = fs.openSync(file, 'r+')
  t.teardown(() => fs.closeSync(fd))
  return fd
}

async function run(files: Files, operations: Operation[], isWrite: boolean): Promise<void> {
  for (const operation of operations) {
    if (isWrite ? files.write(operation) : files.read(operation)) operation.complete()
  }
  files.submit()
  while (operations.some((operation) => !operation.isDone))
    await new Promise((resolve) => setImmediate(resolve))
}

const at = (fd: number, page: number, buffer: Uint8Array, length = PAGE): Operation =>
  new Operation({ fd, position: page * PAGE, buffer, length })

const loaded = loadSystemCalls()
const uring = uringForTests()
const engines: [string, Files][] = []
if (loaded instanceof SystemCalls) engines.push(['node', new NodeFiles(loaded)])
if (uring !== null) engines.push(['uring', uring.files])

for (const [engine, files] of engines) {
  test(`${engine}: neighbours, strangers and the end of the file are read`, async (t) => {
    const random = new Random(seedFor(t))
    const bytes = random.bytes(PAGES * PAGE)
    const fd = openFile(t, bytes)
    for (let round = 0; round < 60; round++) {
      let page = random.between(0, PAGES - 1)
      const operations: Operation[] = []
      for (let count = random.between(1, 40); count > 0; count--) {
        const length = random.pick([PAGE, PAGE, 2 * PAGE, 512])
        operations.push(at(fd, page, new Uint8Array(length), length))
        page = random.chance(0.8) ? page + length / PAGE : random.between(0, PAGES - 1)
      }
      await run(files, operations, false)
      for (const { position, result, buffer, length } of operations) {
        const expected = bytes.subarray(position, position + length)
        t.is(result, expected.length)
        sameBytes(t, buffer.subarray(0, result), expected)
      }
    }
  })

  test(`${engine}: neighbours and strangers are written alike`, async (t) => {
    const random = new Random(seedFor(t))
    const bytes = random.bytes(PAGES * PAGE)
    const fd = openFile(t, bytes)
    for (let round = 0; round < 40; round++) {
      const operations: Operation[] = []
      for (let page = random.between(0, 20); page < PAGES - 4; page += random.pick([1, 1, 1, 3])) {
        const operation = at(fd, page, random.bytes(PAGE))
        bytes.set(operation.buffer, operation.position)
        operations.push(operation)
      }
      await run(files, operations, true)
      t.true(operations.every(({ result }) => result === PAGE))
    }
    const found = new Uint8Array(bytes.length)
    fs.readSync(fd, found, 0, found.length, 0)
    sameBytes(t, found, bytes)
  })

  test(`${engine}: what is held completes without an end of the batch`, async (t) => {
    const fd = openFile(t, new Uint8Array(PAGES * PAGE))
    const operations = [0, 1, 2].map((page) => at(fd, page, new Uint8Array(PAGE)))
    for (const operation of operations) if (files.read(operation)) operation.complete()
    t.false(operations[2].isDone)
    await new Promise((resolve) => setImmediate(resolve))
    t.true(operations[2].isDone)
  })

  test(`${engine}: neighbours that cannot be written fail each for itself`, async (t) => {
    const file = join(tempDirectory(t), 'file')
    fs.writeFileSync(file, new Uint8Array(PAGES * PAGE))
    const fd = fs.openSync(file, 'r')
    t.teardown(() => fs.closeSync(fd))
    const operations = [0, 1, 2, 3].map((page) => at(fd, page, new Uint8Array(PAGE)))
    await run(files, operations, true)
    t.deepEqual(
      operations.map(({ result }) => result),
      [-9, -9, -9, -9],
    )
  })
}

test('a batch of neighbours is one system call, of strangers one for each', async (t) => {
  const calls = countedCalls(t)
  if (calls === null) return
  const fd = openFile(t, new Uint8Array(PAGES * PAGE))
  const files = new NodeFiles(calls)
  const many = (step: number): Operation[] =>
    Array.from({ length: 32 }, (_, index) => at(fd, 10 + index * step, new Uint8Array(PAGE)))
  for (const isWrite of [false, true]) {
    calls.count = 0
    await run(files, many(1), isWrite)
    t.is(calls.count, 2)
    await run(files, many(2), isWrite)
    t.is(calls.count, 34)
  }
})

test('neighbours that bring pages to ext4 are written piece by piece', async (t) => {
  const calls = countedCalls(t)
  if (calls === null) return
  const options = { release: '6.16.0', typeOf: (): Promise<number> => Promise.resolve(0xef53) }
  const files = new NodeFiles(calls, new WritePieces(calls, options))
  const directory = tempDirectory(t)
  await files.abilities(directory)
  const fd = await files.open(join(directory, 'file'), fs.constants.O_RDWR | fs.constants.O_CREAT)
  const random = new Random(seedFor(t))
  const bytes = random.bytes(34 * PAGE)
  const operations = Array.from({ length: 34 }, (_, index) =>
    at(fd, index, bytes.subarray(index * PAGE, (index + 1) * PAGE)),
  )
  await run(files, operations, true)
  // The first one alone; three in its piece, seven pieces of four, and two pages.
  t.is(calls.count, 1 + 1 + 7 + 1)
  t.true(operations.every(({ result }) => result === PAGE))
  sameBytes(t, fs.readFileSync(join(directory, 'file')), bytes)
  await files.close(fd)
})

test('a completion may start and end another batch', async (t) => {
  if (!(loaded instanceof SystemCalls)) {
    t.pass('told by the test above')
    return
  }
  const random = new Random(seedFor(t))
  const bytes = random.bytes(PAGES * PAGE)
  const fd = openFile(t, bytes)
  const files = new NodeFiles(loaded)
  /** Goes on with the next page but one when it completes, from inside the end of a batch. */
  class Chain extends Operation {
    override complete(): void {
      sameBytes(t, this.buffer, bytes.subarray(this.position, this.position + PAGE))
      this.buffer.fill(0)
      this.position += 8 * PAGE
      if (this.position >= bytes.length) ended.push(this)
      else if (files.read(this)) this.complete()
      files.submit()
    }
  }
  const ended: Chain[] = []
  for (let page = 0; page < 8; page++) {
    const chain = new Chain(at(fd, page, new Uint8Array(PAGE)))
    if (files.read(chain)) chain.complete()
  }
  files.submit()
  while (ended.length < 8) await new Promise((resolve) => setImmediate(resolve))
  t.is(new Set(ended).size, 8)
})
