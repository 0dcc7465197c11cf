/** A connection that turns into TLS, over streams whose every step the test decides. */
import test from 'ava'
import { MemoryDevice } from '../../device/memory.ts'
import type { TlsContext } from '../../io/tls-context.ts'
import { CLIENT_LINES_MAX } from '../../nbd/limits.ts'
import { Server } from '../../nbd/server.ts'
import { STRANGER } from '../helpers/conversation.ts'
import { FakeIo, type FakeStream } from '../helpers/fake-stream.ts'
import { until } from '../helpers/socket-server.ts'
import { silentLog } from '../helpers/memory-session.ts'
import { infoData, option, parseOptionReplies, request, u32 } from '../helpers/naive-codec.ts'

const STARTTLS = option(5)
const GO = option(7, infoData(''))
const GREETING_BYTES = 18
const ACK_BYTES = 20

interface Line {
  readonly level: string
  readonly fields: Readonly<Record<string, unknown>>
  readonly message: string
}

async function connect() {
  const lines: Line[] = []
  const note = (level: string) => (fields: object, message: string) =>
    void lines.push({ level, fields: { ...fields }, message })
  const log = { ...silentLog, info: note('info'), debug: note('debug') }
  const entry = { name: '', description: '', device: new MemoryDevice(1024) }
  const exports = { find: () => entry, list: () => [entry] }
  const fake = new FakeIo()
  // The streams of these tests never look at it.
  const tls = { mode: 'require', context: {} as TlsContext } as const
  const server = new Server({ io: fake.io, exports, log, tls })
  await server.listen({ kind: 'unix', path: 'fake' })
  return { server, lines, fake, stream: fake.connect() }
}

function settle(stream: FakeStream): void {
  while (stream.step());
}

/** Up to the stream in which TLS begins. */
async function begun() {
  const connected = await connect()
  const { stream } = connected
  stream.push(Buffer.concat([u32(3), STARTTLS]))
  settle(stream)
  const { successor } = stream
  if (successor === null) throw new Error('TLS does not begin')
  return { ...connected, successor }
}

test('TLS begins when its acknowledgement has left, and not before', async (t) => {
  const { stream } = await connect()
  settle(stream)
  stream.take()
  stream.isHolding = true
  stream.push(u32(3))
  stream.push(STARTTLS)
  settle(stream)
  t.is(stream.successor, null)
  t.true(stream.isPaused)
  stream.isHolding = false
  settle(stream)
  t.not(stream.successor, null)
  t.is(parseOptionReplies(stream.take())[0].type, 1)
})

test('in TLS the client is served', async (t) => {
  const { server, stream, successor } = await begun()
  t.is(stream.take().length, GREETING_BYTES + ACK_BYTES)
  successor.shakeHands(STRANGER)
  successor.push(Buffer.concat([GO, request({ command: 0, cookie: 7n, length: 4 })]))
  settle(successor)
  const bytes = successor.take()
  t.is(bytes.readBigUInt64BE(bytes.length - 12), 7n)
  t.is(stream.take().length, 0, 'nothing more leaves in plain')
  t.is(server.statistics().connections, 1)
  successor.break(null)
  await until(() => server.statistics().connections === 0)
})

test('plain bytes in one packet with STARTTLS close the connection', async (t) => {
  for (const behind of [STARTTLS.subarray(0, 1), option(8), GO, Buffer.from('160301', 'hex')]) {
    const { stream, server } = await connect()
    stream.push(Buffer.concat([u32(3), STARTTLS, behind]))
    settle(stream)
    t.true(stream.isDestroyed)
    t.is(stream.successor, null)
    t.is(server.statistics().connections, 0)
  }
})

test('plain bytes that come a little later are not options: TLS chokes on them', async (t) => {
  const { stream, server, lines } = await connect()
  stream.push(Buffer.concat([u32(3), STARTTLS]))
  stream.push(Buffer.concat([option(8), GO]))
  // One receive for each push.
  stream.pieceBytes = 20
  settle(stream)
  const { successor } = stream
  if (successor === null) return t.fail('TLS does not begin')
  settle(successor)
  successor.shakeHands(STRANGER)
  t.is(successor.take().length, 0)
  t.is(server.statistics().connections, 0)
  const told = lines.find(({ message }) => message === 'no TLS: the handshake failed')
  t.like(told, { level: 'info', fields: { reason: 'wrong version number' } })
})

test('who fails at TLS all the time does not fill the log', async (t) => {
  const { fake, lines } = await connect()
  for (let count = 0; count < CLIENT_LINES_MAX + 200; count++) {
    const stream = fake.connect()
    stream.push(Buffer.concat([u32(3), STARTTLS]))
    settle(stream)
    stream.successor?.break(new Error('gone'))
  }
  const failures = lines.filter(({ message }) => message === 'no TLS: the handshake failed')
  t.is(failures.length, CLIENT_LINES_MAX)
})

test('a client that leaves while TLS begins leaves nothing behind', async (t) => {
  const { server, successor } = await begun()
  successor.break(new Error('gone'))
  t.like(server.statistics(), { connections: 0, memoryBytes: 0, slabsInUse: 0 })
})

test('a server that stops while TLS begins tells the client in TLS', async (t) => {
  const { server, successor } = await begun()
  const stopped = server.stop()
  successor.shakeHands(STRANGER)
  successor.push(GO)
  settle(successor)
  t.is(parseOptionReplies(successor.take())[0].type, 0x80000007)
  successor.break(null)
  await stopped
  t.is(server.statistics().connections, 0)
})

test('the log tells who has come', async (t) => {
  const { successor, lines } = await begun()
  successor.shakeHands({ ...STRANGER, keyName: 'alice' })
  successor.push(GO)
  settle(successor)
  const begins = lines.find(({ message }) => message === 'TLS begins')
  t.like(begins, { level: 'debug', fields: { peer: 'alice', protocol: 'TLSv1.3' } })
  const attached = lines.find(({ message }) => message === 'client attached')
  t.like(attached, { level: 'info', fields: { peer: 'alice', tls: 'TLSv1.3' } })
})
