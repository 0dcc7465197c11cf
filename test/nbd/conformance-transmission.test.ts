/** Rules of the transmission phase that the other tests leave open. See protocol.md. */
import { constants } from 'node:os'
import test from 'ava'
import { MemoryDevice } from '../../device/memory.ts'
import { ManualDevice } from '../helpers/manual-device.ts'
import { request } from '../helpers/naive-codec.ts'
import { SocketServer, until } from '../helpers/socket-server.ts'
import { STYLES, encoded } from '../helpers/wire-style.ts'

const MIB = 1024 * 1024
const GIB = 1024 * MIB
const SIZE = 4 * MIB
const [READ, WRITE, DISC, FLUSH, TRIM, CACHE, WRITE_ZEROES, BLOCK_STATUS] = [0, 1, 2, 3, 4, 5, 6, 7]
const COMMANDS = [READ, WRITE, FLUSH, TRIM, CACHE, WRITE_ZEROES, BLOCK_STATUS]
const [FUA, NO_HOLE, DF, REQ_ONE, FAST_ZERO] = [1, 2, 4, 8, 16]
const [EPERM, EINVAL, ENOSPC] = [1, 22, 28]
const CONTEXTS = { contexts: ['base:allocation'] }

/** Command flags by command, as the specification has them; FUA fits every one. */
const OWN_FLAGS: Readonly<Record<number, readonly number[]>> = {
  [READ]: [DF],
  [WRITE_ZEROES]: [NO_HOLE, FAST_ZERO],
  [BLOCK_STATUS]: [REQ_ONE],
}

test('each flag of each command: accepted where it belongs, EINVAL elsewhere', async (t) => {
  const server = await SocketServer.start(t, new MemoryDevice(SIZE))
  const client = await server.attach(CONTEXTS)
  for (const command of COMMANDS) {
    for (let bit = 0; bit < 16; bit++) {
      const flags = 1 << bit
      const payload = command === WRITE ? Buffer.from('x') : undefined
      const { error } = await client.request({ command, offset: 0, length: 1, flags }, payload)
      const fits = flags === FUA || (OWN_FLAGS[command] ?? []).includes(flags)
      t.is(error, fits ? 0 : EINVAL, `command ${command} with flags ${flags}`)
    }
  }
  await client.disconnect()
})

test('what was not offered is refused: TRIM, FAST_ZERO, RESIZE', async (t) => {
  const features = { readOnly: false, trim: false, trimZeroes: false, fastZero: false }
  const device = Object.assign(new MemoryDevice(SIZE), { features })
  const server = await SocketServer.start(t, device)
  const { client, agreed } = await server.negotiate()
  t.is(agreed.flags & ((1 << 5) | (1 << 9) | (1 << 11)), 0)
  const ask = async (command: number, flags = 0) =>
    (await client.request({ command, offset: 0, length: 512, flags })).error
  t.is(await ask(TRIM), EINVAL)
  t.is(await ask(WRITE_ZEROES, FAST_ZERO), EINVAL)
  t.is(await ask(8), EINVAL)
  t.is(await ask(WRITE_ZEROES), 0)
})

for (const style of STYLES) {
  test(`any cookie comes back unchanged and once, ${style} replies`, async (t) => {
    const server = await SocketServer.start(t, new MemoryDevice(SIZE))
    const client = await server.attach({ style })
    const cookies = [0n, 1n, 0xffff_ffffn, 1n << 32n, 1n << 53n, 1n << 63n, (1n << 64n) - 1n]
    for (let round = 0; round < 2; round++) {
      const fields = cookies.flatMap((cookie, index) => {
        const command = [READ, FLUSH, TRIM, CACHE, 8][index % 5]
        return [{ command, cookie, offset: 0, length: 512 }]
      })
      const answers = fields.map((each) => client.expect(each))
      client.write(Buffer.concat(fields.map((each) => encoded(style, each).bytes)))
      const answered = (await Promise.all(answers)).map((answer) => answer.request.cookie)
      t.deepEqual(answered, cookies)
    }
    // Anything said twice would be noticed here.
    await client.disconnect()
  })
}

test('with structured replies every refusal is one error chunk with a text', async (t) => {
  const server = await SocketServer.start(t, new MemoryDevice(SIZE))
  const client = await server.attach(CONTEXTS)
  for (const command of [READ, WRITE, TRIM, CACHE, WRITE_ZEROES, BLOCK_STATUS, 8, 999]) {
    const payload = command === WRITE ? Buffer.alloc(2) : undefined
    const answer = await client.request({ command, offset: SIZE - 1, length: 2 }, payload)
    t.is(answer.error, [WRITE, WRITE_ZEROES].includes(command) ? ENOSPC : EINVAL)
    t.deepEqual(answer.chunkTypes, [0x8001])
    t.true(answer.text.length > 0)
  }
})

test('BLOCK_STATUS without a selected context is EINVAL', async (t) => {
  const server = await SocketServer.start(t, new MemoryDevice(SIZE))
  const client = await server.attach()
  t.is((await client.request({ command: BLOCK_STATUS, offset: 0, length: 512 })).error, EINVAL)
  t.is((await client.request({ command: READ, offset: 0, length: 512 })).error, 0)
})

test('the payload of a refused WRITE is consumed, whatever its length', async (t) => {
  const features = { readOnly: true, trim: true, trimZeroes: true, fastZero: true }
  const server = await SocketServer.start(t, Object.assign(new MemoryDevice(SIZE), { features }))
  const client = await server.attach()
  for (const length of [0, 1, 28, 65_536, MIB, MIB + 1, 3 * MIB]) {
    // A payload that is taken for requests would be answered.
    const payload = Buffer.concat(
      Array(Math.ceil(length / 28)).fill(request({ command: READ, cookie: 7777n, length: 1 })),
    ).subarray(0, length)
    t.is((await client.request({ command: WRITE, offset: 0, length }, payload)).error, EPERM)
    t.is((await client.request({ command: READ, offset: 0, length: 512 })).error, 0)
  }
})

test('32 MiB are bearable on an export that is smaller', async (t) => {
  const server = await SocketServer.start(t, new MemoryDevice(MIB))
  const client = await server.attach()
  const length = 32 * MIB
  const payload = Buffer.alloc(length)
  t.is((await client.request({ command: WRITE, offset: 0, length }, payload)).error, ENOSPC)
  t.is((await client.request({ command: READ, offset: 0, length })).error, EINVAL)
  t.is((await client.request({ command: FLUSH })).error, 0)
})

test('commands without a payload may be as long as 4 GiB - 4 KiB', async (t) => {
  const server = await SocketServer.start(t, new MemoryDevice(8 * GIB))
  const client = await server.attach(CONTEXTS)
  for (const command of [TRIM, WRITE_ZEROES, CACHE, BLOCK_STATUS]) {
    const answer = await client.request({ command, offset: 4096, length: 4 * GIB - 4096 })
    t.is(answer.error, 0, `command ${command}`)
  }
})

test('CACHE succeeds and asks the device nothing', async (t) => {
  const device = new ManualDevice(SIZE)
  const server = await SocketServer.start(t, device)
  const client = await server.attach()
  t.is((await client.request({ command: CACHE, offset: 1, length: SIZE - 1 })).error, 0)
  t.deepEqual(device.history, [])
})

test('replies come in the order in which requests finish', async (t) => {
  const device = new ManualDevice(SIZE)
  const server = await SocketServer.start(t, device)
  const client = await server.attach()
  const order: number[] = []
  const reads = [0, 1, 2].map(async (index) => {
    await client.request({ command: READ, offset: index * 512, length: 512 })
    order.push(index)
  })
  await until(() => device.pending.length === 3)
  for (const index of [2, 0, 1]) {
    device.complete(`read ${index * 512}+512`)
    await until(() => order.includes(index))
  }
  await Promise.all(reads)
  t.deepEqual(order, [2, 0, 1])
})

test('a FLUSH covers what was answered on other connections, and they all see it', async (t) => {
  const device = new ManualDevice(SIZE)
  const server = await SocketServer.start(t, device)
  const [writer, other] = [await server.attach(), await server.attach({ style: 'simple' })]
  const written = writer.request({ command: WRITE, offset: 5, length: 3 }, Buffer.from('abc'))
  await until(() => device.pending.length === 1)
  device.completeAll()
  t.is((await written).error, 0)
  const read = other.request({ command: READ, offset: 4, length: 5 })
  await until(() => device.pending.length === 1)
  device.completeAll()
  t.is((await read).data.toString(), '\0abc\0')
  let isFlushed = false
  const flush = other.request({ command: FLUSH }).finally(() => (isFlushed = true))
  await until(() => device.pending.length === 1)
  t.deepEqual(device.history, ['write 5+3', 'read 4+5', 'flush'])
  t.false(isFlushed)
  device.completeAll()
  t.is((await flush).error, 0)
  const left = writer.disconnect()
  await until(() => device.pending.length === 1)
  device.completeAll()
  await left
})

test('a FLUSH that fails says so, without an offset', async (t) => {
  const device = new ManualDevice(SIZE)
  const server = await SocketServer.start(t, device)
  const client = await server.attach()
  const flush = client.request({ command: FLUSH })
  await until(() => device.pending.length === 1)
  device.complete('flush', constants.errno.EIO)
  const { error, chunkTypes, text } = await flush
  t.deepEqual([error, chunkTypes, text.length > 0], [5, [0x8001], true])
})

for (const how of ['DISC', 'half-close']) {
  test(`8 READs and ${how} in one packet: 8 replies, then the end`, async (t) => {
    const server = await SocketServer.start(t, new MemoryDevice(SIZE))
    const client = await server.attach()
    const fields = Array.from({ length: 8 }, (_, index) => {
      return { command: READ, cookie: BigInt(index), offset: index * 65_536, length: 65_536 }
    })
    const answers = fields.map((each) => client.expect(each))
    client.write(Buffer.concat(fields.map(request)))
    if (how === 'DISC') client.write(request({ command: DISC, cookie: 9n }))
    else client.socket.end()
    t.true((await Promise.all(answers)).every((answer) => answer.error === 0))
    await client.closed
  })
}

test('an extended request that was not negotiated ends the connection', async (t) => {
  const server = await SocketServer.start(t, new MemoryDevice(SIZE))
  const client = await server.attach()
  client.write(request({ magic: 0x21e41c71, command: READ, cookie: 1n, length: 512 }))
  client.write(Buffer.alloc(4))
  await client.closed
  await until(() => server.server.statistics().connections === 0)
  t.is(server.server.statistics().slabsInUse, 0)
})
