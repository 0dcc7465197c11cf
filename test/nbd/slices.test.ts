import test from 'ava'
import { constants } from 'node:os'
import { MemoryDevice } from '../../device/memory.ts'
import { isFilledWith, sameBytes } from '../helpers/bytes.ts'
import { ManualDevice } from '../helpers/manual-device.ts'
import { Command, Flag, MemorySession } from '../helpers/memory-session.ts'
import { Random } from '../helpers/random.ts'
import { STYLES } from '../helpers/wire-style.ts'

const MIB = 1024 * 1024
const GIB = 1024 * MIB
const { EIO, ENOSPC } = constants.errno

for (const style of STYLES) {
  test(`a write and a read of 32 MiB go through whole, ${style} replies`, async (t) => {
    const size = 40 * MIB
    const session = await MemorySession.start(new MemoryDevice(size))
    const client = await session.connect(size, style)
    const random = new Random(5)
    const payload = Buffer.alloc(32 * MIB)
    for (let at = 0; at < payload.length; at += 4096)
      payload.writeUInt32LE(random.between(1, 2 ** 31), at)
    client.write(3 * MIB + 7, payload)
    const cookie = client.read(3 * MIB + 7, payload.length)
    await session.until(() => client.outstanding === 0)
    const answer = client.answerTo(cookie)
    sameBytes(t, answer?.data ?? Buffer.alloc(0), payload)
    t.is(answer?.dataChunks.length, style === 'simple' ? 0 : 32)
  })
}

test('DF: a read of 32 MiB comes in one chunk', async (t) => {
  const size = 32 * MIB
  const session = await MemorySession.start(new MemoryDevice(size))
  const client = await session.connect(size)
  client.write(20 * MIB, Buffer.alloc(10, 7))
  const cookie = client.read(0, size, Flag.DF)
  await session.until(() => client.outstanding === 0)
  t.is(client.answerTo(cookie)?.dataChunks.length, 1)
  t.is(client.answerTo(cookie)?.data[20 * MIB], 7)
})

test('small requests pass a large one, on its own connection and on others', async (t) => {
  const size = 2 ** 40
  const device = new MemoryDevice(size)
  const session = await MemorySession.start(device)
  const [greedy, other] = [await session.connect(size), await session.connect(size)]
  const trim = greedy.send({ command: Command.TRIM, offset: 0, length: 2 ** 32 - 1 })
  const own = greedy.write(2 ** 39, Buffer.alloc(5))
  const foreign = other.write(2 ** 39 + 5, Buffer.alloc(5))
  await session.until(() => greedy.outstanding + other.outstanding === 0)
  t.deepEqual(
    greedy.answers.map(({ request }) => request.cookie),
    [own, trim],
  )
  t.is(other.answerTo(foreign)?.error, 0)
})

test('large reads of several connections advance together', async (t) => {
  const size = 32 * MIB
  const device = new ManualDevice(size)
  const session = await MemorySession.start(device)
  const clients = [await session.connect(size), await session.connect(size)]
  clients[0].read(0, 8 * MIB)
  clients[1].read(16 * MIB, 8 * MIB)
  for (let slice = 0; slice < 8; slice++) {
    await session.until(() => device.pending.length === 2)
    t.deepEqual(
      device.pending.map((call) => call.offset).toSorted((a, b) => a - b),
      [slice * MIB, (16 + slice) * MIB],
    )
    device.completeAll()
  }
  await session.until(() => clients.every((client) => client.outstanding === 0))
  t.true(clients.every(({ answers }) => isFilledWith(answers[0].data, 0)))
})

test('slices never started after an error; the reply tells its place', async (t) => {
  const device = new ManualDevice(8 * GIB)
  const session = await MemorySession.start(device)
  const client = await session.connect(8 * GIB)
  const cases = [
    [client.read(0, 4 * MIB), 'read', MIB, EIO, 5],
    [client.write(GIB, Buffer.alloc(4 * MIB)), 'write', MIB, ENOSPC, 28],
    [client.send({ command: 4, offset: 2 * GIB, length: 3 * GIB }), 'trim', GIB, EIO, 5],
  ] as const
  for (const [cookie, method, slice, errno, error] of cases) {
    await session.until(() => device.pending.some((call) => call.method === method))
    const start = device.pending.find((call) => call.method === method)?.offset ?? 0
    device.complete(`${method} ${start}+${slice}`)
    await session.settle()
    device.complete(`${method} ${start + slice}+${slice}`, errno, start + slice + 77)
    await session.settle()
    const answer = client.answerTo(cookie)
    t.is(answer?.error, error)
    t.is(answer?.errorOffset, start + slice + 77)
    t.is(device.history.filter((call) => call.startsWith(method)).length, 2)
  }
  t.is(client.answers[0].dataChunks.length + client.answers[0].holeChunks.length, 1)
})

test('a simple read that fails late sends the error and no data', async (t) => {
  const device = new ManualDevice(GIB)
  const session = await MemorySession.start(device)
  const client = await session.connect(GIB, 'simple')
  const cookie = client.read(0, 2 * MIB)
  await session.until(() => device.pending.length > 0)
  device.complete(`read 0+${MIB}`)
  await session.settle()
  device.complete(`read ${MIB}+${MIB}`, EIO)
  await session.until(() => client.outstanding === 0)
  t.is(client.answerTo(cookie)?.error, 5)
  t.is(client.answerTo(cookie)?.data.length, 0)
})

test('an error offset outside of the slice is not passed on', async (t) => {
  const device = new ManualDevice(GIB)
  const session = await MemorySession.start(device)
  const client = await session.connect(GIB)
  const cookie = client.read(100, 50)
  await session.settle()
  device.complete('read 100+50', EIO, 150)
  await session.until(() => client.outstanding === 0)
  t.is(client.answerTo(cookie)?.errorOffset, 100)
})

test('FUA of one slice is the device\u2019s, of several it is one flush at the end', async (t) => {
  const device = new ManualDevice(8 * GIB)
  const session = await MemorySession.start(device)
  const client = await session.connect(8 * GIB)
  client.write(0, Buffer.alloc(MIB), Flag.FUA)
  await session.settle()
  t.is(device.pending[0].flags, Flag.FUA)
  device.completeAll()
  await session.settle()
  client.write(GIB, Buffer.alloc(2 * MIB), Flag.FUA)
  await session.settle()
  t.is(device.pending[0].flags, 0)
  device.completeAll()
  await session.settle()
  device.completeAll()
  await session.settle()
  t.deepEqual(device.waiting, ['flush'])
  t.is(client.outstanding, 1)
  device.complete('flush', EIO)
  await session.until(() => client.outstanding === 0)
  t.is(client.answers[1].error, 5)
  t.is(client.answers[1].errorOffset, GIB)
})

test('flags are not passed on to requests that have none', async (t) => {
  const device = new ManualDevice(MIB)
  const session = await MemorySession.start(device)
  const client = await session.connect(MIB)
  client.write(0, Buffer.alloc(1), Flag.FUA)
  await session.settle()
  device.completeAll()
  await session.settle()
  client.read(0, 1, Flag.FUA)
  await session.settle()
  t.is(device.pending[0].flags, 0)
  device.completeAll()
  await session.until(() => client.outstanding === 0)
})

test('the flags of WRITE_ZEROES reach the device in every slice', async (t) => {
  const device = new ManualDevice(8 * GIB)
  const session = await MemorySession.start(device)
  const client = await session.connect(8 * GIB)
  const flags = Flag.FAST_ZERO
  client.send({ command: Command.WRITE_ZEROES, offset: 0, length: 2 * GIB, flags })
  for (let slice = 0; slice < 2; slice++) {
    await session.until(() => device.pending.length > 0)
    t.is(device.pending[0].flags, flags)
    device.complete(`zero ${slice * GIB}+${GIB}`, slice === 0 ? 0 : constants.errno.EOPNOTSUPP)
  }
  await session.until(() => client.outstanding === 0)
  t.is(client.answers[0].error, 95)
})

test('a batch of requests is one batch for the device', async (t) => {
  const device = new ManualDevice(MIB)
  const session = await MemorySession.start(device)
  const client = await session.connect(MIB)
  // From now on there is room for a batch.
  client.write(0, Buffer.alloc(4096))
  await session.until(() => device.pending.length > 0)
  device.completeAll()
  await session.until(() => client.outstanding === 0)
  const submits = device.submits
  const bytes = Array.from({ length: 32 }, (_, index) => {
    const fields = { command: Command.READ, offset: index * 4096, length: 4096 }
    return client.prepare(fields).bytes
  })
  client.stream.push(Buffer.concat(bytes))
  await session.step()
  t.is(device.pending.length, 32)
  t.is(device.submits, submits + 1)
  const sends = client.stream.sendCount
  device.completeAll()
  await session.until(() => client.outstanding === 0)
  t.is(client.stream.sendCount, sends + 1)
})
