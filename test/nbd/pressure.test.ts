import test from 'ava'
import { MemoryDevice } from '../../device/memory.ts'
import { ManualDevice } from '../helpers/manual-device.ts'
import { Command, MemorySession } from '../helpers/memory-session.ts'
import type { MemoryClient } from '../helpers/memory-session.ts'
import { request } from '../helpers/naive-codec.ts'
import { STYLES } from '../helpers/wire-style.ts'

const MIB = 1024 * 1024
const SIZE = 64 * MIB
const ZEROS = [0, 0, 0, 0, 0]
/** What a client may make the server hold, with a request more than the limits allow. */
const CLIENT_BYTES_MAX = 64 * MIB + 32 * MIB

function flood(client: MemoryClient, count: number, fields: { command: number; length: number }) {
  const requests = Array.from({ length: count }, () => client.prepare({ ...fields, offset: 0 }))
  client.stream.push(Buffer.concat(requests.map(({ bytes }) => bytes)))
}

test('a client that never reads its replies is not read from any more', async (t) => {
  const session = await MemorySession.start(new MemoryDevice(SIZE))
  const client = await session.connect(SIZE)
  client.write(0, Buffer.alloc(MIB, 1))
  await session.until(() => client.outstanding === 0)
  client.stream.isHolding = true
  flood(client, 5000, { command: Command.READ, length: MIB })
  await session.settle()
  t.true(client.stream.isPaused)
  t.true(session.server.statistics().memoryBytes < CLIENT_BYTES_MAX)
  client.stream.isHolding = false
  await session.until(() => client.answers.length > 100)
  client.stream.isHolding = true
  await session.settle()
  t.true(session.server.statistics().memoryBytes < CLIENT_BYTES_MAX)
  client.stream.break()
  await session.until(() => session.server.statistics().connections === 0)
  t.is(session.server.statistics().memoryBytes, 0)
  t.is(session.server.statistics().requestsInFlight, 0)
})

test('errors that nobody reads do not pile up either', async (t) => {
  const session = await MemorySession.start(new MemoryDevice(SIZE))
  const client = await session.connect(SIZE)
  client.stream.isHolding = true
  const refused = request({ command: 77, cookie: 1n })
  client.stream.push(Buffer.concat(Array<Buffer>(400_000).fill(refused)))
  await session.settle()
  t.true(client.stream.isPaused)
  t.true(session.server.statistics().memoryBytes < 16 * MIB)
  client.stream.break()
  await session.until(() => session.server.statistics().connections === 0)
})

test('requests in flight are limited, and those behind wait in the kernel', async (t) => {
  const device = new ManualDevice(SIZE)
  const session = await MemorySession.start(device)
  const client = await session.connect(SIZE)
  flood(client, 5000, { command: Command.READ, length: 1 })
  await session.settle()
  t.is(device.pending.length, 1024)
  t.true(client.stream.isPaused)
  while (client.outstanding > 0) {
    device.completeAll()
    await session.step()
    t.true(device.pending.length <= 1024)
  }
  t.false(client.stream.isPaused)
})

test('payloads in flight are limited, and all are written in the end', async (t) => {
  const device = new ManualDevice(SIZE)
  const session = await MemorySession.start(device)
  const client = await session.connect(SIZE)
  for (let index = 0; index < 150; index++) {
    client.write((index % 60) * MIB, Buffer.alloc(MIB, index))
  }
  await session.settle()
  t.true(session.server.statistics().memoryBytes <= CLIENT_BYTES_MAX)
  t.true(client.stream.isPaused)
  while (client.outstanding > 0) {
    device.completeAll()
    await session.step()
  }
  t.true(client.answers.every(({ error }) => error === 0))
})

test('a pending write keeps its payload while the receive buffer goes on', async (t) => {
  const device = new ManualDevice(SIZE)
  const session = await MemorySession.start(device)
  const client = await session.connect(SIZE)
  for (let index = 0; index < 1000; index++) {
    client.write(index * 5000, Buffer.alloc(5000, 1 + (index % 255)))
    if (index % 7 === 0) await session.step()
  }
  await session.until(() => device.pending.length === 1000)
  for (const { request: call, offset, length } of device.pending) {
    const { buffer, bufferOffset } = call
    const seen = buffer.subarray(bufferOffset, bufferOffset + length)
    t.true(seen.every((byte) => byte === 1 + ((offset / 5000) % 255)))
  }
  device.completeAll()
  await session.until(() => client.outstanding === 0)
})

test('over the limit of all, a client that holds nothing still gets on', async (t) => {
  const device = new ManualDevice(SIZE)
  const session = await MemorySession.start(device)
  const greedy: MemoryClient[] = []
  for (let count = 0; count < 6; count++) {
    const client = await session.connect(SIZE)
    greedy.push(client)
    for (let index = 0; index < 60; index++) client.write(index * MIB, Buffer.alloc(MIB))
  }
  await session.settle()
  t.true(session.server.statistics().memoryBytes < 256 * MIB + CLIENT_BYTES_MAX)
  t.true(greedy.some((client) => client.stream.isPaused))
  const modest = await session.connect(SIZE)
  for (let count = 0; count < 5; count++) {
    const cookie = modest.read(63 * MIB, 4096)
    await session.until(() => device.waiting.includes(`read ${63 * MIB}+4096`))
    device.complete(`read ${63 * MIB}+4096`)
    await session.until(() => modest.answerTo(cookie) !== undefined)
  }
  while (greedy.some((client) => client.outstanding > 0)) {
    device.completeAll()
    await session.step()
  }
  t.pass()
})

test('all memory comes back when the clients have left', async (t) => {
  const device = new MemoryDevice(SIZE)
  const session = await MemorySession.start(device)
  for (let round = 0; round < 5; round++) {
    const client = await session.connect(SIZE, STYLES[round % 3])
    client.write(0, Buffer.alloc(3 * MIB))
    client.read(0, 5 * MIB)
    client.write(1, Buffer.alloc(10_000))
    if (round % 3 !== 2) await session.until(() => client.outstanding === 0)
    else await session.step()
    client.stream.break()
    await session.settle()
  }
  const statistics = session.server.statistics()
  const { connections, requestsInFlight, memoryBytes, receiveBytes, slabsInUse } = statistics
  t.deepEqual([connections, requestsInFlight, memoryBytes, receiveBytes, slabsInUse], ZEROS)
})

test('clients that say nothing cost next to nothing, attached or not', async (t) => {
  const session = await MemorySession.start(new MemoryDevice(SIZE))
  const silent = Array.from({ length: 300 }, () => session.connectRaw())
  for (const stream of silent) while (stream.step());
  for (let count = 0; count < 50; count++) await session.connect(SIZE)
  const { receiveBytes, memoryBytes, connections } = session.server.statistics()
  t.is(connections, 350)
  t.is(memoryBytes, 0)
  t.is(receiveBytes, 350 * 256)
  for (const stream of silent) stream.break()
})

test('receive memory of all is limited, and with little of it everything works', async (t) => {
  const session = await MemorySession.start(new MemoryDevice(SIZE))
  const clients: MemoryClient[] = []
  for (let count = 0; count < 160; count++) {
    const client = await session.connect(SIZE)
    clients.push(client)
    client.write(count * 4096, Buffer.alloc(100_000, count + 1))
    await session.until(() => client.outstanding === 0)
  }
  t.true(session.server.statistics().receiveBytes <= 128 * MIB + 160 * 40_960)
  for (const [index, client] of clients.entries()) {
    client.write(index * 4096, Buffer.alloc(4096, index + 1))
    const cookie = client.read(index * 4096, 4096)
    await session.until(() => client.outstanding === 0)
    const data = client.answerTo(cookie)?.data ?? Buffer.alloc(0)
    t.true(data.length === 4096 && data.every((byte) => byte === ((index + 1) & 255)))
  }
  t.true(session.server.statistics().receiveBytes <= 128 * MIB + 160 * 40_960)
  for (const { stream } of clients) stream.break()
  await session.until(() => session.server.statistics().receiveBytes === 0)
})
