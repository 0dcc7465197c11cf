/** TLS on streams of every engine: the contract of streams once more, and what TLS adds to it. */
import { once } from 'node:events'
import { mkdtempSync, rmSync } from 'node:fs'
import type net from 'node:net'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { Duplex } from 'node:stream'
import tls from 'node:tls'
import test from 'ava'
import type { Io } from '../../io/io.ts'
import { TlsContext } from '../../io/tls-context.ts'
import type { TlsIdentity } from '../../io/tls-identity.ts'
import { Authority } from '../helpers/authority.ts'
import { serveEcho } from '../helpers/echo.ts'
import { certificatesIn, clientOptions, listenSecurely, upgradeTo } from '../helpers/tls.ts'
import { streamContract } from './stream-contract.ts'

const TCP = { kind: 'tcp', host: '127.0.0.1', port: 0 } as const

export function tlsContract(listen: Io['listen']): void {
  const directory = mkdtempSync(join(tmpdir(), 'chunknbd-'))
  test.after.always(() => rmSync(directory, { recursive: true }))
  const authority = new Authority(directory)
  const server = authority.folder('server', { names: 'DNS:localhost' })
  const client = authority.folder('client', { name: 'alice', names: 'DNS:a,email:a@b.example' })
  const context = new TlsContext(certificatesIn(server, true))
  for (const version of ['TLSv1.2', 'TLSv1.3'] as const) {
    const options = { ...clientOptions(client), minVersion: version, maxVersion: version }
    streamContract(listenSecurely(listen, context), upgradeTo(options), `${version} `)

    test(`${version}: a handshake that comes byte by byte`, async (t) => {
      const listenTls = listenSecurely(listen, context)
      const { connect } = await serveEcho(t, TCP, listenTls, async (socket) => {
        socket.setNoDelay(true).write('S')
        const secured = tls.connect({ ...options, socket: new Dribble(socket) })
        await once(secured, 'secureConnect')
        return secured
      })
      const socket = await connect()
      socket.write('hello')
      const [bytes] = (await once(socket, 'data')) as [Buffer]
      t.is(bytes.toString(), 'hello')
    })

    test(`${version}: the peer is told before anything is received`, async (t) => {
      const identities: TlsIdentity[] = []
      const listenTls = listenSecurely(listen, context, (identity) => identities.push(identity))
      const { connect } = await serveEcho(t, TCP, listenTls, upgradeTo(options))
      const socket = await connect()
      socket.write('x')
      await once(socket, 'data')
      const [{ cipher, certificate, ...rest }] = identities
      t.deepEqual(rest, { protocol: version, keyName: null })
      t.regex(cipher, /^TLS_.*AES_128_GCM_SHA256$/)
      t.like(certificate, {
        subject: 'CN=alice,O=Test',
        commonName: 'alice',
        names: ['DNS:a', 'email:a@b.example'],
      })
      t.regex(certificate?.fingerprint ?? '', /^[0-9a-f]{64}$/)
    })
  }
}

/** A socket that sends each byte on its own. */
class Dribble extends Duplex {
  readonly #socket: net.Socket

  constructor(socket: net.Socket) {
    super()
    this.#socket = socket
    socket.on('data', (bytes) => this.push(bytes)).on('end', () => this.push(null))
  }

  override _read(): void {}

  override async _write(bytes: Buffer, _: string, done: () => void): Promise<void> {
    for (const byte of bytes) {
      this.#socket.write(Buffer.of(byte))
      await new Promise((resolve) => setImmediate(resolve))
    }
    done()
  }
}
