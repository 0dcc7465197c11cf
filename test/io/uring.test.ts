/** What only the io_uring engine must stand: its own limits, storms, memory, and its end. */
import assert from 'node:assert/strict'
import { once } from 'node:events'
import fs from 'node:fs'
import type net from 'node:net'
import { join } from 'node:path'
import { setFlagsFromString } from 'node:v8'
import { runInNewContext } from 'node:vm'
import test from 'ava'
import type { ExecutionContext } from 'ava'
import { FileOperation, type Io } from '../../io/io.ts'
import { loadRingCalls } from '../../io/ring-calls.ts'
import { loadFfi, SystemCalls } from '../../io/syscalls.ts'
import { UringFiles } from '../../io/uring-files.ts'
import { Ring } from '../../io/uring-ring.ts'
import { setUpRing } from '../../io/uring-setup.ts'
import { sameBytes } from '../helpers/bytes.ts'
import { serveEcho, unixAddress } from '../helpers/echo.ts'
import { Random, seedFor } from '../helpers/random.ts'
import { tempDirectory } from '../helpers/temp.ts'
import { attempt } from '../helpers/tools.ts'
import { uringForTests } from './uring-for-tests.ts'

const PAGE = 4096
const EAGAIN = 11
const io = uringForTests()

setFlagsFromString('--expose-gc')
const collectGarbage = runInNewContext('gc') as () => void

/** Runs alone: descriptors and memory of the process are counted. */
function check(title: string, run: (t: ExecutionContext, engine: Io) => Promise<void>): void {
  if (io !== null) test.serial(title, (t) => run(t, io))
}

class CountedOperation extends FileOperation {
  readonly #onComplete: () => void

  constructor(onComplete: () => void) {
    super()
    this.#onComplete = onComplete
  }

  override complete(): void {
    this.#onComplete()
  }
}

/** A file of `pages` pages; every byte of a page is its number. */
function numberedFile(t: ExecutionContext, pages: number): number {
  const fd = fs.openSync(join(tempDirectory(t), 'file'), 'w+')
  t.teardown(() => fs.closeSync(fd))
  for (let page = 0; page < pages; page++) fs.writeSync(fd, Buffer.alloc(PAGE, page))
  return fd
}

const descriptors = (): number => fs.readdirSync('/proc/self/fd').length

/** Whose kernel never has anything in memory, as far as it says: all reads wait. */
class ColdCalls extends SystemCalls {
  override readNowait(): number {
    return -EAGAIN
  }

  override readVectorNowait(): number {
    return -EAGAIN
  }
}

function coldFiles(): UringFiles {
  const koffi = loadFfi()
  const ringCalls = loadRingCalls()
  assert(typeof koffi !== 'string' && typeof ringCalls !== 'string')
  const memory = setUpRing(ringCalls)
  assert(typeof memory !== 'string')
  const options = { hasTruncate: false }
  return new UringFiles(new Ring(ringCalls, memory), new ColdCalls(koffi), options)
}

check(
  'more reads at once than both rings hold are all done, right and in live memory',
  async (t) => {
    const files = coldFiles()
    const count = 20_000
    const fd = numberedFile(t, 256)
    let left = count
    let wrong = 0
    await new Promise<void>((resolve) => {
      const started: boolean[] = []
      for (let index = 0; index < count; index++) {
        const operation = new CountedOperation(() => {
          const { buffer, result, position } = operation
          if (result !== 64 || buffer[63] !== position / PAGE) wrong++
          if (--left === 0) resolve()
        })
        const position = (index % 256) * PAGE
        Object.assign(operation, { fd, buffer: new Uint8Array(64), length: 64, position })
        if (index % 100 === 0) files.submit()
        const isDone = files.read(operation)
        started.push(!isDone)
        if (isDone && --left === 0) resolve()
      }
      t.is(started.filter(Boolean).length, count, 'the ring was used')
      // From here on nobody but the ring knows the operations and their buffers.
      started.length = 0
      collectGarbage()
    })
    t.is(wrong, 0)
  },
)

check('a million operations leave no memory behind', async (t) => {
  const files = coldFiles()
  const fd = numberedFile(t, 16)
  const parallel = 64
  const total = 1_000_000
  let started = 0
  let running = 0
  const finished = async (): Promise<number> => {
    await new Promise<void>((resolve) => {
      const go = (operation: FileOperation): void => {
        while (started < total / 2) {
          started++
          running++
          if (started % parallel === 0) files.submit()
          if (!files.read(operation)) return
          running--
        }
        if (running === 0) resolve()
      }
      for (let index = 0; index < parallel; index++) {
        const operation: CountedOperation = new CountedOperation(() => {
          running--
          go(operation)
        })
        Object.assign(operation, { fd, length: PAGE, position: 0 })
        operation.buffer = new Uint8Array(PAGE)
        go(operation)
      }
    })
    started = 0
    collectGarbage()
    return process.memoryUsage().heapUsed + process.memoryUsage().arrayBuffers
  }
  const first = await finished()
  const second = await finished()
  t.true(second - first < 2 ** 20, `${second - first} bytes more after another half a million`)
})

check('files opened with O_DIRECT are read and written by the ring', async (t, { files }) => {
  const path = join(tempDirectory(t), 'file')
  const flags = fs.constants.O_RDWR | fs.constants.O_CREAT | fs.constants.O_DIRECT
  const fd = await files.open(path, flags).catch(() => -1)
  if (fd < 0) {
    t.pass('this file system has no O_DIRECT')
    return
  }
  const memory = new Uint8Array(8 * PAGE)
  const run = (bufferOffset: number, start: (operation: FileOperation) => boolean) =>
    new Promise<number>((resolve) => {
      const operation = new CountedOperation(() => resolve(operation.result))
      Object.assign(operation, { fd, buffer: memory, bufferOffset, length: PAGE, position: PAGE })
      t.false(start(operation))
    })
  // One of the places in the buffer is aligned to 512 bytes, which is what disks want.
  for (let at = 0; at < PAGE; at += 8) {
    memory.fill(7, at, at + PAGE)
    if ((await run(at, (operation) => files.write(operation))) !== PAGE) continue
    memory.fill(0)
    t.is(await run(at, (operation) => files.read(operation)), PAGE)
    sameBytes(t, memory.subarray(at, at + PAGE), new Uint8Array(PAGE).fill(7))
    await files.close(fd)
    return
  }
  t.fail('no alignment is good enough')
})

check('200 connections come and go without a descriptor left', async (t, { listen }) => {
  const before = descriptors()
  for (const address of [unixAddress(t), { kind: 'tcp', host: '127.0.0.1', port: 0 } as const]) {
    const { connect, echoes, listener } = await serveEcho(t, address, listen)
    for (let round = 0; round < 5; round++) {
      const sockets = await Promise.all(Array.from({ length: 20 }, connect))
      for (const socket of sockets) socket.write('x')
      await Promise.all(sockets.map((socket) => once(socket, 'data')))
      for (const socket of sockets) socket.destroy()
    }
    await Promise.all(echoes.map((echo) => echo.over))
    t.is(echoes.length, 100)
    await listener.close()
  }
  t.true(descriptors() <= before + 1, `${descriptors()} descriptors, ${before} before`)
})

check('clients that break off at any moment harm nobody', async (t, { listen }) => {
  const random = new Random(seedFor(t))
  const before = descriptors()
  const service = await serveEcho(t, { kind: 'tcp', host: '127.0.0.1', port: 0 }, listen)
  const good = await service.connect()
  const [goodEcho] = service.echoes
  const bytes = random.bytes(200_000)
  const received: Buffer[] = []
  const broken: net.Socket[] = []
  good.on('data', (piece: Buffer) => received.push(piece))
  for (let round = 0; round < 150; round++) {
    const socket = await service.connect()
    broken.push(socket)
    socket.write(random.bytes(random.between(1, 60_000)))
    await breakOff(socket, random)
    good.write(bytes.subarray(round * 1000, round * 1000 + 1000))
  }
  const pending = service.echoes.filter((echo) => echo !== goodEcho).map((echo) => echo.over)
  for (const echo of service.echoes) if (echo !== goodEcho) echo.stream.destroy()
  await Promise.all(pending)
  const everything = once(good, 'end')
  good.end()
  await Promise.all([everything, goodEcho.over])
  sameBytes(t, Buffer.concat(received), bytes.subarray(0, 150_000))
  await service.listener.close()
  for (const socket of broken) socket.destroy()
  await Promise.all(broken.map((socket) => socket.closed || once(socket, 'close')))
  t.true(descriptors() <= before + 1, `${descriptors()} descriptors, ${before} before`)
})

async function breakOff(socket: net.Socket, random: Random): Promise<void> {
  const way = random.between(0, 3)
  if (way === 0) socket.resetAndDestroy()
  else if (way === 1) socket.destroy()
  else if (way === 2) {
    await once(socket, 'data')
    socket.resetAndDestroy()
  } else socket.end()
}

check('streams are destroyed with sends and receives under way', async (t, { listen }) => {
  const service = await serveEcho(t, unixAddress(t), listen)
  for (let round = 0; round < 30; round++) {
    const accepted = service.accepted()
    const socket = await service.connect()
    const echo = await accepted
    // More than the socket takes while nobody reads.
    echo.stream.send([new Uint8Array(2 ** 20), new Uint8Array(2 ** 20)])
    if (round % 2 === 0) await new Promise((resolve) => setImmediate(resolve))
    echo.stream.destroy()
    t.is(await echo.over, null)
    t.is(echo.sentCount, 0)
    socket.destroy()
  }
})

check('the engine keeps no process alive', async (t) => {
  const module = import.meta.resolve('../../io/uring.ts')
  const code = `
    import fs from 'node:fs'
    const { createUringIo } = await import(${JSON.stringify(module)})
    const { FileOperation } = await import(${JSON.stringify(import.meta.resolve('../../io/io.ts'))})
    const io = createUringIo()
    const listener = await io.listen({ kind: 'tcp', host: '127.0.0.1', port: 0 }, () => {})
    class Sync extends FileOperation { complete() { console.log('synced', this.result) } }
    const fd = fs.openSync(process.execPath)
    await listener.close()
    io.files.sync(Object.assign(new Sync(), { fd }))`
  const args = ['--import', import.meta.resolve('tsx'), '--input-type=module', '-e', code]
  const { status, stdout, stderr } = await attempt(t, process.execPath, args)
  t.is(stderr, '')
  t.is(stdout, 'synced 0\n')
  t.is(status, 0)
})
