import { execFileSync } from 'node:child_process'
import { chmodSync, copyFileSync, mkdirSync, renameSync, rmSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import test, { type ExecutionContext } from 'ava'
import {
  loadClientCertificates,
  loadKeys,
  loadServerCertificates,
  TlsFileError,
} from '../../io/tls-files.ts'
import { Authority } from '../helpers/authority.ts'
import { opensslForTests } from '../helpers/openssl-for-tests.ts'
import { tempDirectory } from '../helpers/temp.ts'

const SECRET = '00112233445566778899aabbccddeeff'

function keyFile(t: ExecutionContext, text: string, mode = 0o600): string {
  const file = join(tempDirectory(t), 'keys.psk')
  writeFileSync(file, text)
  chmodSync(file, mode)
  return file
}

test('keys: a line for each user, empty lines and CRLF are no harm', async (t) => {
  const file = keyFile(t, `alice:${SECRET}\r\n\nbøb@example:${'AB'.repeat(256)}\n`)
  const { credentials, warnings } = await loadKeys(file)
  t.deepEqual(warnings, [])
  t.deepEqual([...credentials.keys.keys()], ['alice', 'bøb@example'])
  t.deepEqual(credentials.keys.get('alice'), Buffer.from(SECRET, 'hex'))
  t.is(credentials.keys.get('bøb@example')?.length, 256)
})

const WRONG: readonly (readonly [string, RegExp])[] = [
  ['', /no key; make one with psktool/],
  [SECRET, /line 1: write NAME:KEY/],
  [`:${SECRET}`, /line 1: write NAME:KEY/],
  [`alice:${SECRET}0`, /line 1: write NAME:KEY/],
  [`alice:${SECRET}xy`, /line 1: write NAME:KEY/],
  [`\nalice: ${SECRET}`, /line 2: write NAME:KEY/],
  [`#616c696365:${SECRET}`, /line 1: write NAME:KEY/],
  [`a:b:${SECRET}`, /line 1: write NAME:KEY/],
  [`alice:${SECRET.slice(2)}`, /line 1: a key of 15 bytes; it must have 16 to 256/],
  [`alice:${'00'.repeat(257)}`, /a key of 257 bytes/],
  [`${'a'.repeat(129)}:${SECRET}`, /a name of more than 128 bytes/],
  [`alice:${SECRET}\nalice:${SECRET}`, /"alice" is there twice/],
  ['x'.repeat((1 << 20) + 1), /too large/],
]

for (const [text, message] of WRONG) {
  test(`keys: "${text.slice(0, 60)}" of ${text.length} bytes: ${message.source}`, async (t) => {
    const file = keyFile(t, text)
    const error = await t.throwsAsync(loadKeys(file), { instanceOf: TlsFileError, message })
    t.true(error?.message.startsWith(file))
    t.notRegex(error?.message ?? '', /001122|0000/, 'what is in the file is secret')
  })
}

test('keys: a file that others can use is warned of', async (t) => {
  for (const mode of [0o640, 0o604, 0o620, 0o666]) {
    const file = keyFile(t, `alice:${SECRET}`, mode)
    const { warnings } = await loadKeys(file)
    t.deepEqual(warnings, [`${file} can be used by others than its owner: chmod 600 ${file}`])
  }
})

test('keys: a file that is missing, or is a directory', async (t) => {
  const directory = tempDirectory(t)
  await t.throwsAsync(loadKeys(join(directory, 'k')), { message: /\/k is missing: TLS needs it/ })
  await t.throwsAsync(loadKeys(directory), { message: /is a directory, not a file/ })
})

if (opensslForTests()) certificateTests()

interface Files {
  readonly authority: Authority
  readonly server: string
}

function files(t: ExecutionContext): Files {
  const authority = new Authority(tempDirectory(t))
  return { authority, server: authority.folder('server') }
}

function certificateTests(): void {
  test('certificates: those of a server', async (t) => {
    const { authority, server } = files(t)
    const { credentials, warnings } = await loadServerCertificates(server, true)
    t.deepEqual(warnings, [])
    t.like(credentials, { kind: 'certificates', verifyPeer: true, revoked: null })
    t.regex(credentials.authority ?? '', /BEGIN CERTIFICATE/)
    authority.revoke(server)
    const verifying = await loadServerCertificates(server, true)
    t.regex(verifying.credentials.revoked ?? '', /BEGIN X509 CRL/)
    const trusting = await loadServerCertificates(server, false)
    t.is(trusting.credentials.revoked, null)
  })

  test('certificates: the authority is needed where clients are verified', async (t) => {
    const { server } = files(t)
    rmSync(join(server, 'ca-cert.pem'))
    const { credentials } = await loadServerCertificates(server, false)
    t.is(credentials.authority, null)
    const message = /ca-cert\.pem is missing: clients are verified with it/
    await t.throwsAsync(loadServerCertificates(server, true), { message })
  })

  const broken: readonly (readonly [string, (files: Files) => void, RegExp])[] = [
    ['no certificate', (f) => rmSync(join(f.server, 'server-cert.pem')), /cert\.pem is missing/],
    ['no key', (f) => rmSync(join(f.server, 'server-key.pem')), /server-key\.pem is missing/],
    ['a certificate that is none', overwrite('server-cert.pem'), /cert\.pem is no certificate/],
    ['a key that is none', overwrite('server-key.pem'), /server-key\.pem is no private key/],
    ['an authority that is none', overwrite('ca-cert.pem'), /ca-cert\.pem is no certificate/],
    ['a list that is none', overwrite('ca-crl.pem'), /ca-crl\.pem is no revocation list/],
    ['the key of another', otherKey, /server-key\.pem does not belong to .*server-cert\.pem/],
    ['an encrypted key', encrypt, /server-key\.pem is encrypted; write one without a passphrase/],
    ['a key of 512 bits', weakKey, /OpenSSL refuses these certificates: ee key too small/],
  ]
  for (const [what, change, message] of broken) {
    test(`certificates: ${what}`, async (t) => {
      const each = files(t)
      change(each)
      const error = await t.throwsAsync(loadServerCertificates(each.server, true), { message })
      t.true(error instanceof TlsFileError && error.message.startsWith(each.server))
      t.notRegex(error?.message ?? '', /BEGIN|garbage/)
    })
  }

  test('certificates: warnings for a key others can read, and an expired one', async (t) => {
    const { authority } = files(t)
    const folder = authority.folder('server', { expired: true })
    chmodSync(join(folder, 'server-key.pem'), 0o644)
    const { warnings } = await loadServerCertificates(folder, false)
    t.is(warnings.length, 2)
    t.regex(warnings[0], /server-key\.pem can be used by others than its owner/)
    t.regex(warnings[1], /server-cert\.pem: not valid since Jan .*2020.*, it will be refused/)
  })

  test('certificates: a client needs an authority, or something to show', async (t) => {
    const { authority } = files(t)
    const folder = authority.folder('client')
    t.regex((await loadClientCertificates(folder)).key ?? '', /BEGIN PRIVATE KEY/)
    rmSync(join(folder, 'client-cert.pem'))
    t.like(await loadClientCertificates(folder), { certificate: null, key: null })
    const empty = join(folder, 'empty')
    mkdirSync(empty)
    await t.throwsAsync(loadClientCertificates(empty), { message: /neither ca-cert\.pem nor/ })
  })
}

function overwrite(name: string): (files: Files) => void {
  return ({ server }) => writeFileSync(join(server, name), 'garbage', { mode: 0o600 })
}

function otherKey({ authority, server }: Files): void {
  const other = authority.folder('server')
  copyFileSync(join(other, 'server-key.pem'), join(server, 'server-key.pem'))
}

function encrypt({ server }: Files): void {
  const options = ['-aes128', '-passout', 'pass:garbage']
  const [key, plain] = ['server-key.pem', 'plain'].map((name) => join(server, name))
  renameSync(key, plain)
  execFileSync('openssl', ['pkey', '-in', plain, '-out', key, ...options])
}

function weakKey({ server }: Files): void {
  const [key, cert] = ['key', 'cert'].map((each) => join(server, `server-${each}.pem`))
  const names = ['-keyout', key, '-out', cert, '-subj', '/CN=weak']
  execFileSync('openssl', ['req', '-x509', '-newkey', 'rsa:512', '-nodes', ...names], {
    stdio: 'ignore',
  })
}
