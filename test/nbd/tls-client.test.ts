/** Our own client against our own server with TLS, and against servers that cheat. */
import { writeFileSync } from 'node:fs'
import net from 'node:net'
import { join } from 'node:path'
import test, { type ExecutionContext } from 'ava'
import { MemoryDevice } from '../../device/memory.ts'
import { createNodeIo } from '../../io/node.ts'
import { TlsContext, type TlsCredentials } from '../../io/tls-context.ts'
import { NbdClient } from '../../nbd/client.ts'
import { ClientError } from '../../nbd/client-stream.ts'
import { Server } from '../../nbd/server.ts'
import { type Endpoint, type NbdUri } from '../../nbd/uri.ts'
import { TLS_DEFAULTS, type UriTls } from '../../nbd/uri-tls.ts'
import { Authority, type Wishes } from '../helpers/authority.ts'
import { unixAddress } from '../helpers/echo.ts'
import { option } from '../helpers/naive-codec.ts'
import { opensslForTests } from '../helpers/openssl-for-tests.ts'
import { tempDirectory } from '../helpers/temp.ts'
import { certificatesIn } from '../helpers/tls.ts'

const LOCALHOST = { kind: 'tcp', host: '127.0.0.1', port: 0 } as const
const KEY = Buffer.alloc(32, 1)
const ALICE: TlsCredentials = { kind: 'keys', keys: new Map([['alice', KEY]]) }

/** A server; @returns where it can be reached, by name. */
async function serve(
  t: ExecutionContext,
  credentials: TlsCredentials | null,
  where: Endpoint = LOCALHOST,
): Promise<Endpoint> {
  const entry = { name: 'disk', description: '', device: new MemoryDevice(1 << 20) }
  const exports = { find: () => entry, list: () => [entry] }
  const tls =
    credentials === null
      ? {}
      : { tls: { mode: 'require', context: new TlsContext(credentials) } as const }
  const server = new Server({ io: createNodeIo(), exports, ...tls })
  t.teardown(() => server.stop())
  const address = await server.listen(where)
  if (address.kind === 'fd') throw new Error('no address')
  return address.kind === 'tcp' ? { ...address, host: 'localhost' } : address
}

async function sizeAt(address: Endpoint, tls: Partial<UriTls> | null): Promise<number> {
  const uri: NbdUri = { address, exportName: 'disk', tls: tls && { ...TLS_DEFAULTS, ...tls } }
  const client = await NbdClient.connect(uri, 5000)
  const { size } = await client.info()
  await client.close()
  return size
}

function keyFile(t: ExecutionContext, name = 'alice', key = KEY): string {
  const file = join(tempDirectory(t), 'keys.psk')
  writeFileSync(file, `${name}:${key.toString('hex')}\n`, { mode: 0o600 })
  return file
}

async function isRefused(
  t: ExecutionContext,
  address: Endpoint,
  tls: Partial<UriTls> | null,
  code: string,
  message: RegExp,
): Promise<void> {
  const error = await t.throwsAsync(sizeAt(address, tls), { code, message })
  t.true(error instanceof ClientError)
  t.notRegex(error?.message ?? '', new RegExp(KEY.toString('hex')))
}

test('a key: with it the client is served, by TCP and on a unix socket', async (t) => {
  const tls = { user: 'alice', keyFile: keyFile(t) }
  t.is(await sizeAt(await serve(t, ALICE), tls), 1 << 20)
  t.is(await sizeAt(await serve(t, ALICE, unixAddress(t)), tls), 1 << 20)
})

test('a key that is wrong, or of somebody the server does not know', async (t) => {
  const address = await serve(t, ALICE)
  const wrong = { user: 'alice', keyFile: keyFile(t, 'alice', Buffer.alloc(32, 2)) }
  await isRefused(t, address, wrong, 'NBD_TLS', /no TLS with this server: \S/)
  await isRefused(t, address, { user: 'bob', keyFile: keyFile(t, 'bob') }, 'NBD_TLS', /\S/)
})

test('a user without a key in the file is told before anything is sent', async (t) => {
  const address = { ...LOCALHOST, port: 1 }
  const message = /no key for "bob"; name the user as in nbds:\/\/USER@HOST/
  await t.throwsAsync(sizeAt(address, { user: 'bob', keyFile: keyFile(t) }), { message })
})

test('without TLS a server that demands it says how to have it', async (t) => {
  await isRefused(t, await serve(t, ALICE), null, 'NBD_REFUSED', /ERR_TLS_REQD \(use nbds:\/\/ /)
})

test('a server without TLS is not talked to in plain: a downgrade fails', async (t) => {
  const tls = { user: 'alice', keyFile: keyFile(t) }
  const address = await serve(t, null)
  await isRefused(t, address, tls, 'NBD_REFUSED', /refuses STARTTLS with ERR_POLICY/)
})

/** Says something in answer to STARTTLS, and notes what the client says then. */
async function cheat(t: ExecutionContext, answer: Buffer) {
  const heard: Buffer[] = []
  const server = net.createServer((socket) => {
    t.teardown(() => socket.destroy())
    socket.on('error', () => {})
    socket.write(Buffer.from('4e42444d414749434948415645 4f50540003'.replace(' ', ''), 'hex'))
    socket.on('data', (bytes) => {
      heard.push(bytes)
      if (Buffer.concat(heard).length === 4 + option(5).length) socket.write(answer)
    })
  })
  t.teardown(() => server.close())
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve))
  const { port } = server.address() as net.AddressInfo
  return { address: { ...LOCALHOST, port }, heard: () => Buffer.concat(heard).subarray(20) }
}

function answer(type: number): Buffer {
  const bytes = Buffer.from('0003e889045565a9000000050000000000000000', 'hex')
  bytes.writeUInt32BE(type, 12)
  return bytes
}

test('who answers STARTTLS with an error hears nothing more', async (t) => {
  const tls = { user: 'alice', keyFile: keyFile(t) }
  for (const type of [0x80000001, 0x80000003]) {
    const { address, heard } = await cheat(t, answer(type))
    await isRefused(t, address, tls, 'NBD_REFUSED', /refuses STARTTLS/)
    t.is(heard().length, 0)
  }
})

test('plain bytes behind the acknowledgement of STARTTLS are not believed', async (t) => {
  const tls = { user: 'alice', keyFile: keyFile(t) }
  const { address, heard } = await cheat(t, Buffer.concat([answer(1), answer(1)]))
  await isRefused(t, address, tls, 'NBD_TLS', /plain bytes behind the answer to STARTTLS/)
  t.is(heard().length, 0)
})

test('what is no TLS after the acknowledgement is told', async (t) => {
  const tls = { user: 'alice', keyFile: keyFile(t) }
  const { address } = await cheat(t, answer(1))
  const silent = NbdClient.connect(
    { address, exportName: '', tls: { ...TLS_DEFAULTS, ...tls } },
    300,
  )
  await t.throwsAsync(silent, { code: 'NBD_TIMEOUT', message: /no TLS within 300 ms/ })
})

if (opensslForTests()) certificateTests()

function certificateTests(): void {
  const names = 'DNS:localhost,DNS:nbd.example,IP:127.0.0.1'

  async function withCertificates(t: ExecutionContext, wishes: Wishes, verifyPeer = false) {
    const authority = new Authority(tempDirectory(t))
    const address = await serve(t, certificatesIn(authority.folder('server', wishes), verifyPeer))
    return { authority, address, certificates: authority.folder('client') }
  }

  test('certificates: verified on both sides', async (t) => {
    const { address, certificates } = await withCertificates(t, { names }, true)
    t.is(await sizeAt(address, { certificates }), 1 << 20)
    const byNumber = { ...address, host: '127.0.0.1' } as Endpoint
    t.is(await sizeAt(byNumber, { certificates }), 1 << 20)
  })

  test('certificates: a server of another name, unless that one is expected', async (t) => {
    const { address, certificates } = await withCertificates(t, { names: 'DNS:nbd.example' })
    const message = /Hostname\/IP does not match certificate's altnames: Host: localhost\./
    await isRefused(t, address, { certificates }, 'NBD_TLS', message)
    t.is(await sizeAt(address, { certificates, hostName: 'nbd.example' }), 1 << 20)
    t.is(await sizeAt(address, { certificates, verifyPeer: false }), 1 << 20)
  })

  test('certificates: a server of another authority, one that has expired', async (t) => {
    const { address } = await withCertificates(t, { names })
    const other = new Authority(tempDirectory(t), 'other').folder('client')
    await isRefused(t, address, { certificates: other }, 'NBD_TLS', /certificate.*; whom to trust/)
    t.is(await sizeAt(address, { certificates: other, verifyPeer: false }), 1 << 20)
    const expired = await withCertificates(t, { names, expired: true })
    const { certificates } = expired
    await isRefused(t, expired.address, { certificates }, 'NBD_TLS', /certificate has expired/)
  })

  test('certificates: whoever has one of the authority cannot stand in for a server', async (t) => {
    const { address, certificates } = await withCertificates(t, { names, usage: 'clientAuth' })
    await isRefused(t, address, { certificates }, 'NBD_TLS', /purpose/)
  })

  test('certificates: a client that shows none where one is demanded', async (t) => {
    const { address, authority } = await withCertificates(t, { names }, true)
    const { directory } = authority
    const message = /accept our certificate|ALERT_CERTIFICATE_REQUIRED|ECONNRESET/
    await t.throwsAsync(sizeAt(address, { certificates: directory }), { message })
  })

  test('certificates: a unix socket has no name to be verified, unless one is given', async (t) => {
    const authority = new Authority(tempDirectory(t))
    const server = certificatesIn(authority.folder('server', { names: 'DNS:nbd.example' }))
    const certificates = authority.folder('client')
    const address = await serve(t, server, unixAddress(t))
    t.is(await sizeAt(address, { certificates }), 1 << 20)
    t.is(await sizeAt(address, { certificates, hostName: 'nbd.example' }), 1 << 20)
    const other = { certificates, hostName: 'other.example' }
    await isRefused(t, address, other, 'NBD_TLS', /does not match/)
    const stranger = new Authority(tempDirectory(t), 'other').folder('client')
    await isRefused(t, address, { certificates: stranger }, 'NBD_TLS', /certificate/)
  })

  test('a server that shows a certificate instead of using the key is refused', async (t) => {
    const { address } = await withCertificates(t, { names })
    const tls = { user: 'alice', keyFile: keyFile(t) }
    await isRefused(t, address, tls, 'NBD_TLS', /certificate|handshake failure/)
  })
}
