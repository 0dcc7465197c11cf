/**
 * Passes bytes between two streams, both ways. A side is read from only while the other takes what
 * it is given, so no more than a buffer each way is kept.
 */
import type { Stream, StreamHandler } from './io.ts'

const BUFFER_BYTES = 256 * 1024

/** When one side has closed, the other has so long to take the last bytes and close. */
const LINGER_MS = 1000

/** @param over called once, when both are closed */
export function relay(first: Stream, second: Stream, over: () => void): void {
  let open = 2
  const closed = (): void => {
    open--
    if (open === 0) over()
  }
  const one = new Side(first, closed)
  const other = new Side(second, closed)
  one.join(other)
  other.join(one)
}

class Side implements StreamHandler {
  readonly #stream: Stream
  readonly #closed: () => void
  readonly #buffer = new Uint8Array(BUFFER_BYTES)
  #other: Side | null = null
  #isClosed = false
  #isFinished = false
  #timer: NodeJS.Timeout | undefined

  constructor(stream: Stream, closed: () => void) {
    this.#stream = stream
    this.#closed = closed
  }

  join(other: Side): void {
    this.#other = other
    this.#stream.start(this)
  }

  receiveBuffer(): Uint8Array {
    return this.#buffer
  }

  received(bytes: number): void {
    if (this.#other?.send(this.#buffer.subarray(0, bytes)) === false) this.#stream.pause()
  }

  /** @returns false: the bytes are in use until `resume` of the side they came from */
  send(bytes: Uint8Array): boolean {
    return this.#isClosed || this.#isFinished || this.#stream.send([bytes])
  }

  sent(): void {
    this.#other?.resume()
  }

  resume(): void {
    if (!this.#isClosed) this.#stream.resume()
  }

  ended(): void {
    this.#other?.finish()
  }

  finish(): void {
    if (this.#isClosed || this.#isFinished) return
    this.#isFinished = true
    this.#stream.finish()
  }

  closed(): void {
    this.#isClosed = true
    clearTimeout(this.#timer)
    this.#other?.leave()
    this.#closed()
  }

  /** The other side is gone. */
  leave(): void {
    if (this.#isClosed) return
    this.finish()
    this.resume()
    this.#timer = setTimeout(() => this.#stream.destroy(), LINGER_MS)
  }
}
