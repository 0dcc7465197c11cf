/** Bytes of files sent by every engine of this machine, over TCP and unix sockets. */
import fs from 'node:fs'
import { join } from 'node:path'
import { once } from 'node:events'
import type net from 'node:net'
import test from 'ava'
import type { ExecutionContext } from 'ava'
import type { Io, ListenAddress, Stream } from '../../io/io.ts'
import { createNodeIo } from '../../io/node.ts'
import { SocketSend } from '../../io/socket-send.ts'
import { loadSystemCalls, SystemCalls } from '../../io/syscalls.ts'
import { sameBytes } from '../helpers/bytes.ts'
import { serveEcho, unixAddress } from '../helpers/echo.ts'
import { Random, seedFor } from '../helpers/random.ts'
import { tempDirectory } from '../helpers/temp.ts'
import { uringForTests } from './uring-for-tests.ts'

const MIB = 1024 * 1024
const loaded = loadSystemCalls()
const calls = loaded instanceof SystemCalls ? loaded : null
const EINTR = 4
const EIO = 5

const ADDRESSES: readonly (readonly [string, (t: ExecutionContext) => ListenAddress])[] = [
  ['tcp', () => ({ kind: 'tcp', host: '127.0.0.1', port: 0 })],
  ['unix', unixAddress],
]

const uring = uringForTests()
const engines: readonly Io[] =
  calls === null ? [] : [createNodeIo(), ...(uring === null ? [] : [uring])]

interface Scene {
  readonly stream: Stream
  readonly socket: net.Socket
  readonly over: Promise<Error | null>
  readonly fd: number
  readonly bytes: Uint8Array
  /** Resolves when all that was given to the stream has left. */
  send(pieces: readonly Uint8Array[], position?: number): Promise<void>
}

function makeFile(t: ExecutionContext, bytes: Uint8Array): number {
  const path = join(tempDirectory(t), 'file')
  fs.writeFileSync(path, bytes)
  const fd = fs.openSync(path, 'r')
  t.teardown(() => fs.closeSync(fd))
  return fd
}

async function makeScene(t: ExecutionContext, io: Io, address: ListenAddress): Promise<Scene> {
  const { connect, accepted } = await serveEcho(t, address, io.listen)
  const pending = accepted()
  const socket = await connect()
  const echo = await pending
  // The descriptor is known when something was received.
  socket.write('a')
  await once(socket, 'data')
  socket.pause()
  const bytes = new Random(seedFor(t)).bytes(8 * MIB)
  const fd = makeFile(t, bytes)
  const { stream, over } = echo
  const send = async (pieces: readonly Uint8Array[], position?: number): Promise<void> => {
    const { sentCount } = echo
    const hasLeft =
      position === undefined ? stream.send(pieces) : stream.sendFile?.(pieces, fd, position)
    if (hasLeft === true) return
    while (echo.sentCount === sentCount) await new Promise((resolve) => setImmediate(resolve))
  }
  return { stream, socket, over, fd, bytes, send }
}

async function readAll(socket: net.Socket): Promise<Buffer> {
  const pieces: Buffer[] = []
  for await (const piece of socket) pieces.push(piece as Buffer)
  return Buffer.concat(pieces)
}

function check(title: string, run: (t: ExecutionContext, scene: Scene) => Promise<void>): void {
  for (const io of engines) {
    for (const [network, address] of ADDRESSES) {
      test(`${io.name}, ${network}: ${title}`, async (t) => {
        await run(t, await makeScene(t, io, address(t)))
      })
    }
  }
}

check('what fits in the socket leaves without touching our memory', async (t, scene) => {
  const { socket, bytes, send } = scene
  const memory = new Uint8Array(65_536)
  const head = Buffer.from('head')
  await send([head, memory], 4096)
  t.true(memory.every((byte) => byte === 0))
  await send([Buffer.from('tail')])
  scene.stream.finish()
  socket.end()
  const expected = [head, bytes.subarray(4096, 4096 + 65_536), Buffer.from('tail')]
  sameBytes(t, await readAll(socket), Buffer.concat(expected))
})

check('what the socket does not take at once follows, in order', async (t, scene) => {
  const { socket, bytes, send } = scene
  const expected: Uint8Array[] = []
  const sending = (async () => {
    for (let round = 0; round < 6; round++) {
      const length = [8, 3, 0.5, 5, 0.1, 6][round] * MIB
      const position = round * 4096
      const whole = Math.min(Math.floor(length), bytes.length - position)
      const heads = Array.from({ length: round }, (_, index) => Buffer.alloc(7, index))
      expected.push(...heads, bytes.subarray(position, position + whole))
      await send([...heads, new Uint8Array(whole)], position)
    }
    scene.stream.finish()
  })()
  const all = await readAll(socket)
  await sending
  sameBytes(t, all, Buffer.concat(expected))
})

check(
  'a file that ends too early ends the connection',
  async (t, { over, stream, bytes, socket, fd }) => {
    const pieces = [Buffer.from('head'), new Uint8Array(65_536)]
    t.false(stream.sendFile?.(pieces, fd, bytes.length - 4096))
    socket.resume()
    const reason = await over
    t.regex(reason?.message ?? '', /sendfile EIO/)
  },
)

const withCalls = calls === null ? test.skip : test

/** A sender on a kernel that answers as it is told to. */
function makeSender(answers: Partial<Record<string, number[]>>) {
  if (calls === null) throw new Error('no system calls')
  const log: string[] = []
  const odd = new Proxy(calls, {
    get: (target, name) => {
      const value = Reflect.get(target, name, target) as unknown
      const queue = answers[String(name)]
      if (queue === undefined || typeof value !== 'function') {
        return typeof value === 'function' ? (value.bind(target) as unknown) : value
      }
      return (...args: unknown[]) => {
        log.push(String(name))
        const answer = queue.shift()
        return answer ?? (value.apply(target, args) as unknown)
      }
    },
  })
  return { sender: new SocketSend(odd), log }
}

withCalls('of a front that did not leave whole the file is read into memory', (t) => {
  const bytes = new Random(seedFor(t)).bytes(16_384)
  const fd = makeFile(t, bytes)
  const memory = new Uint8Array(8192)
  const { sender, log } = makeSender({ sendMessage: [3], sendFile: [], read: [-EINTR] })
  t.is(sender.sendFile(-1, [Buffer.from('head'), memory], fd, 4096, false), 3)
  t.deepEqual(
    log.filter((name) => name === 'sendFile'),
    [],
  )
  sameBytes(t, memory, bytes.subarray(4096, 12_288))
})

withCalls('an error of the file is told', (t) => {
  const fd = makeFile(t, new Uint8Array(4096))
  const { sender } = makeSender({ sendMessage: [4], sendFile: [-11], read: [-EIO] })
  t.is(sender.sendFile(-1, [Buffer.from('head'), new Uint8Array(4096)], fd, 0, false), -EIO)
})

withCalls('the kernel tells what it holds in memory', (t) => {
  if (calls === null) return
  const fd = makeFile(t, new Uint8Array(65_536).fill(1))
  const isHeld = calls.isCached(fd, 0, 65_536)
  t.log(isHeld ? 'cachestat works here' : 'no cachestat here: reads are copied')
  t.false(calls.isCached(fd, 0, 131_072), 'there is no more than the file')
  t.false(calls.isCached(-1, 0, 4096))
  t.is(calls.isCached(fd, 0, 65_536), isHeld, 'a bad descriptor says nothing about others')
})
