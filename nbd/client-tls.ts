/** What our own client demands of a server's TLS, and shows for itself: as libnbd does it. */
import { existsSync } from 'node:fs'
import { isIP } from 'node:net'
import { homedir, userInfo } from 'node:os'
import { join } from 'node:path'
import { checkServerIdentity, type ConnectionOptions, type PeerCertificate } from 'node:tls'
import { CERTIFICATE_CIPHERS, KEY_CIPHERS, TLS_VERSIONS } from '../io/tls-context.ts'
import { loadClientCertificates, loadKeys, TlsFileError } from '../io/tls-files.ts'
import type { UriTls } from './uri-tls.ts'
import type { Endpoint } from './uri.ts'

/** @throws TlsFileError, or what the system says of a file */
export function clientTls(address: Endpoint, tls: UriTls): Promise<ConnectionOptions> {
  return tls.keyFile === null ? withCertificates(address, tls) : withKey(tls, tls.keyFile)
}

async function withKey({ user }: UriTls, file: string): Promise<ConnectionOptions> {
  const name = user ?? userInfo().username
  const { credentials } = await loadKeys(file)
  const psk = credentials.keys.get(name)
  if (psk === undefined) {
    throw new TlsFileError(`${file}: no key for "${name}"; name the user as in nbds://USER@HOST`)
  }
  return {
    ...TLS_VERSIONS,
    ciphers: KEY_CIPHERS,
    pskCallback: () => ({ psk, identity: name }),
    // A server without the key could show a certificate instead: nobody's is good enough.
    ca: [],
    rejectUnauthorized: true,
    checkServerIdentity: (_, certificate) => refuseCertificate(certificate),
  }
}

function refuseCertificate(certificate: PeerCertificate): Error | undefined {
  if (Object.keys(certificate ?? {}).length === 0) return undefined
  return new Error('the server shows a certificate instead of using the key')
}

async function withCertificates(address: Endpoint, tls: UriTls): Promise<ConnectionOptions> {
  const directory = tls.certificates ?? defaultDirectory()
  const { authority, certificate, key } =
    directory === null
      ? { authority: null, certificate: null, key: null }
      : await loadClientCertificates(directory)
  const name = tls.hostName ?? (address.kind === 'tcp' ? address.host : null)
  return {
    ...TLS_VERSIONS,
    ciphers: CERTIFICATE_CIPHERS,
    ...(authority !== null && { ca: authority }),
    ...(certificate !== null && key !== null && { cert: certificate, key }),
    ...(name !== null && isIP(name) === 0 && { servername: name }),
    rejectUnauthorized: tls.verifyPeer,
    // A unix socket has no name that could be in the certificate.
    checkServerIdentity: (_, shown) =>
      name === null ? undefined : checkServerIdentity(name, shown),
  }
}

/** @returns null: there is none, whoever the system trusts is trusted */
function defaultDirectory(): string | null {
  const home = homedir()
  const places =
    process.getuid?.() === 0
      ? ['/etc/pki/libnbd']
      : [join(home, '.pki/libnbd'), join(home, '.config/pki/libnbd')]
  return places.find((each) => existsSync(each)) ?? null
}
