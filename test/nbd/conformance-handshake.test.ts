/** Rules of the handshake that the other tests leave open, over real sockets. See protocol.md. */
import { once } from 'node:events'
import net from 'node:net'
import test from 'ava'
import { MemoryDevice } from '../../device/memory.ts'
import type { OptionReplyMessage } from '../helpers/naive-codec.ts'
import {
  infoData,
  metaData,
  option,
  parseExportNameReply,
  request,
  u32,
} from '../helpers/naive-codec.ts'
import { ReplyChecker } from '../helpers/reply-checker.ts'
import { SocketServer, until } from '../helpers/socket-server.ts'

const SIZE = 1024 * 1024
const [EXPORT_NAME, ABORT, LIST, STARTTLS, INFO, GO] = [1, 2, 3, 5, 6, 7]
const [STRUCTURED_REPLY, LIST_META, SET_META] = [8, 9, 10]
const [ACK, ERR_TLS_REQD, ERR_BLOCK_SIZE_REQD, ERR_EXT_HEADER_REQD] = [
  1, 0x80000005, 0x80000008, 0x8000000a,
]
const [INFO_EXPORT, INFO_BLOCK_SIZE] = [0, 3]

function infoOf(replies: readonly OptionReplyMessage[], type: number): Buffer | undefined {
  return replies.find((reply) => reply.type === 3 && reply.data.readUInt16BE(0) === type)?.data
}

test('a client may say everything in one packet, from its flags to DISC', async (t) => {
  const server = await SocketServer.start(t, new MemoryDevice(SIZE))
  const client = await server.connect()
  await client.read(18)
  client.write(
    Buffer.concat([
      u32(3),
      option(STRUCTURED_REPLY),
      option(SET_META, metaData('disk', ['base:allocation'])),
      option(GO, infoData('disk')),
      request({ command: 0, cookie: 5n, offset: 0, length: 8192 }),
      request({ command: 2, cookie: 6n }),
    ]),
  )
  await client.read(20 + (20 + 19 + 20) + (20 + 12 + 20))
  const contexts = new Map([[1, 'base:allocation']])
  const checker = new ReplyChecker({ size: SIZE, structured: true, contexts })
  checker.sent({ command: 0, flags: 0, cookie: 5n, offset: 0n, length: 8192 })
  const [answer] = checker.receive(await client.read(20 + 12))
  t.deepEqual(answer.holeChunks, [{ offset: 0, length: 8192 }])
  await client.closed
})

test('ABORT and closing without a look at the answer leaves nothing behind', async (t) => {
  const started = await SocketServer.start(t, new MemoryDevice(SIZE))
  for (let count = 0; count < 20; count++) {
    const client = await started.connect()
    client.write(Buffer.concat([u32(3), option(ABORT, Buffer.alloc(count))]))
    if (count % 2 === 0) await new Promise((resolve) => setImmediate(resolve))
    client.destroy()
  }
  await until(() => started.server.statistics().connections === 0)
  t.is(started.server.statistics().slabsInUse, 0)
  await (await started.attach()).disconnect()
})

test('a context is selected once, however often it is asked for', async (t) => {
  const server = await SocketServer.start(t, new MemoryDevice(SIZE))
  const client = await server.connect()
  await client.greet()
  await client.option(STRUCTURED_REPLY)
  const name = 'base:allocation'
  for (let count = 1; count < 4; count++) {
    const data = metaData('disk', Array(count).fill(name))
    const [first, ...rest] = await client.option(SET_META, data)
    t.is(first.data.toString('utf8', 4), name)
    t.deepEqual(
      rest.map((reply) => reply.type),
      [ACK],
    )
  }
})

test('after GO come no zeros, whatever the client flags', async (t) => {
  const server = await SocketServer.start(t, new MemoryDevice(SIZE))
  const client = await server.connect()
  await client.greet(1)
  t.is((await client.option(GO, infoData('disk'))).at(-1)?.type, ACK)
  client.transmission({ size: SIZE, structured: false, contexts: new Map() })
  const { error, data } = await client.request({ command: 0, offset: 0, length: 600 })
  t.is(error, 0)
  t.deepEqual(data, Buffer.alloc(600))
})

test('EXPORT_NAME, INFO and GO tell the same size and flags', async (t) => {
  const server = await SocketServer.start(t, new MemoryDevice(SIZE))
  const [byName, byGo] = [await server.connect(), await server.connect()]
  for (const client of [byName, byGo]) {
    await client.greet()
    await client.option(STRUCTURED_REPLY)
  }
  byName.write(option(EXPORT_NAME, Buffer.from('disk')))
  const { size, flags } = parseExportNameReply(await byName.read(10), true)
  for (const code of [INFO, GO]) {
    const told = infoOf(await byGo.option(code, infoData('disk')), INFO_EXPORT)
    t.is(told?.readBigUInt64BE(2), size)
    t.is(told?.readUInt16BE(10), flags)
  }
})

for (const alignment of [1, 512, 4096, 65536]) {
  test(`block sizes are told when asked for, never demanded, minimum ${alignment}`, async (t) => {
    const device = Object.assign(new MemoryDevice(SIZE), { alignment })
    const server = await SocketServer.start(t, device)
    const client = await server.connect()
    await client.greet()
    const asked = infoOf(await client.option(INFO, infoData('disk', [3])), INFO_BLOCK_SIZE)
    t.deepEqual(
      [2, 6, 10].map((at) => asked?.readUInt32BE(at)),
      [alignment, Math.max(4096, alignment), 32 * 1024 * 1024],
    )
    const silent = await client.option(GO, infoData('disk'))
    t.is(infoOf(silent, INFO_BLOCK_SIZE), undefined)
    t.is(silent.at(-1)?.type, ACK)
    t.false(silent.some((reply) => reply.type === ERR_BLOCK_SIZE_REQD))
  })
}

test('no option is ever answered with a demand for TLS or extended headers', async (t) => {
  const server = await SocketServer.start(t, new MemoryDevice(SIZE))
  const client = await server.connect()
  await client.greet()
  const data = new Map([
    [INFO, infoData('disk')],
    [LIST_META, metaData('disk')],
    [SET_META, metaData('disk')],
  ])
  const codes = [LIST, 4, INFO, STRUCTURED_REPLY, LIST_META, SET_META, 12, 0x10000]
  for (const code of [...codes, STARTTLS, ...codes]) {
    const replies = await client.option(code, data.get(code))
    t.false(replies.some(({ type }) => type === ERR_TLS_REQD || type === ERR_EXT_HEADER_REQD))
  }
  t.is((await client.option(GO, infoData('disk'))).at(-1)?.type, ACK)
})

test('INFO holds nothing, however often it is asked', async (t) => {
  const started = await SocketServer.start(t, new MemoryDevice(SIZE))
  const client = await started.connect()
  await client.greet()
  const before = started.server.statistics()
  for (let count = 0; count < 60; count++) await client.option(INFO, infoData('disk', [0, 1, 2, 3]))
  t.deepEqual(started.server.statistics(), before)
  t.is(before.requestsInFlight, 0)
})

test.serial('a TCP connection is accepted with TCP_NODELAY', async (t) => {
  const { setNoDelay } = net.Socket.prototype
  const peers: (number | undefined)[] = []
  net.Socket.prototype.setNoDelay = function (this: net.Socket, isOn = true) {
    if (isOn) peers.push(this.remotePort)
    return setNoDelay.call(this, isOn)
  }
  t.teardown(() => (net.Socket.prototype.setNoDelay = setNoDelay))
  const { server } = await SocketServer.start(t, new MemoryDevice(SIZE))
  const address = await server.listen({ kind: 'tcp', host: '127.0.0.1', port: 0 })
  const client = net.connect(address.kind === 'tcp' ? address.port : 0)
  t.teardown(() => client.destroy())
  await once(client, 'data')
  t.deepEqual(peers, [client.localPort])
})
