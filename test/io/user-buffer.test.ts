/** Where TLS receives: into one buffer by what Node has inside, else by 'data' events. */
import { once } from 'node:events'
import net from 'node:net'
import type { ConnectionOptions } from 'node:tls'
import test, { type ExecutionContext } from 'ava'
import { createNodeIo } from '../../io/node.ts'
import { TlsContext } from '../../io/tls-context.ts'
import { receiveInto } from '../../io/user-buffer.ts'
import { sameBytes } from '../helpers/bytes.ts'
import { serveEcho } from '../helpers/echo.ts'
import { Random, seedFor } from '../helpers/random.ts'
import { listenSecurely, secureClient, upgradeTo } from '../helpers/tls.ts'

const TCP = { kind: 'tcp', host: '127.0.0.1', port: 0 } as const
const KEY = Buffer.alloc(32, 1)
const CLIENT: ConnectionOptions = {
  pskCallback: () => ({ psk: KEY, identity: 'alice' }),
  ciphers: 'TLS_AES_128_GCM_SHA256:PSK',
  checkServerIdentity: () => undefined,
}

/** A TLS connection whose server pauses and goes on all the time. */
async function pausing(t: ExecutionContext): Promise<void> {
  const random = new Random(seedFor(t))
  const context = new TlsContext({ kind: 'keys', keys: new Map([['alice', KEY]]) })
  const listen = listenSecurely(createNodeIo().listen, context)
  const { connect, accepted } = await serveEcho(t, TCP, listen, upgradeTo(CLIENT))
  const pending = accepted()
  const socket = await connect()
  const echo = await pending
  const received: Uint8Array[] = []
  let isPaused = false
  echo.onReceived = (bytes) => {
    t.false(isPaused, 'nothing comes while the stream is paused')
    received.push(bytes)
    if (random.chance(0.75)) return
    isPaused = true
    echo.stream.pause()
    setImmediate(() => {
      isPaused = false
      echo.stream.resume()
    })
  }
  const bytes = random.bytes(1 << 20)
  for (let at = 0; at < bytes.length;) {
    const end = at + random.between(1, 100_000)
    socket.write(bytes.subarray(at, end))
    at = end
    if (random.chance(0.5)) await new Promise((resolve) => setImmediate(resolve))
  }
  socket.end()
  await Promise.race([echo.over, until(() => echo.events.includes('ended'))])
  sameBytes(t, Buffer.concat(received), bytes)
  echo.stream.destroy()
  t.is(await echo.over, null)
}

async function until(isSo: () => boolean): Promise<void> {
  while (!isSo()) await new Promise((resolve) => setImmediate(resolve))
}

/** The server's end of a connection, as Node has it. */
async function secured(t: ExecutionContext): Promise<net.Socket> {
  const context = new TlsContext({ kind: 'keys', keys: new Map([['alice', KEY]]) })
  const server = net.createServer({ pauseOnConnect: true })
  t.teardown(() => server.close())
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve))
  const client = net.connect((server.address() as net.AddressInfo).port, '127.0.0.1')
  t.teardown(() => client.destroy())
  const [socket] = (await once(server, 'connection')) as [net.Socket]
  const other = secureClient(client, CLIENT)
  const found = new Promise<net.Socket>((resolve, reject) => {
    context.handshake(socket, { secured: (each) => resolve(each), failed: reject })
  })
  await other
  return found
}

test.serial('this version of Node can receive TLS into a buffer of ours', async (t) => {
  const socket = await secured(t)
  t.true(receiveInto(socket, new Uint8Array(1000), () => {}))
  // Once only: somebody else uses it already.
  t.false(receiveInto(socket, new Uint8Array(1000), () => {}))
  socket.destroy()
})

test.serial('a stream that pauses all the time receives every byte once', async (t) => {
  await pausing(t)
})

test.serial('without what Node has inside, the same by data events', async (t) => {
  const socket = await secured(t)
  const inside = socket as unknown as Readonly<Record<string, object>>
  const prototype = Object.getPrototypeOf(inside['_handle']) as object
  Object.defineProperty(prototype, 'useUserBuffer', { value: undefined })
  t.false(receiveInto(socket, new Uint8Array(1000), () => {}))
  socket.destroy()
  await pausing(t)
})
