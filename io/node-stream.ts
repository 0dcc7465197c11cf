/**
 * A connection over `node:net`. Received bytes go straight into the handler's memory: the handle
 * of the accepted socket is put into a second socket with `onread`. That uses Node's undocumented
 * `_handle`, here and in `user-buffer.ts` only; where it is missing, bytes are copied from 'data'
 * events.
 *
 * A send is one gathered system call; what the socket does not take at once Node sends later. A
 * socket error is no exception: the handler hears `closed`.
 */
import { Socket } from 'node:net'
import { getSystemErrorName } from 'node:util'
import type { OnReadOpts, SocketConstructorOpts } from 'node:net'
import type { Credentials, Stream, StreamHandler } from './io.ts'
import type { SocketSend } from './socket-send.ts'
import type { TlsContext } from './tls-context.ts'
import type { TlsIdentity } from './tls-identity.ts'
import { TlsStream } from './tls-stream.ts'

/** A client that vanished without a word is noticed after some minutes. */
const KEEP_ALIVE_MS = 60_000

export class NodeStream implements Stream {
  readonly remote: string
  #socket: Socket
  readonly #sender: SocketSend | null
  /** Of the socket, for the sender; -1: there is none, or it does not serve. */
  #fd = -1
  /** Set when the descriptor is known. */
  sendFile: Stream['sendFile'] = undefined
  #handler: StreamHandler | null = null
  #error: Error | null = null
  #isPaused = false
  /** Given to `send` before the beginning. */
  #early: readonly Uint8Array[] = []
  #hasBegun = false
  #isFinished = false
  /** What 'data' brought and a paused handler did not want. */
  #held: Uint8Array | null = null
  /** The peer's end came before the handler had taken what is held. */
  #endIsHeld = false
  readonly #onSent = (error?: Error | null): void => {
    if (!error) this.#handler?.sent()
  }
  readonly #onHeld = (): void => {
    const held = this.#held
    this.#held = null
    if (held !== null && this.#handler !== null) this.#copy(this.#handler, held)
    if (this.#held !== null) return
    if (!this.#isPaused) this.#socket.resume()
    if (this.#endIsHeld && !this.#socket.destroyed) this.#ended()
  }

  /** @param socket accepted, paused, half-open allowed; nobody else uses it from now on */
  constructor(socket: Socket, remote: string, sender: SocketSend | null = null) {
    this.remote = remote
    this.#socket = socket
    this.#sender = sender
  }

  credentials(): Credentials | null {
    const fd = descriptorOf(this.#socket)
    return fd < 0 || this.#sender === null ? null : this.#sender.credentials(fd)
  }

  start(handler: StreamHandler): void {
    this.#handler = handler
    process.nextTick(() => this.#begin(handler))
  }

  send(pieces: readonly Uint8Array[]): boolean {
    if (!this.#hasBegun) {
      this.#early = pieces
      return false
    }
    const left = this.#sendNow(pieces)
    if (left > 0) this.#sendLater(pieces, left)
    return left === 0
  }

  readonly #sendFile = (pieces: readonly Uint8Array[], fd: number, position: number): boolean => {
    const socket = this.#socket
    if (this.#sender === null || socket.destroyed) return false
    const count = this.#sender.sendFile(this.#fd, pieces, fd, position, false)
    if (count < 0) {
      const code = getSystemErrorName(count)
      socket.destroy(Object.assign(new Error(`sendfile ${code}`), { code, errno: count }))
      return false
    }
    let left = -count
    for (const piece of pieces) left += piece.length
    if (left > 0) this.#sendLater(pieces, left)
    return left === 0
  }

  /** @returns how many bytes are left: the socket takes no more, or an error keeps it from that */
  #sendNow(pieces: readonly Uint8Array[]): number {
    let left = 0
    for (const piece of pieces) left += piece.length
    if (this.#sender === null || this.#fd < 0 || this.#socket.destroyed) return left
    // An error comes again when Node sends, and is told there.
    return left - Math.max(0, this.#sender.send(this.#fd, pieces))
  }

  #sendLater(pieces: readonly Uint8Array[], left: number): void {
    const socket = this.#socket
    socket.cork()
    let skip = -left
    for (const piece of pieces) skip += piece.length
    pieces.forEach((piece, index) => {
      const rest = piece.subarray(Math.min(skip, piece.length))
      skip -= piece.length - rest.length
      if (index === pieces.length - 1) socket.write(rest, this.#onSent)
      else if (rest.length > 0) socket.write(rest)
    })
    socket.uncork()
  }

  pause(): void {
    this.#isPaused = true
    if (this.#hasBegun) this.#socket.pause()
  }

  resume(): void {
    this.#isPaused = false
    if (!this.#hasBegun) return
    if (this.#held === null) this.#socket.resume()
    else process.nextTick(this.#onHeld)
  }

  finish(): void {
    this.#isFinished = true
    if (this.#hasBegun) this.#socket.end()
  }

  destroy(): void {
    this.#socket.destroy()
  }

  secure(context: TlsContext, secured: (identity: TlsIdentity) => void): Stream {
    this.#handler = null
    this.pause()
    this.#socket.removeAllListeners('data')
    this.#refuseHeld()
    return new TlsStream(this.#socket, this.remote, context, secured)
  }

  #begin(handler: StreamHandler): void {
    this.#hasBegun = true
    const accepted = this.#socket
    if (accepted.destroyed) return handler.closed(null)
    const socket = takeOver(accepted, handler)
    this.#socket = socket ?? accepted
    this.#fd = descriptorOf(this.#socket)
    if (this.#fd >= 0 && this.#socket.remoteAddress === undefined) this.#sender?.enlarge(this.#fd)
    if (this.#fd >= 0 && this.#sender !== null) this.sendFile = this.#sendFile
    this.#listen()
    if (socket === null) accepted.on('data', (bytes) => this.#copy(handler, bytes))
    if (this.#isPaused) this.#socket.pause()
    else if (socket === null) this.#socket.resume()
    if (this.#early.length > 0 && this.send(this.#early)) handler.sent()
    this.#early = []
    if (this.#isFinished) this.#socket.end()
  }

  #listen(): void {
    const socket = this.#socket
    socket.setNoDelay(true)
    socket.setKeepAlive(true, KEEP_ALIVE_MS)
    socket.on('error', (error) => (this.#error = error))
    // Without a handler: given away by `secure`.
    socket.on('end', () => this.#ended())
    socket.on('close', () => this.#handler?.closed(this.#error))
  }

  /** The way without `_handle`: the handler's memory is filled piece by piece. */
  #copy(handler: StreamHandler, bytes: Uint8Array): void {
    let left = bytes
    while (left.length > 0 && !this.#isPaused && !this.#socket.destroyed) {
      const target = handler.receiveBuffer()
      const count = Math.min(target.length, left.length)
      target.set(left.subarray(0, count))
      left = left.subarray(count)
      handler.received(count)
    }
    this.#held = left.length > 0 ? left : null
    if (this.#handler === null) this.#refuseHeld()
  }

  #ended(): void {
    this.#endIsHeld = this.#held !== null
    if (!this.#endIsHeld) this.#handler?.ended()
  }

  /** What came together with the wish for TLS did not come by TLS. */
  #refuseHeld(): void {
    if (this.#held !== null) this.#socket.destroy()
    this.#held = null
  }
}

/** Node's private property, and what we rely on of it. */
const HANDLE = '_handle'

interface SocketInside {
  [HANDLE]?: SocketHandle | null
}

interface SocketHandle {
  readonly fd?: number
  readStart(): number
  readStop(): number
}

interface TakeOverOptions {
  readonly handle: SocketHandle
  readonly onread: OnReadOpts
}

/** @returns -1: none is known */
export function descriptorOf(socket: Socket): number {
  return (socket as unknown as SocketInside)[HANDLE]?.fd ?? -1
}

/**
 * Moves the handle of an accepted socket into one that receives into the handler's memory.
 * @returns null: this version of Node keeps its handle elsewhere
 */
function takeOver(accepted: Socket, handler: StreamHandler): Socket | null {
  const inside = accepted as unknown as SocketInside
  const handle = inside[HANDLE]
  if (typeof handle?.readStart !== 'function') return null
  inside[HANDLE] = null
  const options: SocketConstructorOpts & TakeOverOptions = {
    handle,
    allowHalfOpen: true,
    onread: {
      // Asked for the next receive as soon as the callback has returned.
      buffer: () => handler.receiveBuffer(),
      callback: (bytes) => {
        handler.received(bytes)
        return true
      },
    },
  }
  const socket = new Socket(options)
  // Without a handle this only tells the server that it has one connection less to wait for.
  accepted.destroy()
  return socket
}
