/**
 * A byte stream in the binary frames of a WebSocket, on the server's side or the client's. Where a
 * frame begins or ends means nothing. Text is refused; messages, pings and closing are `ws`'s work.
 *
 *   started ─▶ (finished: our close frame) ─▶ closed
 *
 * A WebSocket closes in both directions at once, so the handler never hears `ended`. What arrives
 * is copied into the handler's memory. A large send is framed slice by slice.
 */
import type { Duplex } from 'node:stream'
import type { WebSocket } from 'ws'
import type { Stream, StreamEntry, StreamHandler } from './io.ts'
import { SlicedSend } from './sliced-send.ts'
import { WS_CHUNK_COST_BYTES, WS_FRAME_BYTES, WS_SLICE_BYTES } from './ws-limits.ts'
import type { WebSocketGroup } from './ws-group.ts'

/** Codes of close frames (RFC 6455, section 7.4.1). */
const CloseCode = {
  NORMAL: 1000,
  GOING_AWAY: 1001,
  UNSUPPORTED_DATA: 1003,
  NO_STATUS: 1005,
  POLICY_VIOLATION: 1008,
  TRY_AGAIN_LATER: 1013,
} as const

const ORDERLY: readonly number[] = [CloseCode.NORMAL, CloseCode.GOING_AWAY, CloseCode.NO_STATUS]

export class WebSocketStream implements Stream {
  readonly remote: string
  readonly entry: StreamEntry
  /** Resolves after the handler was told. */
  readonly over: Promise<Error | null>
  readonly #webSocket: WebSocket
  /** The socket below, which `ws` reads and writes. */
  readonly #carrier: Duplex
  readonly #group: WebSocketGroup
  #handler: StreamHandler | null = null
  #error: Error | null = null
  #hasBegun = false
  #isPaused = false
  #isFinished = false
  /** Refused or destroyed: what still arrives is thrown away. */
  #isOver = false
  #isClosed = false
  /** What `ws` brought and a paused handler did not want, from `#heldIndex` on. */
  #held: Uint8Array[] = []
  #heldIndex = 0
  /** Of a message whose end has not come, with what keeping it costs. */
  #incompleteBytes = 0
  #mustAnswer = false
  /** Of the last ping, to be answered when the answer before it has left. */
  #ping: Uint8Array | null = null
  #isAnswering = false
  readonly #sending = new SlicedSend()
  readonly #onHeld = (): void => this.#deliverHeld()
  readonly #onAnswered = (error?: Error): void => {
    this.#isAnswering = false
    if (!error) this.#answer()
  }
  readonly #onSent = (error?: Error): void => {
    if (error || this.#isOver) return
    if (this.#sending.hasMore) return this.#sendSlice()
    this.#sending.end()
    if (this.#isFinished) this.#close(CloseCode.NORMAL)
    this.#handler?.sent()
  }
  readonly #give = (bytes: Uint8Array, isLast: boolean): void => {
    this.#webSocket.send(bytes, isLast ? this.#onSent : undefined)
  }

  /**
   * @param webSocket open, just now; nothing of it was received yet
   * @param carrier the socket below it
   * @internal so that users of the library need no types of `ws`
   */
  constructor(
    webSocket: WebSocket,
    carrier: Duplex,
    remote: string,
    entry: StreamEntry,
    group: WebSocketGroup,
  ) {
    this.#webSocket = webSocket
    this.#carrier = carrier
    this.remote = remote
    this.entry = entry
    this.#group = group
    group.add(this)
    webSocket.pause()
    // Before `ws` sees them, so that a message completed by them counts as complete.
    carrier.prependListener('data', (chunk: Uint8Array) => this.#arrived(chunk.length))
    webSocket.on('message', (data, isBinary) => this.#received(data as Buffer, isBinary))
    webSocket.on('ping', (data) => {
      // A copy: it lies in what was received with it.
      this.#ping = Uint8Array.from(data)
      this.#answer()
    })
    webSocket.on('error', (error) => (this.#error ??= error))
    this.over = new Promise((resolve) => {
      webSocket.on('close', (code, reason) => {
        this.#ended(code, reason.toString())
        resolve(this.#error)
      })
    })
  }

  start(handler: StreamHandler): void {
    this.#handler = handler
    process.nextTick(() => {
      this.#hasBegun = true
      if (this.#isClosed) return handler.closed(this.#error)
      if (this.#sending.isUnderWay) this.#sendSlice()
      else if (this.#isFinished) this.#close(CloseCode.NORMAL)
      if (!this.#isPaused) this.#webSocket.resume()
    })
  }

  send(pieces: readonly Uint8Array[]): boolean {
    this.#sending.begin(pieces)
    if (this.#hasBegun && !this.#isOver) this.#sendSlice()
    return false
  }

  pause(): void {
    this.#isPaused = true
    this.#webSocket.pause()
  }

  resume(): void {
    this.#isPaused = false
    if (!this.#hasBegun) return
    if (this.#held.length > 0) process.nextTick(this.#onHeld)
    else this.#webSocket.resume()
  }

  finish(): void {
    this.#isFinished = true
    if (this.#hasBegun && !this.#sending.isUnderWay) this.#close(CloseCode.NORMAL)
  }

  destroy(): void {
    if (this.#isClosed) return
    // The close frame leaves if there is room for it; nobody waits for the answer.
    this.#close(CloseCode.POLICY_VIOLATION)
    this.#isOver = true
    this.#webSocket.terminate()
  }

  secure(): Stream {
    throw new Error('TLS is below a WebSocket (wss://), not inside it')
  }

  /** For the group, from time to time: who gave no sign of life since the last time is gone. */
  checkAlive(): void {
    // While we do not read we hear nothing; while we cannot send a ping would only wait.
    if (this.#isPaused || this.#isOver || this.#sending.isUnderWay) {
      this.#mustAnswer = false
    } else if (this.#mustAnswer) {
      this.#error ??= new Error('no answer to a ping')
      this.#isOver = true
      this.#webSocket.terminate()
    } else if (this.#webSocket.readyState === this.#webSocket.OPEN) {
      this.#mustAnswer = true
      this.#webSocket.ping()
    }
  }

  #answer(): void {
    const ping = this.#ping
    if (ping === null || this.#isAnswering || this.#isOver) return
    this.#ping = null
    this.#isAnswering = true
    this.#webSocket.pong(ping, undefined, this.#onAnswered)
  }

  #arrived(bytes: number): void {
    this.#mustAnswer = false
    if (this.#webSocket.readyState !== this.#webSocket.OPEN) return
    const cost = bytes + WS_CHUNK_COST_BYTES
    this.#incompleteBytes += cost
    this.#group.incompleteBytes += cost
    if (this.#group.asksTooMuch(this.#incompleteBytes)) {
      this.#refuse(CloseCode.TRY_AGAIN_LATER, 'too much memory for unfinished messages')
    }
  }

  #received(data: Uint8Array, isBinary: boolean): void {
    this.#complete()
    if (this.#isOver) return
    if (!isBinary) return this.#refuse(CloseCode.UNSUPPORTED_DATA, 'binary frames only')
    if (this.#held.length > 0) this.#held.push(data)
    else this.#deliver(data)
  }

  #deliver(bytes: Uint8Array): void {
    const handler = this.#handler
    if (handler === null) return
    let left = bytes
    while (left.length > 0 && !this.#isPaused && !this.#isOver) {
      const target = handler.receiveBuffer()
      const count = Math.min(target.length, left.length)
      target.set(count === left.length ? left : left.subarray(0, count))
      left = left.subarray(count)
      handler.received(count)
    }
    if (left.length > 0) this.#held.push(left)
  }

  #deliverHeld(): void {
    while (this.#heldIndex < this.#held.length && !this.#isPaused && !this.#isOver) {
      const bytes = this.#held[this.#heldIndex++]
      const before = this.#held.length
      this.#deliver(bytes)
      // A rest goes back to its place.
      if (this.#held.length > before) this.#held[--this.#heldIndex] = this.#held.pop() ?? bytes
    }
    if (this.#heldIndex < this.#held.length) return
    this.#held = []
    this.#heldIndex = 0
    if (!this.#isPaused && !this.#isOver) this.#webSocket.resume()
  }

  #sendSlice(): void {
    this.#carrier.cork()
    this.#sending.next(WS_SLICE_BYTES, WS_FRAME_BYTES, this.#give)
    this.#carrier.uncork()
  }

  #refuse(code: number, reason: string): void {
    this.#error ??= new Error(reason)
    this.#isOver = true
    this.#webSocket.resume()
    this.#webSocket.close(code, reason)
  }

  #close(code: number): void {
    this.#webSocket.close(this.#group.isGoingAway ? CloseCode.GOING_AWAY : code)
  }

  #complete(): void {
    this.#group.incompleteBytes -= this.#incompleteBytes
    this.#incompleteBytes = 0
  }

  #ended(code: number, reason: string): void {
    this.#complete()
    this.#group.remove(this)
    const isOurs = this.#isFinished || this.#isOver
    if (!isOurs && !ORDERLY.includes(code)) {
      this.#error ??= new Error(`closed with ${code}${reason === '' ? '' : `: ${reason}`}`)
    }
    this.#isClosed = true
    this.#isOver = true
    if (this.#hasBegun) this.#handler?.closed(this.#error)
  }
}
