/**
 * A connection to an NBD server as promises: exact reads, each with a deadline. Knows nothing of
 * the protocol. For the control path only.
 *
 * Invariant: bytes are pulled from the socket only while a read waits for them.
 */
import net from 'node:net'
import tls from 'node:tls'
import { formatUri } from './uri.ts'
import type { NbdUri } from './uri.ts'

type ClientErrorCode =
  | 'NBD_UNREACHABLE'
  | 'NBD_TIMEOUT'
  /** The server closed or reset the connection. */
  | 'NBD_CLOSED'
  /** What came is not NBD, or not the kind we speak. */
  | 'NBD_PROTOCOL'
  /** The server answered with an error. */
  | 'NBD_REFUSED'
  /** No TLS that satisfies both sides. */
  | 'NBD_TLS'

export class ClientError extends Error {
  readonly code: ClientErrorCode

  constructor(code: ClientErrorCode, uri: NbdUri, problem: string) {
    super(`${formatUri(uri.address, uri.exportName, uri.tls)}: ${problem}`)
    this.code = code
  }
}

export class ClientStream {
  readonly #uri: NbdUri
  #socket: net.Socket
  readonly #waitMs: number
  #chunks: AsyncIterator<Buffer, undefined>
  #buffered: Buffer = Buffer.alloc(0)

  /** @param waitMs for the connection, and then for each read */
  static async connect(uri: NbdUri, waitMs: number): Promise<ClientStream> {
    const socket = net.connect({ ...uri.address })
    const stream = new ClientStream(socket, uri, waitMs)
    const timer = stream.#deadline('no connection')
    try {
      await new Promise((resolve, reject) => socket.once('connect', resolve).once('error', reject))
      return stream
    } catch (error) {
      if (error instanceof ClientError) throw error
      const problem = `cannot connect (${describe(error)}); is the server running?`
      throw new ClientError('NBD_UNREACHABLE', uri, problem)
    } finally {
      clearTimeout(timer)
    }
  }

  private constructor(socket: net.Socket, uri: NbdUri, waitMs: number) {
    this.#socket = socket
    this.#uri = uri
    this.#waitMs = waitMs
    this.#chunks = chunksOf(socket)
  }

  /**
   * Speaks TLS from here on.
   * @throws ClientError also if the server has said more in plain than was read: somebody else may
   *   have said it
   */
  async secure(options: tls.ConnectionOptions): Promise<void> {
    const carrier = this.#socket
    if (this.#buffered.length > 0) throw this.#insecure('plain bytes behind the answer to STARTTLS')
    await this.#chunks.return?.()
    const secured = tls.connect({ ...options, socket: carrier })
    this.#socket = secured
    const timer = this.#deadline('no TLS')
    try {
      await new Promise<void>((resolve, reject) => {
        secured.once('secureConnect', resolve).once('error', reject)
        secured.once('close', () => reject(new Error('it closed the connection')))
      })
    } catch (error) {
      secured.destroy()
      throw error instanceof ClientError ? error : this.#insecure(describeTls(error))
    } finally {
      clearTimeout(timer)
    }
    this.#chunks = chunksOf(secured)
  }

  write(bytes: Uint8Array): void {
    this.#socket.write(bytes)
  }

  /** Exactly `count` bytes. One read at a time; after a failure the stream is of no use. */
  async read(count: number): Promise<Buffer> {
    const timer = this.#deadline('no answer')
    try {
      while (this.#buffered.length < count) {
        const { value } = await this.#chunks.next()
        if (value === undefined) throw this.#closed(this.#endReason())
        this.#buffered = Buffer.concat([this.#buffered, value])
      }
    } catch (error) {
      throw error instanceof ClientError ? error : this.#closed(describe(error))
    } finally {
      clearTimeout(timer)
    }
    const bytes = this.#buffered.subarray(0, count)
    this.#buffered = this.#buffered.subarray(count)
    return bytes
  }

  destroy(): void {
    this.#socket.destroy()
  }

  #deadline(problem: string): NodeJS.Timeout {
    const text = `${problem} within ${this.#waitMs} ms`
    return setTimeout(
      () => this.#socket.destroy(new ClientError('NBD_TIMEOUT', this.#uri, text)),
      this.#waitMs,
    )
  }

  /** In TLS 1.3 a server refuses a certificate when the client has taken all for done. */
  #endReason(): string {
    const isTls = this.#socket instanceof tls.TLSSocket
    const hint = isTls ? ' (does it accept our certificate? its log says)' : ''
    return `it closed the connection${hint}`
  }

  #insecure(problem: string): ClientError {
    return new ClientError('NBD_TLS', this.#uri, `no TLS with this server: ${problem}`)
  }

  #closed(problem: string): ClientError {
    return new ClientError('NBD_CLOSED', this.#uri, `the server left the handshake: ${problem}`)
  }
}

/** Ending the iteration leaves the socket open. */
function chunksOf(socket: net.Socket): AsyncIterator<Buffer, undefined> {
  // The next read reports it; without a listener it would end the process.
  socket.on('error', () => undefined)
  return socket.iterator({ destroyOnReturn: false }) as AsyncIterator<Buffer, undefined>
}

/** OpenSSL's own words where there are any; what Node says of names needs the message. */
function describeTls(error: unknown): string {
  const { reason, message, code = '' } = error as NodeJS.ErrnoException & { reason?: string }
  if (UNKNOWN_AUTHORITY.has(code)) return `${message}; ${AUTHORITY_HINT}`
  return code === 'ERR_TLS_CERT_ALTNAME_INVALID' ? message : (reason ?? message)
}

const UNKNOWN_AUTHORITY: ReadonlySet<string> = new Set([
  'SELF_SIGNED_CERT_IN_CHAIN',
  'DEPTH_ZERO_SELF_SIGNED_CERT',
  'UNABLE_TO_GET_ISSUER_CERT_LOCALLY',
  'UNABLE_TO_VERIFY_LEAF_SIGNATURE',
])
const AUTHORITY_HINT = 'whom to trust is in ca-cert.pem of the directory tls-certificates'

/** The code of a system error says more than its message, which repeats the address. */
function describe(error: unknown): string {
  if (!(error instanceof Error)) return String(error)
  return 'code' in error ? String(error.code) : error.message
}
