/** Handshakes of TLS that must fail, and the reason that the log will have; new credentials. */
import { once } from 'node:events'
import { mkdtempSync, readFileSync, rmSync } from 'node:fs'
import type net from 'node:net'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import type { ConnectionOptions } from 'node:tls'
import test, { type ExecutionContext } from 'ava'
import { createNodeIo } from '../../io/node.ts'
import { TlsContext, type TlsCredentials } from '../../io/tls-context.ts'
import type { TlsIdentity } from '../../io/tls-identity.ts'
import { Authority } from '../helpers/authority.ts'
import { serveEcho, type Upgrade } from '../helpers/echo.ts'
import { certificatesIn, clientOptions, listenSecurely, upgradeTo } from '../helpers/tls.ts'

const TCP = { kind: 'tcp', host: '127.0.0.1', port: 0 } as const
const VERSIONS = ['TLSv1.2', 'TLSv1.3'] as const
const SERVER_NAMES = { names: 'DNS:localhost' }

const directory = mkdtempSync(join(tmpdir(), 'chunknbd-'))
test.after.always(() => rmSync(directory, { recursive: true }))
const authority = new Authority(directory)
const other = new Authority(directory, 'other')
const server = authority.folder('server', SERVER_NAMES)
const client = authority.folder('client')
const certificates = certificatesIn(server, true)

const ALICE = Buffer.alloc(32, 1)
const keys: TlsCredentials = { kind: 'keys', keys: new Map([['alice', ALICE]]) }

function keyOptions(identity: string, psk: Buffer): ConnectionOptions {
  return {
    pskCallback: () => ({ psk, identity }),
    ciphers: 'TLS_AES_128_GCM_SHA256:PSK',
    checkServerIdentity: () => undefined,
  }
}

/** An echo behind TLS; what it hears of its clients. */
async function serve(t: ExecutionContext, context: TlsContext, upgrade: Upgrade) {
  const identities: TlsIdentity[] = []
  const listen = listenSecurely(createNodeIo().listen, context, (each) => identities.push(each))
  return { ...(await serveEcho(t, TCP, listen, upgrade)), identities }
}

async function isEchoed(socket: net.Socket): Promise<boolean> {
  const closed = once(socket, 'close').then(() => [Buffer.from('closed')])
  socket.write('hello')
  const [bytes] = (await Promise.race([once(socket, 'data'), closed])) as [Buffer]
  if (bytes.toString() !== 'hello') throw new Error(`no echo: ${bytes.toString()}`)
  return true
}

/** @returns the reason for which the server has closed the connection */
async function refusal(
  t: ExecutionContext,
  credentials: TlsCredentials,
  upgrade: Upgrade,
): Promise<string> {
  const { connect, accepted, identities } = await serve(t, new TlsContext(credentials), upgrade)
  const pending = accepted()
  // With version 1.3 the client may believe for a moment that all is well.
  const used = connect().then(isEchoed)
  const echo = await pending
  const reason = await echo.over
  await t.throwsAsync(used)
  t.deepEqual(identities, [])
  t.is(echo.receivedBytes, 0)
  return reason?.message ?? ''
}

const revoked = authority.folder('client', { name: 'eve' })
const revoking = authority.folder('server', SERVER_NAMES)
authority.revoke(revoking, revoked)

/** What the client shows, and what the log says of it. */
const CLIENTS: readonly (readonly [string, string, RegExp])[] = [
  ['no certificate', server, /peer did not return a certificate/],
  ['a certificate of another authority', other.folder('client'), /UNABLE_TO|SELF_SIGNED/],
  ['an expired one', authority.folder('client', { expired: true }), /CERT_HAS_EXPIRED/],
  ["a server's", authority.folder('client', { usage: 'serverAuth' }), /INVALID_PURPOSE/],
  ['a revoked one', revoked, /CERT_REVOKED/],
]

for (const version of VERSIONS) {
  const only = { minVersion: version, maxVersion: version }

  for (const [what, folder, reason] of CLIENTS) {
    test(`${version}: a client that shows ${what} is refused`, async (t) => {
      const options = { ...clientOptions(folder), ca: clientOptions(client).ca, ...only }
      const credentials = certificatesIn(revoking, true)
      t.regex(await refusal(t, credentials, upgradeTo(options)), reason)
    })
  }

  test(`${version}: with a revocation list, others are let in`, async (t) => {
    const context = new TlsContext(certificatesIn(revoking, true))
    const upgrade = upgradeTo({ ...clientOptions(client), ...only })
    t.true(await isEchoed(await (await serve(t, context, upgrade)).connect()))
  })

  test(`${version}: without verification clients need no certificate`, async (t) => {
    const context = new TlsContext(certificatesIn(server))
    const options = { ...clientOptions(other.folder('client')), ca: clientOptions(client).ca }
    const { connect, identities } = await serve(t, context, upgradeTo({ ...options, ...only }))
    t.true(await isEchoed(await connect()))
    t.like(identities, { length: 1, 0: { certificate: null, keyName: null, protocol: version } })
  })

  test(`${version}: a pre-shared key lets in who has it, by name`, async (t) => {
    const upgrade = upgradeTo({ ...keyOptions('alice', ALICE), ...only })
    const { connect, identities } = await serve(t, new TlsContext(keys), upgrade)
    t.true(await isEchoed(await connect()))
    t.like(identities, { length: 1, 0: { certificate: null, keyName: 'alice' } })
  })

  test(`${version}: a wrong key and an unknown name are refused`, async (t) => {
    for (const [name, key] of [
      ['alice', Buffer.alloc(32, 2)],
      ['bob', ALICE],
      ['', ALICE],
    ] as const) {
      const upgrade = upgradeTo({ ...keyOptions(name, key), ...only })
      t.regex(await refusal(t, keys, upgrade), /./)
    }
  })

  test(`${version}: keys and certificates do not mix`, async (t) => {
    const withKey = upgradeTo({ ...keyOptions('alice', ALICE), ...only })
    t.regex(await refusal(t, certificates, withKey), /no shared cipher|the client left/)
    const withCertificate = upgradeTo({ ...clientOptions(client), ...only })
    t.regex(await refusal(t, keys, withCertificate), /no shared cipher|no suitable/)
  })
}

test('versions before 1.2 and weak ciphers are refused', async (t) => {
  const weak = { ...clientOptions(client), ciphers: 'ALL:@SECLEVEL=0' }
  const old = upgradeTo({ ...weak, minVersion: 'TLSv1', maxVersion: 'TLSv1.1' })
  t.regex(await refusal(t, certificates, old), /unsupported protocol|version/)
  const ciphers = 'AES128-SHA:ECDHE-ECDSA-AES128-SHA256:ECDHE-ECDSA-AES128-SHA:@SECLEVEL=0'
  const cbc = upgradeTo({ ...weak, ciphers, maxVersion: 'TLSv1.2' })
  t.regex(await refusal(t, certificates, cbc), /no shared cipher/)
})

const GARBAGE: Readonly<Record<string, Buffer>> = {
  'an NBD option': Buffer.from('49484156454f50540000000300000000', 'hex'),
  zeros: Buffer.alloc(1000),
  'a hello that is none': Buffer.from(`1603010200${'ff'.repeat(512)}`, 'hex'),
  'an alert': Buffer.from('15030100020128', 'hex'),
  text: Buffer.from('GET / HTTP/1.1\r\n\r\n'),
}

for (const [what, bytes] of Object.entries(GARBAGE)) {
  test(`instead of a hello, ${what}: closed`, async (t) => {
    const garbage: Upgrade = async (socket) => {
      socket.write(Buffer.concat([Buffer.from('S'), bytes]))
      await once(socket.resume(), 'close')
      throw new Error('closed')
    }
    t.not(await refusal(t, certificates, garbage), '')
  })
}

/** The wish for TLS, and the beginning of a record. */
const HALF_A_HELLO = Buffer.from('53160301020001', 'hex')

test('a client that leaves in the middle of its hello is gone at once', async (t) => {
  const leave: Upgrade = async (socket) => {
    socket.end(HALF_A_HELLO)
    await once(socket.resume(), 'close')
    throw new Error('closed')
  }
  t.is(await refusal(t, certificates, leave), 'the client left in the middle of it')
})

test('a client that stops in the middle of its hello waits; destroy ends it', async (t) => {
  const { connect, accepted } = await serve(t, new TlsContext(certificates), async (socket) => {
    socket.write(HALF_A_HELLO)
    return socket
  })
  const pending = accepted()
  const socket = await connect()
  const echo = await pending
  const closed = once(socket.resume(), 'close')
  await new Promise((resolve) => setImmediate(resolve))
  t.deepEqual(echo.events, ['started'])
  echo.stream.destroy()
  t.is(await echo.over, null)
  await closed
})

test('a common name with commas in it cannot pass for a subject', async (t) => {
  const folder = authority.folder('client', { name: 'eve,O=Admins' })
  const upgrade = upgradeTo(clientOptions(folder))
  const { connect, identities } = await serve(t, new TlsContext(certificates), upgrade)
  t.true(await isEchoed(await connect()))
  const commonName = String.raw`eve\,O=Admins`
  t.like(identities[0].certificate, { commonName, subject: `CN=${commonName},O=Test` })
})

test('two authorities in one file, each with its own list of those who are revoked', async (t) => {
  const folder = authority.folder('server', SERVER_NAMES)
  const [ours, theirs] = [authority, other].map((each) => {
    const [good, bad] = [each.folder('client'), each.folder('client')]
    each.revoke(folder, bad)
    const list = readFileSync(join(folder, 'ca-crl.pem'), 'utf8')
    return { good, bad, list, certificate: readFileSync(join(good, 'ca-cert.pem'), 'utf8') }
  })
  const credentials = {
    ...certificatesIn(folder, true),
    authority: ours.certificate + theirs.certificate,
    revoked: `${ours.list}\n${theirs.list}`,
  }
  const trusting = (shown: string) => ({ ...clientOptions(shown), ca: clientOptions(client).ca })
  for (const { good, bad } of [ours, theirs]) {
    const { connect } = await serve(t, new TlsContext(credentials), upgradeTo(trusting(good)))
    t.true(await isEchoed(await connect()))
    t.regex(await refusal(t, credentials, upgradeTo(trusting(bad))), /CERT_REVOKED/)
  }
})

test('new credentials are for new clients, those who are connected stay', async (t) => {
  const context = new TlsContext(certificates)
  let options = clientOptions(client)
  const { connect } = await serve(t, context, (socket) => upgradeTo(options)(socket))
  const first = await connect()
  context.replace(certificatesIn(other.folder('server', SERVER_NAMES), true))
  await t.throwsAsync(connect(), { message: /certificate/ })
  options = clientOptions(other.folder('client'))
  t.true(await isEchoed(await connect()))
  t.true(await isEchoed(first))
})

test('credentials that are of no use are refused, and the old ones stay', async (t) => {
  const context = new TlsContext(certificates)
  const broken = { ...certificates, certificate: 'nothing' }
  t.throws(() => context.replace(broken))
  t.throws(() => new TlsContext(broken))
  const { connect } = await serve(t, context, upgradeTo(clientOptions(client)))
  t.true(await isEchoed(await connect()))
})

test('many handshakes at once, some of which fail, keep their identities apart', async (t) => {
  const names = Array.from({ length: 20 }, (_, index) => `user${index}`)
  const key = (name: string): Buffer => Buffer.alloc(32, name)
  const table = new Map(names.map((name) => [name, key(name)]))
  const context = new TlsContext({ kind: 'keys', keys: table })
  let next = 0
  const upgrade: Upgrade = (socket) => {
    const name = names[next++ % names.length]
    const isWrong = next > names.length
    return upgradeTo(keyOptions(name, isWrong ? ALICE : key(name)))(socket)
  }
  const { connect, identities } = await serve(t, context, upgrade)
  const tries = await Promise.allSettled(Array.from({ length: 40 }, () => connect().then(isEchoed)))
  t.is(tries.filter((each) => each.status === 'fulfilled').length, 20)
  t.deepEqual(identities.map(({ keyName }) => keyName).toSorted(), names.toSorted())
})
