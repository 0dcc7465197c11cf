/** What streams of every engine do, over TCP and unix sockets. */
import { once } from 'node:events'
import type net from 'node:net'
import test from 'ava'
import type { ExecutionContext } from 'ava'
import type { Io, ListenAddress } from '../../io/io.ts'
import { sameBytes } from '../helpers/bytes.ts'
import { serveEcho, type Service, unixAddress, type Upgrade } from '../helpers/echo.ts'
import { Random, seedFor } from '../helpers/random.ts'

async function readAll(socket: net.Socket): Promise<Buffer> {
  const pieces: Buffer[] = []
  for await (const piece of socket) pieces.push(piece as Buffer)
  return Buffer.concat(pieces)
}

const ADDRESSES: readonly (readonly [string, (t: ExecutionContext) => ListenAddress])[] = [
  ['tcp', () => ({ kind: 'tcp', host: '127.0.0.1', port: 0 })],
  ['unix', unixAddress],
]

/**
 * @param listen gives streams of the kind under test
 * @param upgrade makes a client's connection one of that kind
 * @param prefix of the titles
 */
export function streamContract(listen: Io['listen'], upgrade?: Upgrade, prefix = ''): void {
  for (const [network, addressFor] of ADDRESSES) {
    const kind = prefix + network
    const serve: Serve = (t) => serveEcho(t, addressFor(t), listen, upgrade)
    streamTests(serve, kind)
    sendTests(serve, kind)
    endTests(serve, kind)
  }
}

type Serve = (t: ExecutionContext) => Promise<Service>

function streamTests(serve: Serve, kind: string): void {
  test(`${kind}: bytes arrive in the handler's memory and go back`, async (t) => {
    const random = new Random(seedFor(t))
    const { connect, echoes } = await serve(t)
    const socket = await connect()
    const bytes = random.bytes(300_000)
    socket.end(bytes)
    sameBytes(t, await readAll(socket), bytes)
    t.is(await echoes[0].over, null)
    t.deepEqual(echoes[0].events, ['started', 'ended', 'closed'])
  })

  test(`${kind}: many pieces in one send arrive in order`, async (t) => {
    const { connect, accepted } = await serve(t)
    const pending = accepted()
    const socket = await connect()
    const { stream, ...echo } = await pending
    t.truthy(echo)
    const pieces = Array.from({ length: 500 }, (_, index) => Buffer.alloc(1000, index))
    stream.send(pieces)
    stream.finish()
    const all = readAll(socket)
    socket.end()
    sameBytes(t, await all, Buffer.concat(pieces))
  })

  test(`${kind}: a paused stream receives nothing until it is resumed`, async (t) => {
    const { connect, accepted } = await serve(t)
    const pending = accepted()
    const socket = await connect()
    const echo = await pending
    socket.write('a')
    await once(socket, 'data')
    echo.stream.pause()
    const other = await connect()
    socket.write('b'.repeat(5000))
    other.write('x')
    await once(other, 'data')
    t.is(echo.receivedBytes, 1)
    echo.stream.resume()
    while (echo.receivedBytes < 5001) await once(socket, 'data')
    t.is(echo.receivedBytes, 5001)
  })
}

function sendTests(serve: Serve, kind: string): void {
  test(`${kind}: the pieces are the sender's again after a send, then finish ends`, async (t) => {
    const { connect, accepted } = await serve(t)
    const pending = accepted()
    const socket = await connect()
    const echo = await pending
    const pieces = [Buffer.from('all of '), Buffer.from('it')]
    if (!echo.stream.send(pieces))
      while (echo.sentCount === 0) await new Promise((resolve) => setImmediate(resolve))
    pieces.length = 0
    echo.stream.finish()
    t.is((await readAll(socket)).toString(), 'all of it')
    await echo.over
  })

  test(`${kind}: a send that fills the socket leaves whole, and is reported once`, async (t) => {
    const random = new Random(seedFor(t))
    const { connect, accepted } = await serve(t)
    const pending = accepted()
    const socket = await connect()
    const echo = await pending
    const pieces = Array.from({ length: 40 }, () => random.bytes(random.between(1, 400_000)))
    // Nobody reads: the socket is full at some time.
    t.false(echo.stream.send(pieces))
    t.is(echo.sentCount, 0)
    const all = readAll(socket)
    while (echo.sentCount === 0) await new Promise((resolve) => setImmediate(resolve))
    echo.stream.finish()
    socket.end()
    sameBytes(t, await all, Buffer.concat(pieces))
    t.is(echo.sentCount, 1)
  })
}

function endTests(serve: Serve, kind: string): void {
  test(`${kind}: a client that resets is a closed stream, not an exception`, async (t) => {
    const { connect, carrierOf, accepted } = await serve(t)
    const pending = accepted()
    const socket = await connect()
    const echo = await pending
    echo.onReceived = () => {
      if (kind.endsWith('tcp')) carrierOf(socket).resetAndDestroy()
      else carrierOf(socket).destroy()
      const again = (): void => {
        if (!echo.events.includes('closed')) setImmediate(again)
      }
      echo.stream.send([Buffer.alloc(10_000_000)])
      again()
    }
    socket.write('x')
    await echo.over
    t.is(echo.sentCount, 0)
    t.is(echo.events.at(-1), 'closed')
  })

  test(`${kind}: destroy closes at once and is heard once`, async (t) => {
    const { connect, accepted } = await serve(t)
    const pending = accepted()
    const socket = await connect()
    const echo = await pending
    echo.stream.destroy()
    echo.stream.destroy()
    t.is(await echo.over, null)
    await once(socket, 'close')
    t.deepEqual(echo.events, ['started', 'closed'])
  })
}
