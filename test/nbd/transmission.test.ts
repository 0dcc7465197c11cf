import test from 'ava'
import { MemoryDevice } from '../../device/memory.ts'
import { isFilledWith, sameBytes } from '../helpers/bytes.ts'
import { Command, Flag, MemorySession } from '../helpers/memory-session.ts'
import type { Fields, MemoryClient } from '../helpers/memory-session.ts'
import { request } from '../helpers/naive-codec.ts'
import { STYLES } from '../helpers/wire-style.ts'

const SIZE = 4 * 1024 * 1024
const KIB = 1024

/** Errors and lengths of the answers, in the order of the requests. */
function outcomes(client: MemoryClient): string[] {
  return client.answers
    .toSorted((a, b) => Number(a.request.cookie - b.request.cookie))
    .map(({ error, data }) => `${error}:${Buffer.from(data).toString('hex')}`)
}

/** Something of everything, small; with compact or extended headers, as the client has it. */
function sampleStream(client: MemoryClient): Buffer {
  const say = (fields: Fields, payload?: Uint8Array): Buffer =>
    client.prepare(fields, payload).bytes
  const data = Buffer.from('the quick brown fox')
  const { READ, WRITE, FLUSH, TRIM, CACHE, WRITE_ZEROES, BLOCK_STATUS } = Command
  return Buffer.concat([
    say({ command: WRITE, offset: 10, length: data.length }, data),
    say({ command: READ, offset: 8, length: 30 }),
    say({ command: WRITE, offset: SIZE - 3, length: 5 }, Buffer.from('abcde')),
    say({ command: TRIM, offset: 12, length: 2 }),
    say({ command: WRITE_ZEROES, offset: 20, length: 4, flags: Flag.FUA | Flag.FAST_ZERO }),
    say({ command: FLUSH, offset: 77, length: 99 }),
    say({ command: CACHE, offset: 0, length: SIZE }),
    say({ command: WRITE, offset: 40, length: 3, flags: Flag.DF }, Buffer.from('xyz')),
    say({ command: READ, offset: 8, length: 30, flags: Flag.FUA }),
    say({ command: READ, offset: 2n ** 64n - 4n, length: 8 }),
    say({ command: BLOCK_STATUS, offset: 100, length: SIZE - 100 }),
    say({ command: 8, offset: 0, length: 1 }),
    say({ command: READ, offset: 0, length: 0 }),
  ])
}

for (const style of STYLES) {
  test(`a stream cut anywhere is understood the same, ${style} replies`, async (t) => {
    let length = 0
    const run = async (cut: number): Promise<string[]> => {
      const session = await MemorySession.start(new MemoryDevice(SIZE))
      const client = await session.connect(SIZE, style)
      const bytes = sampleStream(client)
      length = bytes.length
      client.stream.push(bytes.subarray(0, cut))
      await session.step()
      client.stream.push(bytes.subarray(cut))
      await session.until(() => client.outstanding === 0)
      return outcomes(client)
    }
    const expected = await run(0)
    t.is(expected.length, 13)
    for (let cut = 1; cut < length; cut++) t.deepEqual(await run(cut), expected, `${cut}`)
  })
}

test('a stream that arrives byte by byte is understood', async (t) => {
  const session = await MemorySession.start(new MemoryDevice(SIZE))
  const client = await session.connect(SIZE)
  client.stream.pieceBytes = 1
  client.stream.push(sampleStream(client))
  await session.until(() => client.outstanding === 0)
  t.is(client.answers.length, 13)
})

const REFUSALS: readonly (readonly [string, Fields, number])[] = [
  ['READ beyond the end', { command: 0, offset: SIZE - 1, length: 2 }, 22],
  ['READ at 2^64 - 512', { command: 0, offset: 2n ** 64n - 512n, length: 512 }, 22],
  ['READ at 2^53 + 1', { command: 0, offset: 2n ** 53n + 1n, length: 1 }, 22],
  ['READ of more than 32 MiB', { command: 0, offset: 0, length: 2 ** 25 + 1 }, 22],
  ['READ of 4 GiB - 1', { command: 0, offset: 0, length: 2 ** 32 - 1 }, 22],
  ['WRITE beyond the end', { command: 1, offset: SIZE, length: 1 }, 28],
  ['WRITE at 2^64 - 1', { command: 1, offset: 2n ** 64n - 1n, length: 1 }, 28],
  ['TRIM beyond the end', { command: 4, offset: SIZE - 1, length: 2 }, 22],
  ['CACHE beyond the end', { command: 5, offset: SIZE, length: 1 }, 22],
  ['WRITE_ZEROES beyond the end', { command: 6, offset: 1, length: SIZE }, 28],
  ['BLOCK_STATUS beyond the end', { command: 7, offset: 1, length: SIZE }, 22],
  ['BLOCK_STATUS of nothing', { command: 7, offset: 0, length: 0 }, 22],
  ['RESIZE', { command: 8, offset: 0, length: 0 }, 22],
  ['an unknown command', { command: 0xffff, offset: 0, length: 1 }, 22],
  ['WRITE with DF', { command: 1, offset: 0, length: 1, flags: 4 }, 22],
  ['READ with NO_HOLE', { command: 0, offset: 0, length: 1, flags: 2 }, 22],
  ['READ with REQ_ONE', { command: 0, offset: 0, length: 1, flags: 8 }, 22],
  ['TRIM with FAST_ZERO', { command: 4, offset: 0, length: 1, flags: 16 }, 22],
  ['FLUSH with an unknown flag', { command: 3, flags: 0x8000 }, 22],
]

for (const [what, fields, error] of REFUSALS) {
  test(`${what} is refused with ${error} and the connection lives`, async (t) => {
    for (const style of STYLES) {
      const session = await MemorySession.start(new MemoryDevice(SIZE))
      const client = await session.connect(SIZE, style)
      const payload = fields.command === 1 ? Buffer.alloc(Number(fields.length ?? 0)) : undefined
      const refused = client.send(fields, payload)
      const after = client.read(0, 1)
      await session.until(() => client.outstanding === 0)
      t.is(client.answerTo(refused)?.error, error)
      t.is(client.answerTo(after)?.error, 0)
    }
  })
}

const ACCEPTED: readonly (readonly [string, Fields])[] = [
  ['READ of nothing at the end', { command: 0, offset: SIZE, length: 0 }],
  ['WRITE of nothing', { command: 1, offset: SIZE, length: 0 }],
  ['TRIM of nothing', { command: 4, offset: 0, length: 0 }],
  ['WRITE_ZEROES of nothing', { command: 6, offset: 0, length: 0, flags: 1 }],
  ['FLUSH with a strange offset', { command: 3, offset: 2n ** 64n - 1n, length: 2 ** 32 - 1 }],
  ['READ with FUA', { command: 0, offset: 0, length: 1, flags: 1 }],
  ['CACHE with FUA', { command: 5, offset: 0, length: 1, flags: 1 }],
  ['BLOCK_STATUS with FUA', { command: 7, offset: 0, length: 1, flags: 1 }],
]

for (const [what, fields] of ACCEPTED) {
  test(`${what} succeeds`, async (t) => {
    const session = await MemorySession.start(new MemoryDevice(SIZE))
    const client = await session.connect(SIZE)
    const cookie = client.send(fields)
    await session.until(() => client.outstanding === 0)
    t.is(client.answerTo(cookie)?.error, 0)
  })
}

test('without structured replies DF and BLOCK_STATUS are refused', async (t) => {
  const session = await MemorySession.start(new MemoryDevice(SIZE))
  const client = await session.connect(SIZE, 'simple')
  client.read(0, 1, Flag.DF)
  client.send({ command: Command.BLOCK_STATUS, offset: 0, length: 1 })
  await session.until(() => client.outstanding === 0)
  t.deepEqual(outcomes(client), ['22:', '22:'])
})

test('a read-only export refuses changes with EPERM and still flushes', async (t) => {
  const device = new MemoryDevice(SIZE)
  Object.assign(device, {
    features: { readOnly: true, trim: true, trimZeroes: true, fastZero: true },
  })
  const session = await MemorySession.start(device)
  const client = await session.connect(SIZE)
  client.write(0, Buffer.alloc(100 * KIB))
  client.send({ command: Command.TRIM, offset: 0, length: 1 })
  client.send({ command: Command.WRITE_ZEROES, offset: 0, length: 1 })
  client.send({ command: Command.FLUSH })
  await session.until(() => client.outstanding === 0)
  t.deepEqual(outcomes(client), ['1:', '1:', '1:', '0:'])
})

test('requests that are not aligned to the device are refused', async (t) => {
  const device = new MemoryDevice(SIZE)
  Object.assign(device, { alignment: 512 })
  const session = await MemorySession.start(device)
  const client = await session.connect(SIZE)
  client.read(1, 512)
  client.write(512, Buffer.alloc(511))
  client.read(512, 512)
  await session.until(() => client.outstanding === 0)
  t.deepEqual(outcomes(client).slice(0, 2), ['22:', '22:'])
  t.is(client.answers.length, 3)
})

test('a WRITE between 32 and 64 MiB is consumed and refused', async (t) => {
  const session = await MemorySession.start(new MemoryDevice(SIZE))
  const client = await session.connect(SIZE)
  const payload = Buffer.alloc(2 ** 25 + 1)
  const refused = client.send({ command: 1, offset: 0, length: payload.length }, payload)
  const after = client.read(0, 1)
  await session.until(() => client.outstanding === 0)
  t.is(client.answerTo(refused)?.error, 22)
  t.is(client.answerTo(after)?.error, 0)
})

test('a WRITE of more than 64 MiB ends the connection', async (t) => {
  const session = await MemorySession.start(new MemoryDevice(SIZE))
  const client = await session.connect(SIZE)
  const before = client.read(0, 5)
  client.send({ command: 1, offset: 0, length: 2 ** 26 + 1 }, Buffer.alloc(KIB))
  await session.until(() => client.stream.isDestroyed)
  t.is(client.answerTo(before)?.error, 0)
  client.finish(1)
})

test('a wrong request magic ends the connection after what came before', async (t) => {
  const session = await MemorySession.start(new MemoryDevice(SIZE))
  const client = await session.connect(SIZE)
  const before = client.read(0, 5)
  client.stream.push(request({ magic: 0x25609514, command: 0, cookie: 99n, length: 1 }))
  client.stream.push(Buffer.alloc(100, 0x41))
  await session.until(() => client.stream.isDestroyed)
  t.is(client.answerTo(before)?.error, 0)
  client.finish()
})

test('payloads of every size class are written where they belong', async (t) => {
  const size = 80 * 1024 * KIB
  const session = await MemorySession.start(new MemoryDevice(size))
  const client = await session.connect(size)
  let offset = 0
  for (const length of [1, 4095, 65536, 300_000, 1_048_576, 1_048_577, 2 ** 25]) {
    const payload = Buffer.alloc(length, length % 251)
    payload.writeUInt8(1, length - 1)
    client.write(offset, payload)
    await session.until(() => client.outstanding === 0)
    const cookie = client.read(offset, length)
    await session.until(() => client.outstanding === 0)
    sameBytes(t, client.answerTo(cookie)?.data ?? Buffer.alloc(0), payload)
    offset += length
  }
  t.true(client.answers.every((answer) => answer.error === 0))
})

test('a burst of writes larger than the receive buffer is taken in order', async (t) => {
  const session = await MemorySession.start(new MemoryDevice(SIZE))
  const client = await session.connect(SIZE)
  for (let index = 0; index < 100; index++) {
    client.write((index % 10) * 300 * KIB, Buffer.alloc(300 * KIB, index))
  }
  await session.until(() => client.outstanding === 0)
  const cookie = client.read(0, 3000 * KIB)
  await session.until(() => client.outstanding === 0)
  const data = client.answerTo(cookie)?.data ?? Buffer.alloc(0)
  for (let index = 0; index < 10; index++) {
    t.true(isFilledWith(data.subarray(index * 300 * KIB, (index + 1) * 300 * KIB), 90 + index))
  }
})
