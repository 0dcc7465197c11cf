import net from 'node:net'
import test from 'ava'
import type { ExecutionContext } from 'ava'
import { ClientError } from '../../nbd/client-stream.ts'
import { NbdClient } from '../../nbd/client.ts'
import type { ExportTable } from '../../nbd/export.ts'
import { Handshake, HANDSHAKE_RECEIVE_BYTES } from '../../nbd/handshake.ts'
import type { NbdUri } from '../../nbd/uri.ts'
import { DISK, silentDevice, tableOf } from '../helpers/conversation.ts'
import { counted, u16, u32, u64 } from '../helpers/naive-codec.ts'

const GREETING = Buffer.concat([Buffer.from('NBDMAGICIHAVEOPT'), u16(3)])
const [ACK, SERVER, UNSUP, POLICY] = [1, 2, 0x80000001, 0x80000002]
const [LIST, STRUCTURED_REPLY, EXTENDED_HEADERS] = [3, 8, 11]

/** A server for one test; what it accepts is closed with it. */
async function listen(
  t: ExecutionContext,
  accept: (socket: net.Socket) => void,
  exportName = '',
): Promise<NbdUri> {
  const sockets: net.Socket[] = []
  const server = net.createServer((socket) => {
    sockets.push(socket)
    socket.on('error', () => undefined)
    accept(socket)
  })
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve))
  t.teardown(() => {
    server.close()
    for (const socket of sockets) socket.destroy()
  })
  const { port } = server.address() as net.AddressInfo
  return { address: { kind: 'tcp', host: '127.0.0.1', port }, exportName, tls: null }
}

/** Our own handshake behind a socket; it ends the connection when the handshake is over. */
function serving(exports: ExportTable): (socket: net.Socket) => void {
  return (socket) => {
    const handshake = new Handshake({ exports })
    const buffer = new Uint8Array(HANDSHAKE_RECEIVE_BYTES)
    let buffered = 0
    socket.write(handshake.greeting())
    socket.on('data', (bytes) => {
      buffer.set(bytes, buffered)
      buffered += bytes.length
      let start = 0
      for (let consumed = 1; consumed > 0; start += consumed)
        consumed = handshake.consume(buffer, start, buffered)
      buffer.copyWithin(0, start, buffered)
      buffered -= start
      socket.write(handshake.takeOutput())
      if (handshake.outcome !== null) socket.end()
    })
  }
}

/** What the client asks first. */
function hello(type = ACK): Buffer {
  return Buffer.concat([GREETING, reply(STRUCTURED_REPLY, type), reply(EXTENDED_HEADERS, type)])
}

function reply(option: number, type: number, data: Buffer = Buffer.alloc(0)): Buffer {
  return Buffer.concat([u64(0x3e889045565a9n), u32(option), u32(type), u32(data.length), data])
}

/** Says all its lines at once, whatever the client asks. */
function reciting(...lines: readonly Buffer[]): (socket: net.Socket) => void {
  return (socket) => socket.write(Buffer.concat(lines))
}

async function expectError(
  t: ExecutionContext,
  code: ClientError['code'],
  message: RegExp,
  act: () => Promise<unknown>,
): Promise<void> {
  const error = await t.throwsAsync(act, { instanceOf: ClientError, message })
  t.is(error.code, code)
  t.regex(error.message, /^nbd:\/\/127\.0\.0\.1:\d+/)
}

const BIG = {
  name: 'groß',
  description: '',
  device: silentDevice({ size: 2 ** 53 - 512, readOnly: true, alignment: 512 }),
}

test('list and info tell everything about our exports', async (t) => {
  const client = await NbdClient.connect(await listen(t, serving(tableOf(DISK, BIG))))
  t.deepEqual(await client.list(), [
    { name: 'disk', description: 'a disk' },
    { name: 'groß', description: '' },
  ])
  const { flags, ...rest } = await client.info()
  t.deepEqual(rest, {
    name: '',
    canonicalName: 'disk',
    description: 'a disk',
    size: 1 << 20,
    blockSizes: { minimum: 1, preferred: 4096, payloadMax: 32 << 20 },
    structuredReplies: true,
    extendedHeaders: true,
    contexts: ['base:allocation'],
  })
  const off = Object.entries(flags).filter(([, set]) => !set)
  t.deepEqual(
    off.map(([name]) => name),
    ['readOnly', 'rotational', 'resize', 'blockStatusPayload'],
  )
  const big = await client.info('groß')
  t.is(big.size, 2 ** 53 - 512)
  t.true(big.flags.readOnly)
  t.false(big.flags.trim)
  t.is(big.blockSizes?.minimum, 512)
  await client.close()
})

test('without a name, info is about the export of the URI', async (t) => {
  const client = await NbdClient.connect(await listen(t, serving(tableOf(DISK, BIG)), 'groß'))
  t.is((await client.info()).canonicalName, 'groß')
  await client.close()
})

test('a refusal carries what the server says, and the client can go on', async (t) => {
  const client = await NbdClient.connect(await listen(t, serving(tableOf(DISK))))
  await expectError(t, 'NBD_REFUSED', /INFO with ERR_UNKNOWN: .*nowhere/, () =>
    client.info('nowhere'),
  )
  t.is((await client.info('disk')).size, 1 << 20)
  await client.close()
})

test('a server without structured replies is asked no contexts', async (t) => {
  const uri = await listen(
    t,
    reciting(
      hello(UNSUP),
      reply(6, 3, Buffer.concat([u16(0), u64(512), u16(3)])),
      reply(6, 3, Buffer.concat([u16(99), u32(1)])),
      reply(6, ACK),
    ),
  )
  const client = await NbdClient.connect(uri)
  const info = await client.info('x')
  t.deepEqual([info.size, info.canonicalName, info.flags.readOnly], [512, 'x', true])
  t.deepEqual([info.structuredReplies, info.contexts, info.blockSizes], [false, [], null])
  t.false(info.extendedHeaders)
})

test('control characters in the text of a server are not passed on', async (t) => {
  const text = Buffer.from('no\x1b[31m\nway')
  const uri = await listen(t, reciting(hello(), reply(LIST, POLICY, text)))
  const client = await NbdClient.connect(uri)
  await expectError(t, 'NBD_REFUSED', /ERR_POLICY: no\?\[31m\?way$/, () => client.list())
})

test('close survives a server that closes instead of acknowledging ABORT', async (t) => {
  const uri = await listen(t, (socket) => {
    socket.write(hello())
    let received = 0
    socket.on('data', (bytes) => {
      received += bytes.length
      if (received >= 4 + 16 + 16 + 16) socket.destroy()
    })
  })
  const client = await NbdClient.connect(uri)
  await t.notThrowsAsync(() => client.close())
  await t.notThrowsAsync(() => client.close())
})

test('nobody listening is told with the address', async (t) => {
  const address = { kind: 'tcp', host: '127.0.0.1', port: 1 } as const
  const uri: NbdUri = { address, exportName: '', tls: null }
  await expectError(t, 'NBD_UNREACHABLE', /ECONNREFUSED.*is the server running/, () =>
    NbdClient.connect(uri),
  )
})

test('a unix socket that is not there is told with its path', async (t) => {
  const path = '/nonexistent/nbd.sock'
  const uri: NbdUri = { address: { kind: 'unix', path }, exportName: '', tls: null }
  await t.throwsAsync(NbdClient.connect(uri), {
    code: 'NBD_UNREACHABLE',
    message: /nbd\+unix:\/\/\/\?socket=\/nonexistent\/nbd\.sock: cannot connect \(ENOENT\)/,
  })
})

test('a silent server ends in NBD_TIMEOUT', async (t) => {
  const silent = await listen(t, () => undefined)
  await expectError(t, 'NBD_TIMEOUT', /within 50 ms/, () => NbdClient.connect(silent, 50))
})

const strangers: readonly (readonly [string, Buffer, RegExp])[] = [
  ['an HTTP server', Buffer.from('HTTP/1.1 400 Bad Request\r\n\r\n'), /no NBD server/],
  [
    'an oldstyle server',
    Buffer.concat([Buffer.from('NBDMAGIC'), u64(0x00420281861253n), Buffer.alloc(136)]),
    /fixed newstyle/,
  ],
  ['a newstyle server', Buffer.concat([GREETING.subarray(0, 16), u16(2)]), /fixed newstyle/],
  ['garbage after the greeting', Buffer.concat([GREETING, Buffer.alloc(20)]), /no reply/],
  ['a reply to another option', Buffer.concat([GREETING, reply(LIST, ACK)]), /no reply/],
]

for (const [what, bytes, problem] of strangers)
  test(`${what} is recognised`, async (t) => {
    const uri = await listen(t, reciting(bytes))
    await expectError(t, 'NBD_PROTOCOL', problem, () => NbdClient.connect(uri))
  })

test('a server that closes in the middle of an answer is told', async (t) => {
  const whole = hello()
  for (const size of [0, 1, 17, 18, 30, 37, 38, 57]) {
    const uri = await listen(t, (socket) => socket.end(whole.subarray(0, size)))
    await expectError(t, 'NBD_CLOSED', /server/, () => NbdClient.connect(uri))
  }
})

const hostile: readonly (readonly [string, Buffer])[] = [
  [
    'a reply of 4 GiB',
    Buffer.concat([u64(0x3e889045565a9n), u32(LIST), u32(SERVER), u32(0xffffffff)]),
  ],
  ['a name longer than the reply', reply(LIST, SERVER, counted('disk', 5))],
  ['a name that is not UTF-8', reply(LIST, SERVER, counted(Buffer.from([255])))],
  ['an endless list', Buffer.concat(Array(20_000).fill(reply(LIST, SERVER, counted('d'))))],
]

for (const [what, bytes] of hostile)
  test(`${what} is refused`, async (t) => {
    const uri = await listen(t, reciting(hello(), bytes, Buffer.from(reply(LIST, ACK))))
    const client = await NbdClient.connect(uri)
    await expectError(t, 'NBD_PROTOCOL', /not understood/, () => client.list())
  })
