/** The options of `serve` about TLS, and the files behind them. */
import { existsSync } from 'node:fs'
import { homedir } from 'node:os'
import { join } from 'node:path'
import { type Command, Option } from 'commander'
import { TlsContext, type TlsCredentials } from '../io/tls-context.ts'
import { type Loaded, loadKeys, loadServerCertificates } from '../io/tls-files.ts'
import type { TlsSettings } from '../nbd/connection-settings.ts'
import { TlsMode } from '../nbd/negotiation.ts'
import type { Logger } from './logger.ts'
import type { Reload } from './signals.ts'

export interface TlsOptions {
  readonly tls?: TlsMode
  readonly tlsCertificates?: string
  readonly tlsPsk?: string
  readonly tlsVerifyPeer?: boolean
}

export const TLS_HELP = `
TLS (docs/tls.md has more, and how to make keys):
  off            none (the default)
  on             clients choose; somebody in between could make them choose none
  require        always (the default with any of the other options of TLS)
  The certificates are ca-cert.pem, server-cert.pem, server-key.pem and, if there, ca-crl.pem.
  SIGHUP reads the files again: for new clients, those who are connected stay.`

export function addTlsOptions(command: Command): Command {
  const mode = new Option('--tls <MODE>', 'encrypted connections').choices(Object.values(TlsMode))
  return command
    .addOption(mode)
    .option('--tls-certificates <DIR>', 'directory of the certificates and keys in PEM files')
    .option('--tls-psk <FILE>', 'pre-shared keys instead, a line "USER:KEY" each')
    .option('--tls-verify-peer', 'refuse clients without a certificate signed by ca-cert.pem')
}

/** TLS of a server, ready to be used. */
export interface OpenTls extends TlsSettings {
  readonly reload: Reload
}

/** What cannot be meant is wrong usage. */
export function checkTlsOptions(options: TlsOptions, command: Command): void {
  const { tlsCertificates, tlsPsk, tlsVerifyPeer = false } = options
  if (tlsPsk !== undefined && tlsCertificates !== undefined) {
    command.error('error: give --tls-certificates or --tls-psk, not both')
  }
  if (tlsPsk !== undefined && tlsVerifyPeer) {
    command.error('error: --tls-verify-peer is for certificates: who has a key is known by it')
  }
}

/** Whoever says what for wants it. */
export function tlsModeOf(options: TlsOptions): TlsMode {
  const { tls, tlsCertificates, tlsPsk, tlsVerifyPeer = false } = options
  const isNamed = tlsCertificates !== undefined || tlsPsk !== undefined || tlsVerifyPeer
  return tls ?? (isNamed ? TlsMode.REQUIRE : TlsMode.OFF)
}

/** @returns null: TLS is off. @throws Error naming the file that is of no use */
export async function openTls(options: TlsOptions, log: Logger): Promise<OpenTls | null> {
  const { tlsCertificates, tlsPsk, tlsVerifyPeer = false } = options
  const mode = tlsModeOf(options)
  if (mode === TlsMode.OFF) return null
  const place = tlsPsk ?? tlsCertificates ?? defaultDirectory()
  const load = async (): Promise<TlsCredentials> => {
    const loaded: Loaded<TlsCredentials> =
      tlsPsk === undefined
        ? await loadServerCertificates(place, tlsVerifyPeer)
        : await loadKeys(tlsPsk)
    for (const warning of loaded.warnings) log.warn(warning)
    return loaded.credentials
  }
  const context = new TlsContext(await load())
  log.info({ tls: mode, files: place, verifyPeer: tlsVerifyPeer }, 'connections can be encrypted')
  const what = `TLS from ${place}`
  return { mode, context, reload: { what, run: async () => context.replace(await load()) } }
}

/** Where nbdkit would look, first for files of our own. @param home null: for root */
export function defaultPlaces(home: string | null): string[] {
  const roots = home === null ? ['/etc/pki'] : [join(home, '.pki'), join(home, '.config/pki')]
  return ['chunknbd', 'nbdkit'].flatMap((name) => roots.map((root) => join(root, name)))
}

function defaultDirectory(): string {
  const places = defaultPlaces(process.getuid?.() === 0 ? null : homedir())
  const found = places.find((each) => existsSync(join(each, 'server-cert.pem')))
  if (found !== undefined) return found
  const message = `TLS needs certificates: no server-cert.pem in ${places.join(', ')}`
  const fix = 'give --tls-certificates DIR or --tls-psk FILE'
  throw Object.assign(new Error(`${message}; ${fix}`), { code: 'TLS_FILE' })
}
