/** Who is at the other end of a TLS connection, as far as TLS has proven it. */
import type { TLSSocket } from 'node:tls'

export interface TlsIdentity {
  /** `TLSv1.2` or `TLSv1.3`. */
  readonly protocol: string
  /** OpenSSL's name of it. */
  readonly cipher: string
  /** Name of the pre-shared key that the client has, or null: there is none. */
  readonly keyName: string | null
  /** The client's certificate, verified, or null: none was asked for. */
  readonly certificate: PeerCertificate | null
}

export interface PeerCertificate {
  /** Distinguished name as RFC 4514 has it, the most special part first: `CN=alice,O=Example`. */
  readonly subject: string
  /** The common name, escaped as in `subject`; null if there is none, or more than one. */
  readonly commonName: string | null
  /** Alternative names with their kinds: `DNS:a.example`, `IP Address:10.0.0.1`, `email:a@b`. */
  readonly names: readonly string[]
  /** SHA-256, hexadecimal in lower case. */
  readonly fingerprint: string
}

/** @param keyName of the key the handshake was done with, if it was one */
export function identityOf(socket: TLSSocket, keyName: string | null): TlsIdentity {
  return {
    protocol: socket.getProtocol() ?? '',
    cipher: socket.getCipher().standardName,
    keyName,
    certificate: socket.authorized && keyName === null ? certificateOf(socket) : null,
  }
}

/** In one word: what the owner of the connection is called. */
export function nameOf({ keyName, certificate }: TlsIdentity): string | null {
  return keyName ?? certificate?.subject ?? null
}

const COMMON_NAME = 'CN='

function certificateOf(socket: TLSSocket): PeerCertificate | null {
  const certificate = socket.getPeerX509Certificate()
  if (certificate === undefined) return null
  const { subject, subjectAltName, fingerprint256 } = certificate
  const parts = (subject ?? '').split('\n')
  const common = parts.filter((each) => each.startsWith(COMMON_NAME))
  return {
    subject: parts.toReversed().join(','),
    commonName: common.length === 1 ? common[0].slice(COMMON_NAME.length) : null,
    names: splitNames(subjectAltName ?? ''),
    fingerprint: fingerprint256.replaceAll(':', '').toLowerCase(),
  }
}

/**
 * @param text names separated by comma and space; one that could be misunderstood is a JSON string
 *   behind its kind (since CVE-2021-44532)
 */
export function splitNames(text: string): string[] {
  const found = text.match(/(?:[^,"]|"(?:[^"\\]|\\.)*")+/g) ?? []
  return found.map((each) => {
    const colon = each.indexOf(':') + 1
    const name = each.slice(colon)
    return (
      each.slice(0, colon).trim() + (name.startsWith('"') ? (JSON.parse(name) as string) : name)
    )
  })
}
