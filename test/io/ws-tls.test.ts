/** WebSockets over TLS: the peer is known, and new certificates leave those alone who are there. */
import { once } from 'node:events'
import { mkdtempSync, rmSync } from 'node:fs'
import net from 'node:net'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import tls from 'node:tls'
import test, { type ExecutionContext } from 'ava'
import { TlsContext } from '../../io/tls-context.ts'
import { Authority } from '../helpers/authority.ts'
import { sameBytes } from '../helpers/bytes.ts'
import { opensslForTests } from '../helpers/openssl-for-tests.ts'
import { Random, seedFor } from '../helpers/random.ts'
import { until } from '../helpers/socket-server.ts'
import { certificatesIn, clientOptions } from '../helpers/tls.ts'
import { type RawWebSocket, upgrade } from '../helpers/web-socket.ts'
import { serveWebSocketEcho } from '../helpers/web-socket-echo.ts'

async function secure(
  t: ExecutionContext,
  port: number,
  options: tls.ConnectionOptions,
): Promise<RawWebSocket> {
  const socket = tls.connect({ port, host: '127.0.0.1', ...options })
  await once(socket, 'secureConnect')
  return upgrade(t, socket, { path: '/disk' })
}

if (opensslForTests()) {
  const directory = mkdtempSync(join(tmpdir(), 'chunknbd-'))
  test.after.always(() => rmSync(directory, { recursive: true }))
  const authority = new Authority(directory)
  const server = authority.folder('server', { names: 'DNS:localhost' })
  const alice = clientOptions(authority.folder('client', { name: 'alice' }))

  for (const version of ['TLSv1.2', 'TLSv1.3'] as const) {
    test(`${version}: bytes go both ways, and the stream knows who the peer is`, async (t) => {
      const random = new Random(seedFor(t))
      const context = new TlsContext(certificatesIn(server, true))
      const { port, accepted } = await serveWebSocketEcho(t, { tls: context })
      const pending = accepted()
      const range = { minVersion: version, maxVersion: version }
      const client = await secure(t, port, { ...alice, ...range })
      const { stream } = await pending
      t.like(stream.entry, {
        defaultExport: 'disk',
        identity: { protocol: version, certificate: { subject: 'CN=alice,O=Test' } },
      })
      t.regex(stream.remote, /^127\.0\.0\.1:\d+$/)
      const bytes = random.bytes(1_000_000)
      client.sendBytes(bytes)
      sameBytes(t, await client.read(bytes.length), bytes)
      stream.finish()
      t.is(await client.closeCode(), 1000)
    })
  }

  test('who speaks HTTP in plain, shows no certificate, or stops, is not served', async (t) => {
    const context = new TlsContext(certificatesIn(server, true))
    const service = await serveWebSocketEcho(t, { tls: context })
    const { port, refusals, echoes } = service
    await t.throwsAsync(service.connect(), { message: /closed after/ })
    const stranger = tls.connect({ port, host: '127.0.0.1', ...alice, cert: undefined })
    stranger.on('error', () => {})
    await new Promise((resolve) => stranger.once('close', resolve))
    await until(() => refusals.length === 2)
    t.true(refusals.every((reason) => reason.startsWith('no TLS: ')))
    t.is(echoes.length, 0)

    const hasty = await serveWebSocketEcho(t, { tls: context, handshakeMs: 100 })
    const silent = net.connect(hasty.port, '127.0.0.1').resume()
    await new Promise((resolve) => silent.on('error', () => {}).once('close', resolve))
    t.deepEqual(hasty.refusals, ['no upgrade in time'])
  })

  test('new certificates are for new clients', async (t) => {
    const context = new TlsContext(certificatesIn(server))
    const { port } = await serveWebSocketEcho(t, { tls: context })
    const old = await secure(t, port, alice)
    const other = new Authority(directory, 'other')
    const renewed = other.folder('server', { names: 'DNS:localhost' })
    context.replace(certificatesIn(renewed))
    await t.throwsAsync(secure(t, port, alice), { message: /certificate/ })
    const fresh = await secure(t, port, { ...alice, ...clientOptions(renewed) })
    for (const client of [old, fresh]) {
      client.sendBytes(Buffer.from('x'))
      t.is((await client.read(1)).toString(), 'x')
    }
  })
}
