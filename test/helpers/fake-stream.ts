/**
 * A `Stream` in memory whose timing the test decides: when bytes arrive and in which pieces, when a
 * send has left, when the peer closes. As strict with its handler as an engine may be: memory is
 * lent the moment it may be lent, and what was given to `send` must not change until `sent`.
 */
import assert from 'node:assert/strict'
import type { Io, ListenAddress, Stream, StreamHandler } from '../../io/io.ts'
import type { TlsContext } from '../../io/tls-context.ts'
import type { TlsIdentity } from '../../io/tls-identity.ts'

export class FakeStream implements Stream {
  readonly remote: string
  /** Sends stay on their way until `release`. */
  isHolding = false
  /** Sends have left when the call returns. */
  isImmediate = false
  isPaused = false
  isDestroyed = false
  /** Our side has said that it sends nothing more. */
  isFinished = false
  isClosed = false
  sendCount = 0
  /** What speaks TLS on this connection; nothing arrives or leaves here any more. */
  successor: FakeStream | null = null
  /** Most bytes of one receive. */
  pieceBytes = Infinity
  #handler: StreamHandler | null = null
  #incoming: Uint8Array[] = []
  #hasEnded = false
  #lent: Uint8Array | null = null
  #sending: readonly Uint8Array[] = []
  #snapshot = Buffer.alloc(0)
  readonly #output: Buffer[] = []
  #isCalling = false
  /** Set until the handshake of TLS is done. */
  #onSecured: ((identity: TlsIdentity) => void) | null = null

  constructor(remote = 'test') {
    this.remote = remote
  }

  start(handler: StreamHandler): void {
    this.#handler = handler
  }

  send(pieces: readonly Uint8Array[]): boolean {
    assert.equal(this.#sending.length, 0, 'one send at a time')
    assert(pieces.length > 0 && pieces.every((piece) => piece.length > 0), 'an empty send')
    assert(!this.isClosed && !this.isFinished, 'a send after the end')
    this.sendCount++
    this.#sending = this.isImmediate ? [] : [...pieces]
    this.#snapshot = Buffer.concat(pieces)
    if (!this.isImmediate) return false
    this.#output.push(this.#snapshot)
    this.#snapshot = Buffer.alloc(0)
    return true
  }

  pause(): void {
    this.isPaused = true
  }

  resume(): void {
    this.isPaused = false
  }

  finish(): void {
    this.isFinished = true
  }

  destroy(): void {
    this.isDestroyed = true
  }

  secure(_context: TlsContext, secured: (identity: TlsIdentity) => void): Stream {
    assert(this.#sending.length === 0, 'TLS behind something plain that has not left')
    assert(this.#isCalling || this.isPaused, 'TLS while plain bytes may arrive')
    this.#handler = null
    this.successor = new FakeStream(this.remote)
    this.successor.#onSecured = secured
    this.successor.#incoming = this.#incoming
    return this.successor
  }

  /** The handshake of TLS succeeds, or fails over plain bytes. */
  shakeHands(identity: TlsIdentity): void {
    const secured = this.#onSecured
    assert(secured !== null && this.#handler !== null)
    this.#onSecured = null
    if (this.#incoming.length > 0) this.break(new Error('wrong version number'))
    else this.#call(() => secured(identity))
  }

  /** Bytes that are on their way out. */
  get sendingBytes(): number {
    return this.#snapshot.length
  }

  /** What the server has sent since the last call. */
  take(): Buffer {
    return Buffer.concat(this.#output.splice(0))
  }

  /** The peer sends; the bytes arrive in `step`. */
  push(bytes: Uint8Array): void {
    if (bytes.length > 0) this.#incoming.push(bytes)
  }

  /** The peer will send nothing more. */
  end(): void {
    this.#hasEnded = true
  }

  /** The connection breaks: what did not arrive never will. */
  break(reason: Error | null = new Error('reset by the test')): void {
    if (this.isClosed) return
    this.isClosed = true
    this.#sending = []
    this.#snapshot = Buffer.alloc(0)
    this.#call((handler) => handler.closed(reason))
  }

  /** One event, as an engine would have it. @returns false: there is none */
  step(): boolean {
    if (this.#handler === null || this.isClosed) return false
    if (this.isDestroyed) {
      this.break(null)
      return true
    }
    if (this.#sending.length > 0 && !this.isHolding) {
      this.#sent()
      return true
    }
    if (this.isPaused || this.#onSecured !== null) return false
    if (this.#incoming.length > 0) {
      this.#receive(this.#incoming)
      return true
    }
    if (!this.#hasEnded) return false
    this.#hasEnded = false
    this.#call((handler) => handler.ended())
    return true
  }

  #sent(): void {
    assert.equal(Buffer.concat(this.#sending).compare(this.#snapshot), 0, 'lent memory changed')
    this.#output.push(this.#snapshot)
    this.#sending = []
    this.#snapshot = Buffer.alloc(0)
    this.#call((handler) => handler.sent())
  }

  #receive(incoming: Uint8Array[]): void {
    this.#lent ??= this.#handler?.receiveBuffer() ?? null
    assert(this.#lent !== null && this.#lent.length > 0, 'an empty receive buffer')
    let count = 0
    const room = Math.min(this.#lent.length, this.pieceBytes)
    while (count < room && incoming.length > 0) {
      const piece = incoming[0].subarray(0, room - count)
      this.#lent.set(piece, count)
      count += piece.length
      if (piece.length === incoming[0].length) incoming.shift()
      else incoming[0] = incoming[0].subarray(piece.length)
    }
    this.#call((handler) => {
      handler.received(count)
      if (!this.isClosed) this.#lent = handler.receiveBuffer()
    })
  }

  #call(event: (handler: StreamHandler) => void): void {
    assert(this.#handler !== null && !this.#isCalling)
    this.#isCalling = true
    event(this.#handler)
    this.#isCalling = false
  }
}

/** An engine with one listener, to which a test connects. */
export class FakeIo {
  #accept: ((stream: Stream) => void) | null = null

  readonly io: Pick<Io, 'listen'> = {
    listen: async (address: ListenAddress, accept) => {
      this.#accept = accept
      return { address, close: async () => void (this.#accept = null) }
    },
  }

  connect(remote?: string): FakeStream {
    assert(this.#accept !== null, 'nobody listens')
    const stream = new FakeStream(remote)
    this.#accept(stream)
    return stream
  }
}
