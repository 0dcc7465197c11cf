/** TLS on streams of every engine: the contract of streams once more, and what TLS adds to it. */
import { once } from 'node:events'
import { mkdtempSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
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
