/** The tests of tls-refused.test.ts. */
import { mkdtempSync } from 'node:fs'
import { join } from 'node:path'
import type tls from 'node:tls'
import test, { type ExecutionContext } from 'ava'
import { Authority } from '../helpers/authority.ts'
import { RawClient } from '../helpers/raw-client.ts'
import { serve } from '../helpers/serve.ts'
import { clientOptions, startTls } from '../helpers/tls.ts'
import { attempt, requireTool, run } from '../helpers/tools.ts'
import * as kinds from './tls-kinds.ts'

const { ALICE, authority, directory, keepsSecrets, keyFile, KEYS, KINDS, MIB, portOf } = kinds
const { SECRET, SERVER, TCP, uriFor } = kinds

const EVE = authority.folder('client', { name: 'eve' })
const REVOKING = authority.folder('server', { names: 'DNS:localhost' })
authority.revoke(REVOKING, EVE)
const OTHER = new Authority(directory, 'other')

/** What is wrong; the client's part of the URI, user and parameters; what the log says of it. */
type Refused = readonly [what: string, user: string, parameters: string, reason: RegExp]

const REFUSED_CLIENTS: readonly Refused[] = [
  ['no certificate', '', trusting(SERVER), /did not return a certificate/],
  ['a revoked certificate', '', trusting(EVE), /is refused: CERT_REVOKED/],
  ['an expired one', '', trusting(expiredClient()), /is refused: CERT_HAS_EXPIRED/],
  ['one of another authority', '', trusting(stranger('other')), /did not return a certificate/],
  ['one of an authority of the same name', '', trusting(stranger()), /is refused: UNABLE_TO/],
  ['it does not trust our authority', '', trusting(OTHER.folder('client')), /\S/],
  ['it has only a key', 'alice@', `tls-psk-file=${KEYS}`, /\S/],
]

const REFUSED_KEYS: readonly Refused[] = [
  ['a wrong key', 'alice@', keyOf('alice', '00'.repeat(32)), /\S/],
  ['an unknown user', 'mallory@', keyOf('mallory', SECRET), /\S/],
  ["another user's key", 'bob@', keyOf('bob', SECRET), /\S/],
  ['it has only a certificate', '', trusting(ALICE), /\S/],
]

function trusting(folder: string): string {
  return `tls-certificates=${folder}`
}

function expiredClient(): string {
  return authority.folder('client', { expired: true })
}

/**
 * A client that trusts the right authority, and has a certificate of another one. GnuTLS shows it
 * only to a server that asks for one of an authority of that name.
 */
function stranger(name?: string): string {
  const folder = authority.folder('client')
  const place = mkdtempSync(join(directory, 'stranger-'))
  new Authority(place, name).issue(folder, 'client')
  return folder
}

function keyOf(user: string, key: string): string {
  return `tls-psk-file=${keyFile(`${user}.psk`, `${user}:${key}\n`)}`
}

/** Each is refused, for its reason, while another client goes on. */
async function refuses(
  t: ExecutionContext,
  options: readonly string[],
  cases: readonly Refused[],
  canary: tls.ConnectionOptions,
): Promise<void> {
  const server = await serve(t, [...TCP, ...options])
  const plain = await RawClient.connect({ host: '127.0.0.1', port: Number(portOf(server)) })
  await plain.greet()
  const attached = await startTls(plain, canary)
  await attached.negotiate()
  await server.logged(/"client attached"/)
  for (const [what, user, parameters, reason] of cases) {
    const before = server.log().length
    const result = await attempt(t, 'nbdinfo', [uriFor(server, { user, parameters })])
    t.is(result.status, 1, what)
    await server.logged(new RegExp(`^[^]{${before}}[^]*"no TLS: the handshake failed"`))
    const line = server.log().slice(before).trimEnd()
    const { level, reason: told, remote } = JSON.parse(line) as Record<string, string>
    t.is(Number(level), 30, what)
    t.regex(remote, /^127\.0\.0\.1:\d+$/)
    t.regex(told, reason, what)
    t.is((await attached.request({ command: 0, length: 512 })).error, 0, what)
  }
  keepsSecrets(t, server)
  await attached.disconnect()
  t.is(await server.stop(), 0)
}

test.serial('clients with wrong certificates are refused, others are not disturbed', async (t) => {
  if (!requireTool(t, 'nbdinfo')) return
  const options = ['--tls-certificates', REVOKING, '--tls-verify-peer']
  await refuses(t, options, REFUSED_CLIENTS, clientOptions(ALICE))
})

test.serial('clients with wrong keys are refused, others are not disturbed', async (t) => {
  if (!requireTool(t, 'nbdinfo')) return
  const bob = { identity: 'bob', psk: Buffer.alloc(32, 0xab) }
  const psk = { pskCallback: () => bob, checkServerIdentity: () => undefined }
  const canary = { ...psk, ciphers: 'TLS_AES_128_GCM_SHA256:PSK' }
  await refuses(t, ['--tls-psk', KEYS], REFUSED_KEYS, canary)
})

test.serial('clients refuse a server of another name, and one that has expired', async (t) => {
  if (!requireTool(t, 'nbdinfo')) return
  for (const wishes of [{ names: 'DNS:a.example' }, { names: 'DNS:localhost', expired: true }]) {
    const folder = authority.folder('server', wishes)
    const server = await serve(t, [...TCP, '--tls-certificates', folder])
    t.is((await attempt(t, 'nbdinfo', [uriFor(server, KINDS[0])])).status, 1)
    t.notRegex(server.log(), /client attached/)
    t.is(await server.stop(), 0)
  }
})

test.serial('require: nobody is served in plain, and nothing can be negotiated down', async (t) => {
  if (!requireTool(t, 'nbdinfo', 'nbdsh')) return
  const server = await serve(t, [...TCP, ...KINDS[1].options])
  const plain = server.uri.replace('nbds', 'nbd')
  t.is((await attempt(t, 'nbdinfo', [plain])).status, 1)
  t.is((await attempt(t, 'nbdinfo', ['--list', plain])).status, 1)
  // A client that would take what it gets.
  const steps = `h.set_tls(nbd.TLS_ALLOW); h.connect_uri("${plain}")`
  t.not((await attempt(t, 'nbdsh', ['-c', steps])).status, 0)
  t.notRegex(server.log(), /client attached/)
})

test.serial('on: clients choose; both URIs are printed, the safe one first', async (t) => {
  if (!requireTool(t, 'nbdinfo')) return
  const server = await serve(t, [...TCP, '--tls', 'on', ...KINDS[0].options], { uriCount: 2 })
  t.deepEqual(
    server.uris.map((uri) => uri.replace(/\d+\/memory$/, '')),
    ['nbds://127.0.0.1:', 'nbd://127.0.0.1:'],
  )
  t.is((await run(t, 'nbdinfo', ['--size', uriFor(server, KINDS[0])])).stdout, `${16 * MIB}\n`)
  t.is((await run(t, 'nbdinfo', ['--size', server.uris[1]])).stdout, `${16 * MIB}\n`)
})

test.serial('off: a client that insists on TLS leaves, whatever files are named', async (t) => {
  if (!requireTool(t, 'nbdinfo')) return
  const server = await serve(t, [...TCP, '--tls', 'off', ...KINDS[0].options])
  t.regex(server.uri, /^nbd:/)
  const uri = server.uri.replace('nbd:', 'nbds:')
  t.is((await attempt(t, 'nbdinfo', [`${uri}?tls-certificates=${ALICE}`])).status, 1)
  t.is((await run(t, 'nbdinfo', ['--size', server.uri])).stdout, `${16 * MIB}\n`)
})
