/** The two kinds of TLS, each with its files and what its clients are told. */
import { mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import test, { type ExecutionContext } from 'ava'
import { Authority } from '../helpers/authority.ts'
import type { Served } from '../helpers/serve.ts'

export const MIB = 1 << 20
export const TCP = ['--memory', '16M', '--listen', 'nbd://127.0.0.1:0']
export const SECRET = '5ec3e75ec3e75ec3e75ec3e75ec3e75ec3e75ec3e75ec3e75ec3e75ec3e75ec3'

export const directory = mkdtempSync(join(tmpdir(), 'chunknbd-'))
test.after.always(() => rmSync(directory, { recursive: true }))
export const authority = new Authority(directory)
export const SERVER = authority.folder('server', { names: 'DNS:localhost' })
export const ALICE = authority.folder('client', { name: 'alice' })
export const KEYS = keyFile('keys.psk', `alice:${SECRET}\nbob:${'ab'.repeat(32)}\n`)

export function keyFile(name: string, text: string): string {
  const file = join(directory, name)
  writeFileSync(file, text, { mode: 0o600 })
  return file
}

export interface Kind {
  readonly name: string
  readonly options: readonly string[]
  /** What the log calls the client. */
  readonly peer: string
  /** Added to the server's URI. */
  readonly parameters: string
  readonly user: string
  /** A client of libnbd, connected. */
  readonly nbdsh: string
  /** An object of QEMU. */
  readonly qemu: string
  /** Parameters of nbdkit's nbd plugin. */
  readonly nbdkit: readonly string[]
}

export const KINDS: readonly Kind[] = [
  {
    name: 'certificates',
    options: ['--tls-certificates', SERVER, '--tls-verify-peer'],
    peer: 'CN=alice,O=Test',
    parameters: `tls-certificates=${ALICE}`,
    user: '',
    nbdsh: `h.set_tls_certificates("${ALICE}")`,
    qemu: `tls-creds-x509,dir=${ALICE}`,
    nbdkit: [`tls-certificates=${ALICE}`],
  },
  {
    name: 'keys',
    options: ['--tls-psk', KEYS],
    peer: 'alice',
    parameters: `tls-psk-file=${KEYS}`,
    user: 'alice@',
    nbdsh: `h.set_tls_psk_file("${KEYS}"); h.set_tls_username("alice")`,
    qemu: `tls-creds-psk,dir=${directory},username=alice`,
    nbdkit: [`tls-psk=${KEYS}`, 'tls-username=alice'],
  },
]

/** By the name in the server's certificate. */
export function uriFor(
  server: Served,
  { user, parameters }: Pick<Kind, 'user' | 'parameters'>,
): string {
  return `${server.uri.replace('127.0.0.1', `${user}localhost`)}?${parameters}`
}

export function portOf(server: Served): string {
  return new URL(server.uri.replace('nbds', 'http')).port
}

/** Nothing secret is in the log, nor in the arguments that everybody on the machine can see. */
export function keepsSecrets(t: ExecutionContext, server: Served): void {
  const words = readFileSync(`/proc/${server.pid}/cmdline`, 'utf8')
  t.notRegex(server.log() + words, new RegExp(`${SECRET}|PRIVATE|${SECRET.slice(0, 16)}`, 'i'))
}
