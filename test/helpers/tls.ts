/** TLS for tests: contexts from the files of an `Authority`, and connections that turn into TLS. */
import { once } from 'node:events'
import { existsSync, readFileSync } from 'node:fs'
import type net from 'node:net'
import { join } from 'node:path'
import tls from 'node:tls'
import type { Io, Stream, StreamHandler } from '../../io/io.ts'
import type { TlsCertificates, TlsContext } from '../../io/tls-context.ts'
import type { TlsIdentity } from '../../io/tls-identity.ts'
import type { Upgrade } from './echo.ts'
import { RawClient } from './raw-client.ts'

/** What the server loads from a directory. */
export function certificatesIn(folder: string, verifyPeer = false): TlsCertificates {
  const read = (name: string): string => readFileSync(join(folder, name), 'utf8')
  return {
    kind: 'certificates',
    certificate: read('server-cert.pem'),
    key: read('server-key.pem'),
    authority: read('ca-cert.pem'),
    revoked: existsSync(join(folder, 'ca-crl.pem')) ? read('ca-crl.pem') : null,
    verifyPeer,
  }
}

/** A client's options: it trusts the authority of a directory, and shows what is in it. */
export function clientOptions(folder: string): tls.ConnectionOptions {
  const read = (name: string): Buffer | undefined => {
    const path = join(folder, name)
    return existsSync(path) ? readFileSync(path) : undefined
  }
  return {
    ca: read('ca-cert.pem'),
    cert: read('client-cert.pem'),
    key: read('client-key.pem'),
    servername: 'localhost',
  }
}

/** The wish for TLS in the protocol of these tests. */
const WISH = Buffer.from('S')

/** Listens for clients that say `S` in plain, and TLS from then on. */
export function listenSecurely(
  listen: Io['listen'],
  context: TlsContext,
  secured: (identity: TlsIdentity) => void = () => {},
): Io['listen'] {
  return (address, accept) =>
    listen(address, (stream) => stream.start(new Doorkeeper(stream, context, secured, accept)))
}

/** The client's part of it. */
export function upgradeTo(options: tls.ConnectionOptions): Upgrade {
  return async (socket) => {
    socket.write(WISH)
    return secureClient(socket, options)
  }
}

/** TLS on a connection, when the handshake is done on this side. */
export async function secureClient(
  socket: net.Socket,
  options: tls.ConnectionOptions,
): Promise<tls.TLSSocket> {
  const secured = tls.connect({ ...options, socket })
  secured.setNoDelay(true)
  await once(secured, 'secureConnect')
  return secured
}

/** STARTTLS on a connection that has been greeted. @returns the client within TLS */
export async function startTls(
  plain: RawClient,
  options: tls.ConnectionOptions,
): Promise<RawClient> {
  const [{ type }] = await plain.option(5)
  if (type !== 1) throw new Error(`STARTTLS is answered 0x${type.toString(16)}`)
  plain.socket.removeAllListeners('data').setTimeout(0)
  return new RawClient(await secureClient(plain.socket, options))
}

class Doorkeeper implements StreamHandler {
  readonly #stream: Stream
  readonly #context: TlsContext
  readonly #secured: (identity: TlsIdentity) => void
  readonly #accept: (stream: Stream) => void

  constructor(
    stream: Stream,
    context: TlsContext,
    secured: (identity: TlsIdentity) => void,
    accept: (stream: Stream) => void,
  ) {
    this.#stream = stream
    this.#context = context
    this.#secured = secured
    this.#accept = accept
  }

  receiveBuffer(): Uint8Array {
    return new Uint8Array(WISH.length)
  }

  received(): void {
    this.#accept(this.#stream.secure(this.#context, this.#secured))
  }

  sent(): void {}
  ended(): void {}
  closed(): void {}
}
