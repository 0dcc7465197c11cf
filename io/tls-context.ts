/**
 * The server's side of TLS: what proves who we are, what is asked of clients, and the handshake
 * itself, which is Node's. Credentials can be replaced at any time; who is connected stays so.
 *
 * Each handshake under way has a `tls.Server` of its own that listens nowhere, so what such a
 * server tells belongs to one connection for certain; afterwards it serves another.
 *
 * Versions before 1.2, renegotiation and resumed sessions do not exist. A resumed session is one
 * whose certificate nobody has looked at since, and connections to a disk live long.
 */
import { constants } from 'node:crypto'
import type { Socket } from 'node:net'
import { createServer, type Server, type TlsOptions, type TLSSocket } from 'node:tls'
import { identityOf, type TlsIdentity } from './tls-identity.ts'

/** What a server shows, and what it asks of its clients. */
export type TlsCredentials = TlsCertificates | TlsKeys

export interface TlsCertificates {
  readonly kind: 'certificates'
  /** PEM: the server's certificate, perhaps with those between it and the authority. */
  readonly certificate: string
  /** PEM, not encrypted. */
  readonly key: string
  /** PEM: who has signed the clients' certificates. Null: then none can be verified. */
  readonly authority: string | null
  /** PEM: lists of those that are not valid any more, one for each authority, or null. */
  readonly revoked: string | null
  /** A client without a valid certificate of the authority is refused. */
  readonly verifyPeer: boolean
}

export interface TlsKeys {
  readonly kind: 'keys'
  /** Pre-shared keys by name. */
  readonly keys: ReadonlyMap<string, Uint8Array>
}

/** How a handshake ended: one of the two is called, once. */
export interface TlsListener {
  /** @param socket what the connection carries from now on; nothing was received yet */
  secured(socket: TLSSocket, identity: TlsIdentity): void
  /** The connection is of no use any more. */
  failed(reason: Error): void
}

/** For servers and clients: all encrypt and authenticate in one, none lets a recording be read. */
export const TLS_VERSIONS = { minVersion: 'TLSv1.2', maxVersion: 'TLSv1.3' } as const
export const CERTIFICATE_CIPHERS = [
  'TLS_AES_128_GCM_SHA256',
  'TLS_AES_256_GCM_SHA384',
  'TLS_CHACHA20_POLY1305_SHA256',
  'ECDHE+AES128+AESGCM',
  'ECDHE+AESGCM',
  'ECDHE+CHACHA20',
  '!aNULL:!PSK',
].join(':')
/** A pre-shared key is bound to SHA-256 by OpenSSL. */
export const KEY_CIPHERS = [
  'TLS_AES_128_GCM_SHA256',
  'TLS_CHACHA20_POLY1305_SHA256',
  'ECDHE-PSK-CHACHA20-POLY1305',
].join(':')

const OPTIONS = {
  ...TLS_VERSIONS,
  honorCipherOrder: true,
  secureOptions: constants.SSL_OP_NO_RENEGOTIATION | constants.SSL_OP_NO_TICKET,
}

export class TlsContext {
  #options: TlsOptions
  /** Made from `#options`, and not in a handshake. */
  #idle: Server[]
  readonly #keyNames = new WeakMap<TLSSocket, string>()

  /** @throws Error if OpenSSL cannot use them */
  constructor(credentials: TlsCredentials) {
    this.#options = this.#optionsFor(credentials)
    this.#idle = [createServer(this.#options)]
  }

  /** For handshakes that begin from now on. @throws Error; then the old ones stay */
  replace(credentials: TlsCredentials): void {
    const options = this.#optionsFor(credentials)
    const server = createServer(options)
    this.#options = options
    this.#idle = [server]
  }

  /** Waits for the client's hello. @param socket connected and paused; nobody else uses it */
  handshake(socket: Socket, listener: TlsListener): void {
    const options = this.#options
    const server = this.#idle.pop() ?? createServer(options)
    const isOver = (): void => {
      server.removeAllListeners('secureConnection').removeAllListeners('tlsClientError')
      if (options === this.#options) this.#idle.push(server)
    }
    server.once('secureConnection', (secured) => {
      isOver()
      listener.secured(secured, identityOf(secured, this.#keyNames.get(secured) ?? null))
    })
    server.once('tlsClientError', (error, refused) => {
      isOver()
      listener.failed(failure(error, refused))
    })
    server.emit('connection', socket)
  }

  #optionsFor(credentials: TlsCredentials): TlsOptions {
    if (credentials.kind === 'keys') {
      const { keys } = credentials
      // The last one asked for and found is the one that is used: OpenSSL asks no further.
      const pskCallback = (socket: TLSSocket, name: string): Uint8Array | null => {
        const key = keys.get(name) ?? null
        if (key !== null) this.#keyNames.set(socket, name)
        return key
      }
      return { ...OPTIONS, ciphers: KEY_CIPHERS, pskCallback }
    }
    const { certificate, key, authority, revoked, verifyPeer } = credentials
    return {
      ...OPTIONS,
      ciphers: CERTIFICATE_CIPHERS,
      cert: certificate,
      key,
      ca: authority ?? [],
      crl: revoked === null ? undefined : splitPem(revoked),
      requestCert: verifyPeer,
      rejectUnauthorized: verifyPeer,
    }
  }
}

/** Node takes only the first of several revocation lists from a text. */
export function splitPem(text: string): string[] {
  return text.match(/-----BEGIN ([A-Z0-9 ]+)-----[^]*?-----END \1-----/g) ?? [text]
}

/** In words for the log. */
function failure(error: Error, socket: TLSSocket): Error {
  // Typed as an error, it is the code of one: CERT_HAS_EXPIRED, for instance.
  const refusal = socket.authorizationError as unknown as string | null
  if (refusal) return new Error(`the client's certificate is refused: ${refusal}`, { cause: error })
  const { reason, code, message } = error as Error & { reason?: string; code?: string }
  if (reason !== undefined) return new Error(reason, { cause: error })
  const text = code === 'ECONNRESET' ? 'the client left in the middle of it' : message
  return new Error(text, { cause: error })
}
