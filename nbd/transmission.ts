/**
 * The transmission phase of one connection: reads requests as long as the limits allow, has them
 * carried out, sends the replies, and comes to an end in good order.
 *
 *   received ─▶ RequestReader ─▶ limits ─▶ Executor ─▶ ReplyQueue ─▶ send
 *
 * Over a limit the stream is paused and nothing is read; completions and sent replies wake it.
 * Invariant: the stream is paused whenever a whole request may wait in the receive buffer.
 */
import type { Device } from '../device/device.ts'
import type { Stream } from '../io/io.ts'
import { Executor } from './executor.ts'
import {
  BYTES_IN_FLIGHT_MAX,
  HOARD_BYTES_MIN,
  MEMORY_BYTES_MAX,
  REQUESTS_IN_FLIGHT_MAX,
  SEND_EARLY_BYTES,
  SEND_QUEUE_BYTES_MAX,
  TURN_BYTES_MAX,
  TURN_REQUESTS_MAX,
} from './limits.ts'
import type { Log } from './log.ts'
import type { Agreement } from './negotiation.ts'
import { Command } from './protocol.ts'
import type { ReceiveBuffer } from './receive-buffer.ts'
import type { ReplyQueue } from './reply-queue.ts'
import { RequestReader } from './request-reader.ts'
import type { NbdRequest } from './request.ts'
import type { Resources } from './resources.ts'
import type { Worker } from './scheduler.ts'

/** The two directions of a connection. */
export interface Channel {
  readonly stream: Stream
  readonly receive: ReceiveBuffer
  readonly replies: ReplyQueue
}

/** Why no more requests are taken. */
export const End = {
  NONE: 0,
  /** The client said DISC, or will send nothing more, or we are stopping. */
  ORDERLY: 1,
  /** The client broke the protocol: `violation` says how. */
  VIOLATION: 2,
  /** The connection is gone. */
  LOST: 3,
} as const

export type End = (typeof End)[keyof typeof End]

export class Transmission implements Worker {
  readonly device: Device
  queued = false
  serving = false
  end: End = End.NONE
  readonly #stream: Stream
  readonly #replies: ReplyQueue
  readonly #resources: Resources
  readonly #reader: RequestReader
  readonly #executor: Executor
  readonly #onDrained: () => void
  readonly #trace: Log | null
  /** The client sends nothing more; what is in the receive buffer still counts. */
  #hasEnded = false
  #isPaused = false
  #isDrained = false
  /** Something came or left since `countQuiet`. */
  #hasMoved = true
  #quietCount = 0
  #sentCount = 0
  /** For `countStuck`. */
  #progress = 0
  #stuckCount = 0

  /** @param onDrained called once, when there has been an `end` and nothing is left to do */
  constructor(
    agreement: Agreement,
    { stream, receive, replies }: Channel,
    resources: Resources,
    log: Log,
    onDrained: () => void,
  ) {
    this.device = agreement.export.device
    this.#stream = stream
    this.#replies = replies
    this.#resources = resources
    this.#reader = new RequestReader(receive, agreement, resources)
    this.#executor = new Executor(agreement, { replies, stream }, resources)
    this.#executor.onProgress = () => this.#wake()
    this.#onDrained = onDrained
    this.#trace = log.isLevelEnabled('trace') ? log : null
  }

  get violation(): string | null {
    return this.#reader.violation
  }

  /** @returns how many calls in a row have found that nothing had come, left, or been worked on */
  countQuiet(): number {
    const isWorking = this.#executor.inFlight > 0 && this.#replies.bytes === 0
    this.#quietCount = this.#hasMoved || isWorking ? 0 : this.#quietCount + 1
    this.#hasMoved = false
    return this.#quietCount
  }

  /** What the flush after the last request ended with: an errno, or 0. */
  get flushStatus(): number {
    return this.#executor.flushStatus
  }

  /** Where the next bytes go. */
  room(): Uint8Array {
    return this.#reader.room()
  }

  received(bytes: number): void {
    this.#hasMoved = true
    this.#reader.received(bytes)
    if (this.end === End.NONE && !this.#resources.scheduler.serve(this)) this.#pause()
  }

  /** @returns how many calls in a row have found that it holds much memory for the same bytes */
  countStuck(): number {
    const progress = this.#sentCount + this.#reader.payloadCount
    const holdsMuch = this.#reader.heldBytes + this.#replies.bytes >= HOARD_BYTES_MIN
    const isStuck = holdsMuch && progress === this.#progress
    this.#stuckCount = isStuck ? this.#stuckCount + 1 : 0
    this.#progress = progress
    return this.#stuckCount
  }

  /** What was given to the stream has left. */
  sent(): void {
    this.#hasMoved = true
    this.#sentCount++
    this.#replies.sent()
    this.#replies.send(this.#stream)
    const isStuck = this.#isPaused || this.end !== End.NONE
    if (isStuck || this.#executor.readyCount(true) > 0) this.#wake()
  }

  /** The client sends nothing more. What it has sent is finished and answered. */
  finish(): void {
    this.#hasEnded = true
    this.#wake()
  }

  /** The connection is gone: what has not begun is dropped. */
  lose(): void {
    this.end = End.LOST
    this.#reader.release()
    this.#executor.abandon()
    this.#replies.discard()
    this.#wake()
  }

  turn(): void {
    const executor = this.#executor
    executor.spentBytes = 0
    for (let left = executor.readyCount(this.#maySend); left > 0; left--) {
      if (executor.spentBytes >= TURN_BYTES_MAX / 2) break
      executor.continue(this.#maySend)
    }
    if (this.end === End.NONE) this.#readRequests()
  }

  afterTurn(): boolean {
    if (this.end !== End.LOST) this.#replies.send(this.#stream)
    if (this.end !== End.NONE) this.#drain()
    else if (this.#isPaused && !this.#isOverLimit) return true
    return this.#executor.readyCount(this.#maySend) > 0
  }

  #readRequests(): void {
    const executor = this.#executor
    for (let count = 0; count < TURN_REQUESTS_MAX; count++) {
      const isOver = this.#isOverLimit && !this.#reader.isInside
      if (isOver || (count > 0 && executor.spentBytes >= TURN_BYTES_MAX)) return this.#pause()
      const request = this.#reader.next()
      if (request === null) return this.#readAll()
      if (request.command === Command.DISC) {
        this.#resources.requests.give(request)
        return this.#stopReading(End.ORDERLY)
      }
      if (this.#trace !== null) traceRequest(this.#trace, request)
      executor.start(request)
      if (this.#replies.bytes >= SEND_EARLY_BYTES) this.#replies.send(this.#stream)
    }
    this.#pause()
  }

  /** The receive buffer holds no whole request. */
  #readAll(): void {
    if (this.#reader.violation !== null) this.#stopReading(End.VIOLATION)
    else if (this.#hasEnded) this.#stopReading(End.ORDERLY)
    else this.#resume()
  }

  /** Whatever the client still sends is thrown away. */
  #stopReading(end: End): void {
    this.end = end
    this.#reader.stop()
    this.#resume()
  }

  #pause(): void {
    if (this.#isPaused) return
    this.#isPaused = true
    this.#stream.pause()
  }

  #resume(): void {
    if (!this.#isPaused) return
    this.#isPaused = false
    this.#stream.resume()
  }

  /** Takes the last steps: everything finished, flushed, sent. */
  #drain(): void {
    const executor = this.#executor
    if (executor.inFlight > 0 || this.#isDrained) return
    if (executor.isDirty) {
      executor.flush()
      this.device.submit()
      if (executor.inFlight > 0) return
    }
    if (this.#replies.bytes > 0) return
    this.#isDrained = true
    this.#onDrained()
  }

  get #maySend(): boolean {
    return this.#replies.bytes < SEND_QUEUE_BYTES_MAX
  }

  get #isOverLimit(): boolean {
    const { inFlight, inFlightBytes } = this.#executor
    if (inFlight >= REQUESTS_IN_FLIGHT_MAX || inFlightBytes >= BYTES_IN_FLIGHT_MAX) return true
    if (!this.#maySend) return true
    if (this.#resources.memory.bytes < MEMORY_BYTES_MAX) return false
    return inFlightBytes + this.#replies.bytes > 0
  }

  #wake(): void {
    if (!this.serving) this.#resources.scheduler.wake(this)
  }
}

function traceRequest(log: Log, request: NbdRequest): void {
  const { command, commandFlags, wireOffset, wireLength, refusal } = request
  log.trace({ command, commandFlags, offset: wireOffset, length: wireLength, refusal }, 'request')
}
