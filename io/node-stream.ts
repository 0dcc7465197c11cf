/**
 * A connection over `node:net`. Received bytes go straight into the handler's memory: the handle
 * of the accepted socket is put into a second socket with `onread`. That uses Node's undocumented
 * `_handle`, here and nowhere else; where it is missing, bytes are copied from 'data' events.
 *
 * A send is one gathered write. A socket error is no exception: the handler hears `closed`.
 */
import { Socket } from 'node:net'
import type { OnReadOpts, SocketConstructorOpts } from 'node:net'
import type { Stream, StreamHandler } from './io.ts'

/** A client that vanished without a word is noticed after some minutes. */
const KEEP_ALIVE_MS = 60_000

export class NodeStream implements Stream {
  readonly remote: string
  #socket: Socket
  #handler: StreamHandler | null = null
  #error: Error | null = null
  #isPaused = false
  /** Given to `send` before the beginning. */
  #early: readonly Uint8Array[] = []
  #hasBegun = false
  #isFinished = false
  /** What 'data' brought and a paused handler did not want. */
  #held: Uint8Array | null = null
  readonly #onSent = (error?: Error | null): void => {
    if (!error) this.#handler?.sent()
  }
  readonly #onHeld = (): void => {
    const held = this.#held
    this.#held = null
    if (held !== null && this.#handler !== null) this.#copy(this.#handler, held)
    if (this.#held === null && !this.#isPaused) this.#socket.resume()
  }

  /** @param socket accepted, paused, half-open allowed; nobody else uses it from now on */
  constructor(socket: Socket, remote: string) {
    this.remote = remote
    this.#socket = socket
  }

  start(handler: StreamHandler): void {
    this.#handler = handler
    process.nextTick(() => this.#begin(handler))
  }

  send(pieces: readonly Uint8Array[]): void {
    if (!this.#hasBegun) {
      this.#early = pieces
      return
    }
    const socket = this.#socket
    const last = pieces.length - 1
    if (last > 0) socket.cork()
    for (let index = 0; index < last; index++) socket.write(pieces[index])
    socket.write(pieces[last], this.#onSent)
    if (last > 0) socket.uncork()
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

  #begin(handler: StreamHandler): void {
    this.#hasBegun = true
    const accepted = this.#socket
    if (accepted.destroyed) return handler.closed(null)
    const socket = takeOver(accepted, handler)
    this.#socket = socket ?? accepted
    this.#listen(handler)
    if (socket === null) accepted.on('data', (bytes) => this.#copy(handler, bytes))
    if (this.#isPaused) this.#socket.pause()
    else if (socket === null) this.#socket.resume()
    if (this.#early.length > 0) this.send(this.#early)
    this.#early = []
    if (this.#isFinished) this.#socket.end()
  }

  #listen(handler: StreamHandler): void {
    const socket = this.#socket
    socket.setNoDelay(true)
    socket.setKeepAlive(true, KEEP_ALIVE_MS)
    socket.on('error', (error) => (this.#error = error))
    socket.on('end', () => handler.ended())
    socket.on('close', () => handler.closed(this.#error))
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
  }
}

/** Node's private property, and what we rely on of it. */
const HANDLE = '_handle'

interface SocketInside {
  [HANDLE]?: SocketHandle | null
}

interface SocketHandle {
  readStart(): number
  readStop(): number
}

interface TakeOverOptions {
  readonly handle: SocketHandle
  readonly onread: OnReadOpts
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
