/** NBD in frames: their borders mean nothing, and what a request has settled holds. */
import test, { type ExecutionContext } from 'ava'
import { MemoryDevice } from '../../device/memory.ts'
import { createNodeIo } from '../../io/node.ts'
import { withWebSockets } from '../../io/ws-io.ts'
import { WebSocketTokens } from '../../io/ws-tokens.ts'
import { Server } from '../../nbd/server.ts'
import { sameBytes } from '../helpers/bytes.ts'
import { DiskClient } from '../helpers/disk-client.ts'
import { framingProxy } from '../helpers/framing-proxy.ts'
import { infoData, option } from '../helpers/naive-codec.ts'
import { Random, seedFor } from '../helpers/random.ts'
import { connect, type RawWebSocket } from '../helpers/web-socket.ts'

const MIB = 1 << 20
const TOKEN = 'dGhpcyBpcyBhIHNlY3JldA'

async function serve(t: ExecutionContext, tokens: WebSocketTokens | null = null): Promise<number> {
  const all = ['first', 'second'].map((name, index) => ({
    name,
    description: '',
    device: new MemoryDevice((index + 1) * 8 * MIB),
  }))
  const find = (name: string) =>
    name === '' ? all[0] : (all.find((each) => each.name === name) ?? null)
  const io = createNodeIo()
  const listen = withWebSockets((...given) => io.listen(...given), {
    listen: {
      tls: null,
      origins: [],
      tokens: () => tokens,
      hasExport: (name) => find(name) !== null,
      refused: () => {},
    },
    dial: {
      target: () => Promise.reject(new Error('nobody dials')),
      reports: { connected: () => {}, failed: () => {} },
    },
  })
  const server = new Server({ io: { ...io, listen }, exports: { find, list: () => all } })
  t.teardown(() => server.stop())
  const at = { kind: 'tcp', host: '127.0.0.1', port: 0 } as const
  const address = await server.listen({ kind: 'ws', secure: false, at })
  if (address.kind !== 'ws' || address.at.kind !== 'tcp') throw new Error('no port')
  return address.at.port
}

for (const longest of [1, 40, 100_000]) {
  const most = longest === 1 ? 'of 1 byte' : `of up to ${longest} bytes`
  test(`requests and data in frames ${most}, and fragments`, async (t) => {
    const random = new Random(seedFor(t))
    const path = await framingProxy(t, await serve(t), random, longest)
    const client = await DiskClient.connect(`nbd+unix:///?socket=${path}`)
    const model = Buffer.alloc(8 * MIB)
    const lengthMax = longest <= 40 ? 2000 : 300_000
    for (let round = 0; round < 30; round++) {
      const length = random.logarithmic(1, lengthMax)
      const at = random.between(0, 8 * MIB - length)
      const bytes = random.bytes(length)
      model.set(bytes, at)
      await client.write(at, bytes)
      const from = Math.max(0, at - random.between(0, 1000))
      const count = Math.min(length + 1000, 8 * MIB - from)
      sameBytes(t, await client.read(from, count), model.subarray(from, from + count))
    }
    await client.disconnect()
  })
}

/** What INFO says of an export: its size, or the error. */
async function ask(webSocket: RawWebSocket, name: string): Promise<number> {
  webSocket.sendBytes(option(6, infoData(name)))
  for (let size = 0; ;) {
    const header = await webSocket.read(20)
    const type = header.readUInt32BE(12)
    const data = await webSocket.read(header.readUInt32BE(16))
    if (type === 3 && data.readUInt16BE(0) === 0) size = Number(data.readBigUInt64BE(2)) / MIB
    if (type !== 3) return type === 1 ? size : type
  }
}

const UNKNOWN = 0x80000006

test('the path is the default, the token hides the rest, STARTTLS has no place', async (t) => {
  const tokens = WebSocketTokens.parse(`second:${TOKEN}\n*:${TOKEN.toLowerCase()}`, 'f')
  const port = await serve(t, tokens)
  const open = async (path: string, token: string): Promise<RawWebSocket> => {
    const headers = { Authorization: `Bearer ${token}` }
    const webSocket = await connect(t, { port, host: '127.0.0.1' }, { path, headers })
    await webSocket.read(18)
    webSocket.sendBytes(Buffer.from([0, 0, 0, 3]))
    return webSocket
  }
  const one = await open('/', TOKEN)
  t.deepEqual([await ask(one, ''), await ask(one, 'first')], [16, UNKNOWN])
  t.is(await ask(one, 'second'), 16)
  const all = await open('/second', TOKEN.toLowerCase())
  t.deepEqual([await ask(all, ''), await ask(all, 'first')], [16, 8])
  const plain = await open('/', TOKEN.toLowerCase())
  t.is(await ask(plain, ''), 8)
  plain.sendBytes(option(5))
  t.is((await plain.read(20)).readUInt32BE(12), 0x80000002)
})
