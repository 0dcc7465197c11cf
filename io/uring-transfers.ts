/** The two transfers of a connection on the ring: one receive and one send at a time. */
import { SendVector } from './send-vector.ts'
import { Opcode, RECVSEND_POLL_FIRST } from './uring-abi.ts'
import type { Entry, RingUser } from './uring-entry.ts'
import type { RingCalls } from './ring-calls.ts'

const MSG_WAITALL = 0x100
const MSG_NOSIGNAL = 0x4000

const NOTHING = new Uint8Array(0)
const NO_PIECES: readonly Uint8Array[] = []

/** Is told what became of a transfer: bytes, or -errno. */
interface Transferring {
  received(result: number): void
  sent(result: number): void
}

export class Receive implements RingUser {
  isUnderWay = false
  readonly #stream: Transferring
  readonly #fd: number
  readonly #calls: RingCalls
  #buffer: Uint8Array = NOTHING

  constructor(stream: Transferring, fd: number, calls: RingCalls) {
    this.#stream = stream
    this.#fd = fd
    this.#calls = calls
  }

  begin(buffer: Uint8Array): void {
    this.isUnderWay = true
    this.#buffer = buffer
  }

  prepare(entry: Entry): void {
    const buffer = this.#buffer
    const address = this.#calls.addresses.of(buffer)
    entry.set(Opcode.RECV, this.#fd, address, buffer.length, 0, 0, RECVSEND_POLL_FIRST)
  }

  completed(result: number): void {
    this.isUnderWay = false
    this.#stream.received(result)
  }
}

export class Send implements RingUser {
  isUnderWay = false
  readonly #stream: Transferring
  readonly #fd: number
  readonly #calls: RingCalls
  /** Lent by the handler; those before `#index` have left, of that one `#offset` bytes. */
  #pieces: readonly Uint8Array[] = NO_PIECES
  #index = 0
  #offset = 0
  #vector: SendVector | null = null

  constructor(stream: Transferring, fd: number, calls: RingCalls) {
    this.#stream = stream
    this.#fd = fd
    this.#calls = calls
  }

  get isDone(): boolean {
    return this.#index === this.#pieces.length
  }

  begin(pieces: readonly Uint8Array[]): void {
    this.#pieces = pieces
    this.#index = this.#offset = 0
    this.advance(0)
  }

  end(): void {
    this.#pieces = NO_PIECES
    this.#index = this.#offset = 0
  }

  advance(bytes: number): void {
    this.#offset += bytes
    while (!this.isDone && this.#offset >= this.#pieces[this.#index].length) {
      this.#offset -= this.#pieces[this.#index].length
      this.#index++
    }
  }

  prepare(entry: Entry): void {
    const { addresses } = this.#calls
    const flags = MSG_NOSIGNAL | MSG_WAITALL
    if (this.#pieces.length - this.#index === 1) {
      const piece = this.#pieces[this.#index]
      const address = addresses.of(piece) + this.#offset
      return entry.set(Opcode.SEND, this.#fd, address, piece.length - this.#offset, 0, flags)
    }
    this.#vector ??= new SendVector(addresses)
    const message = this.#vector.fill(this.#pieces, this.#index, this.#offset)
    entry.set(Opcode.SENDMSG, this.#fd, message, 1, 0, flags)
  }

  completed(result: number): void {
    this.isUnderWay = false
    this.#stream.sent(result)
  }
}
