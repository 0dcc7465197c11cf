/** The server over real sockets: what the tests over streams in memory cannot show. */
import { join } from 'node:path'
import test from 'ava'
import type { ExecutionContext } from 'ava'
import { FaultDevice } from '../../device/fault-device.ts'
import type { Device } from '../../device/device.ts'
import { MemoryDevice } from '../../device/memory.ts'
import type { ListenAddress } from '../../io/io.ts'
import { listen } from '../../io/node-sockets.ts'
import { Server } from '../../nbd/server.ts'
import { sameBytes } from '../helpers/bytes.ts'
import { silentLog } from '../helpers/memory-session.ts'
import { option, request, u32 } from '../helpers/naive-codec.ts'
import { Random, seedFor } from '../helpers/random.ts'
import { RawClient } from '../helpers/raw-client.ts'
import type { Target } from '../helpers/raw-client.ts'
import { tempDirectory } from '../helpers/temp.ts'
import type { Style } from '../helpers/wire-style.ts'

const SIZE = 16 * 1024 * 1024

const TCP: ListenAddress = { kind: 'tcp', host: '127.0.0.1', port: 0 }

function unixAddress(t: ExecutionContext): ListenAddress {
  return { kind: 'unix', path: join(tempDirectory(t), 's') }
}

async function start(t: ExecutionContext, device: Device, address: ListenAddress, io = { listen }) {
  const entry = { name: 'disk', description: '', device }
  const exports = { find: (name: string) => (name === 'disk' ? entry : null), list: () => [entry] }
  const server = new Server({ io, exports, log: silentLog })
  const real = await server.listen(address)
  t.teardown(() => server.stop())
  const target = real as Target
  const connect = async (style: Style = 'structured'): Promise<RawClient> => {
    const client = await RawClient.connect(target)
    t.teardown(() => client.destroy())
    await client.handshake({ exportName: 'disk', style })
    return client
  }
  return { server, target, connect }
}

/** Writes and reads back in a region of its own, as many at a time as fit. */
async function exercise(t: ExecutionContext, client: RawClient, random: Random, region: number) {
  const start = region * 2 * 1024 * 1024
  for (let round = 0; round < 10; round++) {
    const jobs = Array.from({ length: 12 }, async (_, index) => {
      const offset = start + index * 150_000 + random.between(0, 1000)
      const payload = random.bytes(random.logarithmic(1, 140_000))
      const { length } = payload
      const written = await client.request({ command: 1, offset, length }, payload)
      const read = await client.request({ command: 0, offset, length })
      t.is(written.error + read.error, 0)
      sameBytes(t, read.data, payload)
    })
    await Promise.all(jobs)
  }
}

for (const kind of ['tcp', 'unix']) {
  test(`${kind}: several clients write and read at the same time`, async (t) => {
    const random = new Random(seedFor(t))
    const address = kind === 'tcp' ? TCP : unixAddress(t)
    const { connect, server } = await start(t, new MemoryDevice(SIZE), address)
    const clients = await Promise.all([
      connect(),
      connect('simple'),
      connect('extended'),
      connect(),
    ])
    await Promise.all(clients.map((client, region) => exercise(t, client, random, region)))
    await Promise.all(clients.map((client) => client.disconnect()))
    t.is(server.statistics().requestsInFlight, 0)
  })
}

test('a device that is late does not disturb the order of bytes', async (t) => {
  const random = new Random(seedFor(t))
  const options = { random: random.next, late: 0.7, errors: 0, errnos: [] }
  const device: FaultDevice = new FaultDevice(new MemoryDevice(SIZE), {
    ...options,
    schedule: () => setImmediate(() => device.run()),
  })
  const { connect } = await start(t, device, unixAddress(t))
  const clients = await Promise.all([connect(), connect('simple')])
  await Promise.all(clients.map((client, region) => exercise(t, client, random, region)))
  await Promise.all(clients.map((client) => client.disconnect()))
})

test('clients that misbehave do not disturb one that does not', async (t) => {
  const random = new Random(seedFor(t))
  const { connect, target, server } = await start(t, new MemoryDevice(SIZE), unixAddress(t))
  const canary = await connect()
  const noise = [
    Buffer.alloc(0),
    Buffer.from('GET / HTTP/1.1\r\n\r\n'),
    Buffer.from('SSH-2.0-OpenSSH_9.2\r\n'),
    u32(0xffffffff),
    Buffer.concat([u32(3), option(7, Buffer.alloc(2), 0xffffffff)]),
    Buffer.concat([u32(3), option(3), option(8), option(99, Buffer.alloc(5000))]),
  ]
  const abuse = async (): Promise<void> => {
    for (let count = 0; count < 60; count++) {
      const client = await RawClient.connect(target)
      client.write(random.pick(noise))
      if (random.chance(0.5)) await new Promise((resolve) => setImmediate(resolve))
      client.destroy()
      const half = await connect()
      half.write(request({ command: 1, cookie: 1n, offset: 0, length: 100_000 }))
      half.write(Buffer.alloc(random.between(0, 99_999)))
      half.destroy()
    }
  }
  await Promise.all([abuse(), exercise(t, canary, random, 3), exercise(t, canary, random, 4)])
  await canary.disconnect()
  while (server.statistics().connections > 0) await new Promise((done) => setImmediate(done))
  t.is(server.statistics().slabsInUse, 0)
})

test('a listener on each of several addresses serves the same exports', async (t) => {
  const { server, connect } = await start(t, new MemoryDevice(SIZE), TCP)
  const path = join(tempDirectory(t), 's')
  await server.listen({ kind: 'unix', path })
  const first = await connect()
  await first.request({ command: 1, offset: 5, length: 3 }, Buffer.from('abc'))
  const second = await RawClient.connect({ path })
  t.teardown(() => second.destroy())
  await second.handshake({ exportName: 'disk' })
  const { data } = await second.request({ command: 0, offset: 5, length: 3 })
  t.is(Buffer.from(data).toString(), 'abc')
})

test('stop answers what was received and closes every client', async (t) => {
  const { server, connect, target } = await start(t, new MemoryDevice(SIZE), TCP)
  const clients = await Promise.all([connect(), connect()])
  const answers = clients.map((client) => client.request({ command: 0, offset: 0, length: 100 }))
  await Promise.all(answers)
  await Promise.all([server.stop(), ...clients.map((client) => client.closed)])
  await t.throwsAsync(RawClient.connect(target), { code: 'ECONNREFUSED' })
})

test.serial('buffers that nobody needs any more are given back', async (t) => {
  const { setInterval } = globalThis
  const callbacks: (() => void)[] = []
  const sweep = (): void => callbacks.forEach((callback) => callback())
  Reflect.set(globalThis, 'setInterval', (callback: () => void) => {
    callbacks.push(callback)
    return { unref: () => {} }
  })
  const given: number[] = []
  const io = { listen, giveBack: (memory: Uint8Array) => void given.push(memory.length) }
  const starting = start(t, new MemoryDevice(SIZE), TCP, io)
  Reflect.set(globalThis, 'setInterval', setInterval)
  const { server, connect } = await starting
  const client = await connect()
  await client.request({ command: 0, offset: 0, length: 5_000_000 })
  await client.disconnect()
  sweep()
  const { slabsFreeBytes } = server.statistics()
  t.true(slabsFreeBytes > 1_000_000)
  t.deepEqual(given, [])
  sweep()
  t.is(server.statistics().slabsFreeBytes, 0)
  t.is(
    given.reduce((sum, bytes) => sum + bytes, 0),
    slabsFreeBytes,
  )
})
