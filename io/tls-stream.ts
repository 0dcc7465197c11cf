/**
 * TLS over a socket of Node, as the server.
 *
 *   started ─▶ handshake ─▶ secured ─▶ (finished, ended) ─▶ closed
 *                  └── failed ─────────────────────────────────▲
 *
 * What arrives is copied into the handler's memory. A large send is encrypted piece by piece: it
 * neither blocks the loop nor is it in memory a second time.
 */
import type { Socket } from 'node:net'
import type { TLSSocket } from 'node:tls'
import type { Stream, StreamHandler } from './io.ts'
import { SlicedSend } from './sliced-send.ts'
import type { TlsContext } from './tls-context.ts'
import type { TlsIdentity } from './tls-identity.ts'
import { receiveInto } from './user-buffer.ts'

/**
 * Encrypted in one go, in a tenth of a millisecond. Node copies each slice; those from 128 KiB on
 * would cost new pages every time (see `heap.ts`).
 */
const SLICE_BYTES = 64 * 1024

/** All streams receive here, and copy before anybody else does: a record has at most 16 KiB. */
const RECEIVED = new Uint8Array(64 * 1024)

export class TlsStream implements Stream {
  readonly remote: string
  readonly #context: TlsContext
  readonly #secured: (identity: TlsIdentity) => void
  /** The connection, in which nobody but TLS reads and writes. */
  readonly #carrier: Socket
  /** Null until the handshake is done. */
  #socket: TLSSocket | null = null
  #handler: StreamHandler | null = null
  #error: Error | null = null
  #isPaused = false
  #isFinished = false
  #isDestroyed = false
  /** What 'data' brought and a paused handler did not want. */
  #held: Uint8Array | null = null
  /** The peer's end came before the handler had taken what is held. */
  #endIsHeld = false
  readonly #sending = new SlicedSend()
  readonly #onHeld = (): void => {
    const held = this.#held
    this.#held = null
    if (held !== null && this.#handler !== null) this.#received(this.#handler, held)
    if (this.#held !== null) return
    if (!this.#isPaused) this.#socket?.resume()
    if (this.#endIsHeld && this.#socket?.destroyed === false) this.#ended()
  }
  readonly #onSent = (error?: Error | null): void => {
    if (error) return
    if (this.#sending.hasMore) return this.#sendSlice()
    this.#sending.end()
    if (this.#isFinished) this.#socket?.end()
    this.#handler?.sent()
  }
  readonly #give = (bytes: Uint8Array, isLast: boolean): void => {
    this.#socket?.write(bytes, isLast ? this.#onSent : undefined)
  }

  /**
   * @param carrier connected, paused, without listeners that mind what comes
   * @param secured see `Stream.secure`
   */
  constructor(
    carrier: Socket,
    remote: string,
    context: TlsContext,
    secured: (identity: TlsIdentity) => void,
  ) {
    this.#carrier = carrier
    this.remote = remote
    this.#context = context
    this.#secured = secured
    carrier.on('error', (error) => (this.#error ??= error))
  }

  start(handler: StreamHandler): void {
    this.#handler = handler
    process.nextTick(() => this.#begin(handler))
  }

  send(pieces: readonly Uint8Array[]): boolean {
    this.#sending.begin(pieces)
    this.#sendSlice()
    return false
  }

  pause(): void {
    this.#isPaused = true
    this.#socket?.pause()
  }

  resume(): void {
    this.#isPaused = false
    if (this.#held === null) this.#socket?.resume()
    else process.nextTick(this.#onHeld)
  }

  finish(): void {
    this.#isFinished = true
    if (!this.#sending.isUnderWay) this.#socket?.end()
  }

  destroy(): void {
    this.#isDestroyed = true
    if (this.#socket === null) this.#carrier.destroy()
    else this.#socket.destroy()
  }

  secure(): Stream {
    throw new Error('this stream is secure')
  }

  #begin(handler: StreamHandler): void {
    const carrier = this.#carrier
    if (carrier.destroyed) return handler.closed(this.#error)
    // Who says nothing more in the middle of the handshake has left.
    carrier.allowHalfOpen = false
    this.#context.handshake(carrier, {
      secured: (socket, identity) => this.#begun(handler, socket, identity),
      failed: (reason) => {
        if (!this.#isDestroyed) this.#error ??= reason
        if (carrier.closed) return handler.closed(this.#error)
        carrier.once('close', () => handler.closed(this.#error))
        carrier.destroy()
      },
    })
  }

  #begun(handler: StreamHandler, socket: TLSSocket, identity: TlsIdentity): void {
    this.#socket = socket
    socket.allowHalfOpen = true
    socket.on('error', (error) => (this.#error ??= error))
    socket.on('end', () => this.#ended())
    socket.on('close', () => handler.closed(this.#error))
    this.#secured(identity)
    this.#receiveFrom(socket, handler)
    if (this.#isPaused) socket.pause()
    // What was asked for before.
    if (this.#sending.isUnderWay) this.#sendSlice()
    else if (this.#isFinished) socket.end()
  }

  #receiveFrom(socket: TLSSocket, handler: StreamHandler): void {
    const isLent = receiveInto(socket, RECEIVED, (count) => {
      this.#received(handler, RECEIVED.subarray(0, count))
      if (this.#held !== null) this.#held = this.#held.slice()
    })
    if (!isLent) return void socket.on('data', (bytes) => this.#received(handler, bytes))
    if (socket.readableLength > 0) this.#received(handler, socket.read() as Uint8Array)
    socket.resume()
  }

  #received(handler: StreamHandler, bytes: Uint8Array): void {
    let left = this.#held === null ? bytes : Buffer.concat([this.#held, bytes])
    while (left.length > 0 && !this.#isPaused && this.#socket?.destroyed === false) {
      const target = handler.receiveBuffer()
      const count = Math.min(target.length, left.length)
      target.set(left.subarray(0, count))
      left = left.subarray(count)
      handler.received(count)
    }
    this.#held = left.length > 0 ? left : null
  }

  #ended(): void {
    this.#endIsHeld = this.#held !== null
    if (!this.#endIsHeld) this.#handler?.ended()
  }

  #sendSlice(): void {
    const socket = this.#socket
    if (socket === null) return
    socket.cork()
    this.#sending.next(SLICE_BYTES, SLICE_BYTES, this.#give)
    socket.uncork()
  }
}
