/** The tests of tls-reload.test.ts: keys and certificates of a running server change. */
import { copyFileSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import type tls from 'node:tls'
import test, { type ExecutionContext } from 'ava'
import { Authority } from '../helpers/authority.ts'
import { chunknbd, tryChunknbd } from '../helpers/chunks.ts'
import { option } from '../helpers/naive-codec.ts'
import { RawClient } from '../helpers/raw-client.ts'
import { type Served, serve } from '../helpers/serve.ts'
import { tempDirectory } from '../helpers/temp.ts'
import { clientOptions, startTls } from '../helpers/tls.ts'

const TCP = ['--memory', '1M', '--listen', 'nbd://127.0.0.1:0']
const NAMES = { names: 'DNS:localhost' }

/** A client in the transmission phase, in TLS. */
async function attach(
  t: ExecutionContext,
  server: Served,
  options: tls.ConnectionOptions,
): Promise<RawClient> {
  const port = Number(new URL(server.uri.replace('nbds', 'http')).port)
  const plain = await RawClient.connect({ host: '127.0.0.1', port })
  t.teardown(() => plain.destroy())
  await plain.greet()
  const secured = await startTls(plain, options)
  await secured.negotiate()
  return secured
}

async function canRead(client: RawClient): Promise<boolean> {
  const { error, data } = await client.request({ command: 0, offset: 0, length: 4096 })
  return error === 0 && data?.length === 4096
}

/** SIGHUP, then waits for what the log says. */
async function hangUp(server: Served, expected: RegExp): Promise<string> {
  const before = server.log().length
  process.kill(server.pid, 'SIGHUP')
  await server.logged(new RegExp(`^[^]{${before}}[^]*${expected.source}`))
  return server.log().slice(before)
}

test.serial('SIGHUP: new certificates for new clients, those who are connected stay', async (t) => {
  const old = new Authority(tempDirectory(t))
  const folder = old.folder('server', NAMES)
  const server = await serve(t, [...TCP, '--tls-certificates', folder])
  const first = await attach(t, server, clientOptions(folder))

  const fresh = new Authority(tempDirectory(t), 'fresh')
  const replacement = fresh.folder('server', NAMES)
  for (const name of ['ca-cert', 'server-cert', 'server-key']) {
    copyFileSync(join(replacement, `${name}.pem`), join(folder, `${name}.pem`))
  }
  const log = await hangUp(server, /"reloaded"/)
  t.true(log.includes(`"what":"TLS from ${folder}"`))
  t.true(await canRead(await attach(t, server, clientOptions(replacement))))
  const distrusting = attach(t, server, clientOptions(old.directory))
  await t.throwsAsync(distrusting, { message: /certificate/ })
  t.true(await canRead(first))
  t.is(await server.stop(), 0)
})

test.serial('SIGHUP: files that are of no use are named, the old ones stay in use', async (t) => {
  const authority = new Authority(tempDirectory(t))
  const folder = authority.folder('server', NAMES)
  const options = clientOptions(folder)
  const server = await serve(t, [...TCP, '--tls-certificates', folder])
  const first = await attach(t, server, options)
  // Half of the way to a new pair.
  copyFileSync(join(authority.folder('server'), 'server-key.pem'), join(folder, 'server-key.pem'))
  const log = await hangUp(server, /"not reloaded: what was there stays in use"/)
  t.regex(log, /"level":50.*server-key\.pem does not belong to .*server-cert\.pem/)
  t.notRegex(log, /PRIVATE|    at /)
  t.true(await canRead(first))
  t.true(await canRead(await attach(t, server, options)))
  // And now the other half.
  authority.issue(folder, 'server', NAMES)
  await hangUp(server, /"reloaded"/)
  t.true(await canRead(await attach(t, server, options)))
  t.is(await server.stop(), 0)
})

test.serial('SIGHUP: a user that is gone from the key file cannot come again', async (t) => {
  const file = join(tempDirectory(t), 'keys')
  const key = (byte: number): Buffer => Buffer.alloc(32, byte)
  const write = (...users: readonly (readonly [string, number])[]): void =>
    writeFileSync(file, users.map(([name, b]) => `${name}:${key(b).toString('hex')}\n`).join(''), {
      mode: 0o600,
    })
  const as = (identity: string, byte: number): tls.ConnectionOptions => ({
    pskCallback: () => ({ identity, psk: key(byte) }),
    ciphers: 'TLS_AES_128_GCM_SHA256:PSK',
    checkServerIdentity: () => undefined,
  })
  write(['alice', 1], ['bob', 2])
  const server = await serve(t, [...TCP, '--tls-psk', file])
  const alice = await attach(t, server, as('alice', 1))
  write(['bob', 2], ['carol', 3])
  await hangUp(server, /"reloaded"/)
  await t.throwsAsync(attach(t, server, as('alice', 1)))
  t.true(await canRead(await attach(t, server, as('bob', 2))))
  t.true(await canRead(await attach(t, server, as('carol', 3))))
  t.true(await canRead(alice))
  writeFileSync(file, 'dave\n')
  t.regex(await hangUp(server, /"not reloaded/), /keys, line 1: write NAME:KEY/)
  t.true(await canRead(await attach(t, server, as('carol', 3))))
  t.is(await server.stop(), 0)
})

test.serial('a thousand signals under load: every request is answered', async (t) => {
  const file = join(tempDirectory(t), 'keys')
  const [psk, next] = [Buffer.alloc(32, 1), Buffer.alloc(32, 2)]
  const write = (key: Buffer): void =>
    writeFileSync(file, `alice:${key.toString('hex')}\n`, { mode: 0o600 })
  const options = { ciphers: 'TLS_AES_128_GCM_SHA256:PSK', checkServerIdentity: () => undefined }
  const as = (key: Buffer) => ({
    ...options,
    pskCallback: () => ({ identity: 'alice', psk: key }),
  })
  write(psk)
  const server = await serve(t, [...TCP, '--tls-psk', file])
  const client = await attach(t, server, as(psk))
  const SIGNALS = ['SIGHUP', 'SIGUSR1', 'SIGCHLD', 'SIGPIPE', 'SIGWINCH'] as const
  for (let count = 0; count < 1000; count++) {
    process.kill(server.pid, SIGNALS[count % SIGNALS.length])
    if (count % 6 > 0) continue
    const data = Buffer.alloc(4096, count)
    const offset = (count % 256) * 4096
    t.is((await client.request({ command: 1, offset, length: 4096 }, data)).error, 0)
    t.deepEqual((await client.request({ command: 0, offset, length: 4096 })).data, data)
  }
  // The last signal is heard like the first. What is told first may have begun before `write`.
  write(next)
  await hangUp(server, /"reloaded"/)
  await hangUp(server, /"reloaded"/)
  t.true(await canRead(await attach(t, server, as(next))))
  t.notRegex(server.log(), /Debugger/)
  t.is(await server.stop(), 0)
})

test.serial('a server does not start with files that are of no use, and names them', async (t) => {
  const cwd = tempDirectory(t)
  for (const [options, message] of [
    [['--tls-certificates', 'nowhere'], /^chunknbd: nowhere\/server-cert\.pem is missing/],
    [['--tls-psk', 'nowhere'], /^chunknbd: nowhere is missing: TLS needs it/],
  ] as const) {
    const { status, stdout, stderr } = await tryChunknbd(t, ['serve', ...TCP, ...options], cwd)
    t.is(status, 1)
    t.is(stdout, '')
    t.regex(stderr, message)
    t.notRegex(stderr, /    at /, 'no stack')
  }
})

test.serial('a file that others can read is warned of, info is told what to do', async (t) => {
  const authority = new Authority(tempDirectory(t))
  const folder = authority.folder('server', NAMES)
  const file = join(folder, 'keys')
  writeFileSync(file, `alice:${'01'.repeat(32)}\n`, { mode: 0o644 })
  const server = await serve(t, [...TCP, '--tls-psk', file])
  t.regex(server.log(), /"level":40.*keys can be used by others than its owner: chmod 600/)
  const uri = server.uri.replace('//', '//alice@')
  const { stdout } = await chunknbd(t, ['info', uri, '--tls-psk', file], folder)
  t.regex(stdout, /^uri +nbds:\/\/alice@127\.0\.0\.1:\d+\/memory\?tls-psk-file=/)
  t.regex(stdout, /\nsize +1M /)
  const plain = await tryChunknbd(t, ['info', server.uri.replace('nbds', 'nbd')], folder)
  t.is(plain.status, 1)
  t.regex(plain.stderr, /ERR_TLS_REQD \(use nbds:\/\/ for TLS\)/)
  const unknown = await tryChunknbd(t, ['info', server.uri, '--tls-psk', file], folder)
  t.is(unknown.status, 1)
  t.regex(unknown.stderr, /no key for ".+"; name the user as in nbds:\/\/USER@HOST/)
})

test.serial('plain bytes behind STARTTLS: closed, and the next client is served', async (t) => {
  const authority = new Authority(tempDirectory(t))
  const folder = authority.folder('server', NAMES)
  const server = await serve(t, [...TCP, '--tls-certificates', folder, '--tls', 'on'], {
    uriCount: 2,
  })
  const port = Number(new URL(server.uri.replace('nbds', 'http')).port)
  const client = await RawClient.connect({ host: '127.0.0.1', port })
  await client.greet()
  client.write(Buffer.concat([option(5), option(8)]))
  await client.closed
  t.true(await canRead(await attach(t, server, clientOptions(folder))))
  t.is(await server.stop(), 0)
})
