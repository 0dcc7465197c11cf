/** Who is at the other end of a connection: what is known of it, and what it has proven. */
import { nameOf, type TlsIdentity } from '../io/tls-identity.ts'

export interface Peer {
  /** For people: `host:port`, `[host]:port`, or `unix:` and the path of the socket. */
  readonly address: string
  /** Of the process behind a unix socket, as the kernel says; absent where it does not. */
  readonly uid?: number
  readonly gid?: number
  /** Null: not encrypted. */
  readonly tls: PeerTls | null
}

export interface PeerTls {
  readonly kind: 'x509' | 'psk'
  /**
   * What the client has proven to be; empty if nobody asked.
   *
   * - `psk`: the name of its key, just as the file has it.
   * - `x509`: of its verified certificate the whole subject (`CN=alice,O=Example`, RFC 4514), its
   *   common name if it has one (`CN=alice`), its alternative names (`DNS:a.example`,
   *   `IP Address:10.0.0.1`, `email:a@b`, `URI:...`), and `SHA256:` with its fingerprint in lower
   *   case hexadecimal. Every one begins with its kind, so none can pass for one of another kind.
   */
  readonly names: readonly string[]
  /** The one for the log; null: there is none. */
  readonly name: string | null
}

/** Before TLS. */
export const UNKNOWN_PEER: Peer = { address: '', tls: null }

/** What a handshake of TLS has proven. */
export function peerTls(identity: TlsIdentity): PeerTls {
  const { keyName, certificate } = identity
  const name = nameOf(identity)
  if (keyName !== null) return { kind: 'psk', names: [keyName], name }
  if (certificate === null) return { kind: 'x509', names: [], name }
  const { subject, commonName, names, fingerprint } = certificate
  const common = commonName === null ? [] : [`CN=${commonName}`]
  const all = [subject, ...common, ...names, `SHA256:${fingerprint}`]
  return { kind: 'x509', names: [...new Set(all.filter((each) => each !== ''))], name }
}
