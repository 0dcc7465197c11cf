/**
 * A connection on the ring. Receives straight into the handler's memory. A send is one system call;
 * what the socket does not take at once goes through the ring.
 *
 *   open ──▶ ended (peer) ──┐
 *     └────▶ finished (us) ─┴─▶ destroyed ──▶ nothing under way ──▶ closed
 *
 * The descriptor is closed, and the handler told, only when the kernel holds none of our memory.
 */
import assert from 'node:assert/strict'
import { Socket } from 'node:net'
import { getSystemErrorName } from 'node:util'
import type { Credentials, Stream, StreamHandler } from './io.ts'
import type { Ring } from './uring-ring.ts'
import type { SocketSend } from './socket-send.ts'
import type { RingCalls } from './ring-calls.ts'
import type { TlsContext } from './tls-context.ts'
import type { TlsIdentity } from './tls-identity.ts'
import { TlsStream } from './tls-stream.ts'
import { Receive, Send } from './uring-transfers.ts'

const SHUT_WR = 1
const SHUT_RDWR = 2
const EINTR = 4
const EAGAIN = 11

/** What every connection on a ring uses. */
export interface RingSockets {
  readonly ring: Ring
  readonly calls: RingCalls
  readonly sender: SocketSend
}

export class UringStream implements Stream {
  readonly remote: string
  readonly #ring: Ring
  readonly #calls: RingCalls
  readonly #fd: number
  readonly #sender: SocketSend
  readonly #receive: Receive
  readonly #send: Send
  #handler: StreamHandler | null = null
  #error: Error | null = null
  #isPaused = false
  #hasEnded = false
  #mustFinish = false
  #hasFinished = false
  #isDestroyed = false
  #isShutDown = false
  #isClosed = false
  #isScheduled = false
  /** Bytes that arrived after `pause`, in the memory lent for them. */
  #held = 0
  readonly #onSoon = (): void => {
    this.#isScheduled = false
    this.#advance()
  }

  /** @param fd a connected socket in blocking mode, given away */
  constructor({ ring, calls, sender }: RingSockets, fd: number, remote: string) {
    this.#sender = sender
    this.remote = remote
    this.#ring = ring
    this.#calls = calls
    this.#fd = fd
    this.#receive = new Receive(this, fd, calls)
    this.#send = new Send(this, fd, calls)
  }

  credentials(): Credentials | null {
    return this.#sender.credentials(this.#fd)
  }

  start(handler: StreamHandler): void {
    this.#handler = handler
    this.#schedule()
  }

  send(pieces: readonly Uint8Array[]): boolean {
    if (this.#isDestroyed) return false
    this.#send.begin(pieces)
    // An error comes again when the ring sends, and is told there.
    return this.#sendRest(this.#sender.send(this.#fd, pieces))
  }

  sendFile(pieces: readonly Uint8Array[], fd: number, position: number): boolean {
    if (this.#isDestroyed) return false
    this.#send.begin(pieces)
    const count = this.#sender.sendFile(this.#fd, pieces, fd, position, true)
    if (count >= 0) return this.#sendRest(count)
    this.#send.end()
    this.#fail(count, 'sendfile')
    this.#schedule()
    return false
  }

  /** @param count bytes of what was begun that have left */
  #sendRest(count: number): boolean {
    if (count > 0) this.#send.advance(count)
    if (!this.#send.isDone) {
      this.#startSend()
      return false
    }
    this.#send.end()
    return true
  }

  pause(): void {
    this.#isPaused = true
  }

  resume(): void {
    this.#isPaused = false
    if (!this.#receive.isUnderWay) this.#schedule()
  }

  finish(): void {
    this.#mustFinish = true
    this.#schedule()
  }

  destroy(): void {
    this.#isDestroyed = true
    this.#schedule()
  }

  /** From here on the connection is on Node's loop: TLS of Node wants a socket of Node. */
  secure(context: TlsContext, secured: (identity: TlsIdentity) => void): Stream {
    assert(!this.#receive.isUnderWay && !this.#send.isUnderWay && this.#held === 0)
    // Of this stream nothing is left, like after `closed`.
    this.#isClosed = true
    this.#handler = null
    const socket = new Socket({ fd: this.#fd, allowHalfOpen: true })
    return new TlsStream(socket.pause(), this.remote, context, secured)
  }

  /** For `Receive`. */
  received(result: number): void {
    if (this.#isDestroyed) return this.#advance()
    if (result > 0) {
      if (this.#isPaused) this.#held = result
      else this.#handler?.received(result)
    } else if (result === 0) {
      this.#hasEnded = true
      this.#handler?.ended()
    } else if (result !== -EINTR && result !== -EAGAIN) {
      this.#fail(result, 'recv')
    }
    this.#advance()
  }

  /** For `Send`. */
  sent(result: number): void {
    const send = this.#send
    if (this.#isDestroyed) return this.#advance()
    if (result < 0 && result !== -EINTR && result !== -EAGAIN) {
      this.#fail(result, 'send')
      return this.#advance()
    }
    if (result > 0) send.advance(result)
    if (!send.isDone) return this.#startSend()
    send.end()
    this.#handler?.sent()
    if (this.#mustFinish || this.#isDestroyed) this.#advance()
  }

  #startSend(): void {
    this.#send.isUnderWay = true
    this.#ring.start(this.#send)
  }

  #fail(result: number, call: string): void {
    const code = getSystemErrorName(result)
    const fields = { code, errno: result, syscall: call }
    this.#error = Object.assign(new Error(`${call} ${code}`), fields)
    this.#isDestroyed = true
  }

  #schedule(): void {
    if (this.#isScheduled || this.#isClosed) return
    this.#isScheduled = true
    this.#ring.soon(this.#onSoon)
  }

  /** Does what the state asks for. Never called from inside a call to the stream. */
  #advance(): void {
    const handler = this.#handler
    if (this.#isClosed) return
    if (this.#mustFinish && !this.#hasFinished && this.#send.isDone) {
      this.#hasFinished = true
      this.#calls.shutdown(this.#fd, SHUT_WR)
    }
    if (this.#hasEnded && this.#hasFinished) this.#isDestroyed = true
    if (this.#isDestroyed) return this.#close()
    if (handler === null || this.#isPaused || this.#hasEnded || this.#receive.isUnderWay) return
    if (this.#held > 0) {
      const bytes = this.#held
      this.#held = 0
      handler.received(bytes)
      // What the handler did in the meantime counts.
      return this.#advance()
    }
    this.#receive.begin(handler.receiveBuffer())
    this.#ring.start(this.#receive)
  }

  #close(): void {
    if (this.#isClosed) return
    if (this.#receive.isUnderWay || this.#send.isUnderWay) {
      // Makes the kernel give up both; their completions come back here.
      if (!this.#isShutDown) this.#calls.shutdown(this.#fd, SHUT_RDWR)
      this.#isShutDown = true
      return
    }
    this.#isClosed = true
    this.#calls.close(this.#fd)
    this.#send.end()
    this.#handler?.closed(this.#error)
  }
}
