import { mock } from 'node:test'
import test from 'ava'
import { MemoryDevice } from '../../device/memory.ts'
import type { TlsContext } from '../../io/tls-context.ts'
import type { TlsSettings } from '../../nbd/connection-settings.ts'
import { STRANGER } from '../helpers/conversation.ts'
import { FakeIo } from '../helpers/fake-stream.ts'
import { silentLog } from '../helpers/memory-session.ts'
import { infoData, option, u32 } from '../helpers/naive-codec.ts'
import { Server } from '../../nbd/server.ts'

// The clock of this whole file stands still but for `tick`.
test.before(() => mock.timers.enable({ apis: ['setTimeout'] }))
test.after.always(() => mock.timers.reset())

async function connect(tls?: TlsSettings) {
  const entry = { name: '', description: '', device: new MemoryDevice(1024) }
  const fake = new FakeIo()
  const exports = { find: () => entry, list: () => [entry] }
  const server = new Server({ io: fake.io, exports, log: silentLog, ...(tls && { tls }) })
  await server.listen({ kind: 'unix', path: 'fake' })
  return { server, stream: fake.connect() }
}

test.serial('a handshake that takes more than 10 s is cut off', async (t) => {
  const { stream } = await connect()
  stream.push(u32(3))
  while (stream.step());
  mock.timers.tick(9_999)
  stream.push(option(0x7777))
  while (stream.step());
  t.false(stream.isDestroyed)
  mock.timers.tick(1)
  t.true(stream.isDestroyed)
})

test.serial('the time for a handshake can be chosen, and the log tells of the limit', async (t) => {
  const warnings: object[] = []
  const log = { ...silentLog, warn: (fields: object) => void warnings.push(fields) }
  const fake = new FakeIo()
  const exports = { find: () => null, list: () => [] }
  const server = new Server({ io: fake.io, exports, log, limits: { handshakeMs: 500 } })
  await server.listen({ kind: 'unix', path: 'fake' })
  const stream = fake.connect()
  mock.timers.tick(499)
  t.false(stream.isDestroyed)
  mock.timers.tick(1)
  t.true(stream.isDestroyed)
  t.deepEqual(warnings, [{ remote: 'test', moreBefore: 0 }])
})

test.serial('an attached client may be silent for ever', async (t) => {
  const { stream } = await connect()
  stream.push(Buffer.concat([u32(3), option(7, infoData(''))]))
  while (stream.step());
  mock.timers.tick(100_000_000)
  t.false(stream.isDestroyed)
})

test.serial('a client that does not close after DISC is closed', async (t) => {
  const { stream } = await connect()
  stream.push(Buffer.concat([u32(3), option(2)]))
  while (stream.step());
  t.true(stream.isFinished)
  mock.timers.tick(999)
  stream.push(Buffer.alloc(100_000))
  while (stream.step());
  t.false(stream.isDestroyed)
  mock.timers.tick(1)
  t.true(stream.isDestroyed)
})

test.serial('stop cuts off a client that does not take its replies', async (t) => {
  const { server, stream } = await connect()
  stream.push(Buffer.concat([u32(3), option(7, infoData(''))]))
  while (stream.step());
  stream.isHolding = true
  const read = Buffer.alloc(28)
  read.writeUInt32BE(0x25609513)
  read.writeUInt32BE(5, 24)
  stream.push(read)
  while (stream.step());
  const stopped = server.stop()
  mock.timers.tick(4_999)
  t.false(stream.isDestroyed)
  mock.timers.tick(1)
  t.true(stream.isDestroyed)
  stream.step()
  await stopped
})

test.serial('the deadline of the handshake goes on while TLS begins', async (t) => {
  const { stream } = await connect({ mode: 'on', context: {} as TlsContext })
  stream.push(Buffer.concat([u32(3), option(5)]))
  while (stream.step());
  mock.timers.tick(9_999)
  t.is(stream.successor?.isDestroyed, false)
  mock.timers.tick(1)
  t.is(stream.successor?.isDestroyed, true)
})

test.serial('the deadline of the handshake goes on in TLS', async (t) => {
  const { stream } = await connect({ mode: 'on', context: {} as TlsContext })
  stream.push(Buffer.concat([u32(3), option(5)]))
  while (stream.step());
  mock.timers.tick(9_000)
  stream.successor?.shakeHands(STRANGER)
  mock.timers.tick(999)
  t.is(stream.successor?.isDestroyed, false)
  mock.timers.tick(1)
  t.is(stream.successor?.isDestroyed, true)
})
