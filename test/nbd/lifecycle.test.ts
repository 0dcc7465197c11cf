import test from 'ava'
import { constants } from 'node:os'
import { MemoryDevice } from '../../device/memory.ts'
import type { Log } from '../../nbd/log.ts'
import { ManualDevice } from '../helpers/manual-device.ts'
import { Command, MemorySession, silentLog } from '../helpers/memory-session.ts'
import { option, request, u32 } from '../helpers/naive-codec.ts'

const MIB = 1024 * 1024
const DISC = { command: Command.DISC }

/** Three requests with a device that takes its time, then `end`. */
async function begin(t: { is: (a: number, b: number) => void }) {
  const device = new ManualDevice(MIB)
  const session = await MemorySession.start(device)
  const client = await session.connect(MIB)
  client.write(0, Buffer.alloc(10, 1))
  client.write(5, Buffer.alloc(10, 2))
  client.read(0, 10)
  await session.settle()
  t.is(device.pending.length, 2)
  return { device, session, client }
}

test('DISC: what was received is finished and answered, then flushed, then closed', async (t) => {
  const { device, session, client } = await begin(t)
  client.send(DISC)
  client.stream.push(request({ command: 0, cookie: 5n, length: 1 }))
  await session.settle()
  device.completeAll()
  await session.settle()
  t.deepEqual(device.waiting, ['write 5+10'])
  t.false(client.stream.isFinished)
  device.completeAll()
  await session.settle()
  t.deepEqual(device.waiting, ['flush'])
  t.is(client.outstanding, 0)
  t.false(client.stream.isFinished)
  device.completeAll()
  await session.until(() => client.stream.isFinished)
  client.finish()
  client.stream.break(null)
  await session.settle()
  t.is(session.server.statistics().connections, 0)
})

test('a half-close is as good as DISC', async (t) => {
  const { device, session, client } = await begin(t)
  client.stream.end()
  while (!client.stream.isFinished) {
    device.completeAll()
    await session.step()
  }
  client.finish()
  t.is(device.history.at(-1), 'flush')
})

test('a half-close inside of a request drops only that', async (t) => {
  const device = new MemoryDevice(4 * MIB)
  const session = await MemorySession.start(device)
  const client = await session.connect(4 * MIB)
  const read = client.read(0, 1)
  const { bytes } = client.prepare(
    { command: Command.WRITE, offset: 0, length: 2 * MIB },
    Buffer.alloc(2 * MIB, 9),
  )
  client.stream.push(bytes.subarray(0, bytes.length - 1))
  client.stream.end()
  await session.until(() => client.stream.isFinished)
  t.is(client.answerTo(read)?.error, 0)
  client.finish(1)
  t.is(device.allocated, 0)
  client.stream.break(null)
  await session.settle()
  t.is(session.server.statistics().slabsInUse, 0)
})

test('a reset drops what has not begun and waits for what has', async (t) => {
  const { device, session, client } = await begin(t)
  client.stream.break()
  await session.settle()
  t.is(session.server.statistics().connections, 1)
  device.completeAll()
  await session.settle()
  t.deepEqual(device.waiting, ['flush'])
  device.completeAll()
  await session.settle()
  t.is(session.server.statistics().connections, 0)
  t.is(session.server.statistics().slabsInUse, 0)
  t.false(device.history.includes('write 5+10'))
})

test('a client that changed nothing costs no flush', async (t) => {
  const device = new ManualDevice(MIB)
  const session = await MemorySession.start(device)
  const client = await session.connect(MIB)
  client.read(0, 5)
  await session.settle()
  device.completeAll()
  client.send(DISC)
  await session.until(() => client.stream.isFinished)
  t.deepEqual(device.history, ['read 0+5'])
})

test('what was flushed by the client is not flushed again', async (t) => {
  const device = new ManualDevice(MIB)
  const session = await MemorySession.start(device)
  const client = await session.connect(MIB)
  client.write(0, Buffer.alloc(5))
  await session.settle()
  device.completeAll()
  client.send({ command: Command.FLUSH })
  await session.settle()
  device.completeAll()
  client.send(DISC)
  await session.until(() => client.stream.isFinished)
  t.deepEqual(device.history, ['write 0+5', 'flush'])
})

test('a write that was in flight during a flush is flushed at the end', async (t) => {
  const device = new ManualDevice(MIB)
  const session = await MemorySession.start(device)
  const client = await session.connect(MIB)
  client.write(0, Buffer.alloc(5))
  client.send({ command: Command.FLUSH })
  await session.settle()
  device.complete('flush')
  device.complete('write 0+5')
  client.send(DISC)
  await session.settle()
  t.deepEqual(device.waiting, ['flush'])
  device.completeAll()
  await session.until(() => client.stream.isFinished)
})

test('a flush that fails at disconnect is told in the log', async (t) => {
  const device = new ManualDevice(MIB)
  const warnings: object[] = []
  const log: Log = { ...silentLog, warn: (fields) => void warnings.push(fields) }
  const session = await MemorySession.start(device, log)
  const client = await session.connect(MIB)
  client.write(0, Buffer.alloc(5))
  await session.settle()
  device.completeAll()
  client.send(DISC)
  await session.settle()
  device.complete('flush', constants.errno.EIO)
  await session.until(() => client.stream.isFinished)
  t.deepEqual(warnings, [{ remote: 'test', errno: constants.errno.EIO }])
})

test('requests are logged only where traces are wanted', async (t) => {
  const traced: object[] = []
  const trace = (fields: object): void => void traced.push(fields)
  for (const isLevelEnabled of [() => false, (level: string) => level === 'trace']) {
    const log = { ...silentLog, trace, isLevelEnabled }
    const session = await MemorySession.start(new MemoryDevice(MIB), log)
    const client = await session.connect(MIB)
    client.read(7, 5)
    await session.until(() => client.outstanding === 0)
  }
  t.like(traced, [{ command: 0, offset: 7, length: 5 }])
  t.is(traced.length, 1)
})

test('stop: attached clients get their answers and are closed, new ones are refused', async (t) => {
  const { device, session, client } = await begin(t)
  let hasStopped = false
  const stopped = session.server.stop().then(() => (hasStopped = true))
  await session.settle()
  t.false(client.stream.isFinished)
  while (!client.stream.isFinished) {
    device.completeAll()
    await session.step()
  }
  client.finish()
  t.false(hasStopped)
  client.stream.break(null)
  await stopped
  t.throws(() => session.connectRaw())
})

test('stop without clients is done at once', async (t) => {
  const session = await MemorySession.start(new MemoryDevice(MIB))
  await session.server.stop()
  t.pass()
})

test('stop: a handshake hears ERR_SHUTDOWN and is closed soon', async (t) => {
  const session = await MemorySession.start(new MemoryDevice(MIB))
  const stream = session.connectRaw()
  stream.push(u32(3))
  while (stream.step());
  const stopped = session.server.stop()
  stream.push(option(8))
  while (stream.step());
  t.is(stream.take().readUInt32BE(18 + 12), 0x80000007)
  await new Promise((resolve) => {
    const timer = setInterval(() => {
      stream.step()
      if (stream.isClosed) resolve(clearInterval(timer))
    }, 10)
  })
  t.true(stream.isDestroyed)
  await stopped
})

test('ABORT is acknowledged, then the connection is closed', async (t) => {
  const session = await MemorySession.start(new MemoryDevice(MIB))
  const stream = session.connectRaw()
  stream.push(Buffer.concat([u32(3), option(2)]))
  while (stream.step());
  t.is(stream.take().length, 18 + 20)
  t.true(stream.isFinished)
  stream.break(null)
})

test('a violation in the handshake closes at once', async (t) => {
  const session = await MemorySession.start(new MemoryDevice(MIB))
  const stream = session.connectRaw()
  stream.push(Buffer.concat([u32(3), Buffer.from('GET / HTTP/1.1\r\n\r\n')]))
  while (stream.step());
  t.true(stream.isDestroyed && stream.isClosed)
  t.is(session.server.statistics().connections, 0)
})

test('a client that floods options and reads nothing is not read from any more', async (t) => {
  const session = await MemorySession.start(new MemoryDevice(MIB))
  const stream = session.connectRaw()
  stream.isHolding = true
  stream.push(u32(3))
  for (let count = 0; count < 60; count++) stream.push(option(0x7777, Buffer.alloc(MIB)))
  while (stream.step());
  t.true(session.server.statistics().slabsInUse < 10)
  t.true(session.server.statistics().memoryBytes < MIB)
  stream.break()
  t.is(session.server.statistics().slabsInUse, 0)
})

test('a client that leaves without a word leaves nothing behind', async (t) => {
  for (const bytes of [0, 3, 4, 10, 19, 20, 24]) {
    const session = await MemorySession.start(new MemoryDevice(MIB))
    const stream = session.connectRaw()
    stream.push(Buffer.concat([u32(3), option(8), option(99)]).subarray(0, bytes))
    while (stream.step());
    stream.break()
    const { connections, slabsInUse } = session.server.statistics()
    t.deepEqual([connections, slabsInUse], [0, 0])
  }
})
