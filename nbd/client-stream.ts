/**
 * A connection to an NBD server as promises: exact reads, each with a deadline. Knows nothing of
 * the protocol. For the control path only.
 *
 * Invariant: bytes are pulled from the socket only while a read waits for them.
 */
import net from 'node:net'
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

export class ClientError extends Error {
  readonly code: ClientErrorCode

  constructor(code: ClientErrorCode, uri: NbdUri, problem: string) {
    super(`${formatUri(uri.address, uri.exportName)}: ${problem}`)
    this.code = code
  }
}

export class ClientStream {
  readonly #uri: NbdUri
  readonly #socket: net.Socket
  readonly #waitMs: number
  readonly #chunks: AsyncIterator<Buffer, undefined>
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
    this.#chunks = socket[Symbol.asyncIterator]()
    // The next read reports it; without a listener it would end the process.
    socket.on('error', () => undefined)
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
        if (value === undefined) throw this.#closed('it closed the connection')
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

  #closed(problem: string): ClientError {
    return new ClientError('NBD_CLOSED', this.#uri, `the server left the handshake: ${problem}`)
  }
}

/** The code of a system error says more than its message, which repeats the address. */
function describe(error: unknown): string {
  if (!(error instanceof Error)) return String(error)
  return 'code' in error ? String(error.code) : error.message
}
