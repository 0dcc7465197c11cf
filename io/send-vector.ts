/**
 * The `msghdr` of a gathered send, with its vector behind it: memory that the kernel reads while
 * the send is under way. It names the pieces; who sends keeps them.
 */
import type { Addresses } from './memory.ts'

/** The kernel takes no more at once (UIO_MAXIOV); the rest is sent after that. */
const PIECES_MAX = 1024
const PIECES_FIRST = 16
const HEAD_WORDS = 16
const PIECE_WORDS = 4
/** `msg_iov` and `msg_iovlen`, in words. */
const VECTOR = 4
const COUNT = 6

export class SendVector {
  readonly #addresses: Addresses
  #words = new Uint32Array(0)
  #address = 0
  #room = 0

  constructor(addresses: Addresses) {
    this.#addresses = addresses
    this.#allocate(PIECES_FIRST)
  }

  /**
   * @param index first piece to send, without its first `offset` bytes
   * @param end the piece behind the last one
   * @returns the address of the message; valid until the next call
   */
  fill(pieces: readonly Uint8Array[], index: number, offset: number, end = pieces.length): number {
    const count = Math.min(end - index, PIECES_MAX)
    if (count > this.#room) this.#allocate(2 ** Math.ceil(Math.log2(count)))
    const words = this.#words
    const addresses = this.#addresses
    let at = HEAD_WORDS
    let skip = offset
    for (let number = index; number < index + count; number++) {
      const piece = pieces[number]
      const address = addresses.of(piece) + skip
      words[at] = address % 4294967296
      words[at + 1] = address / 4294967296
      words[at + 2] = piece.length - skip
      at += PIECE_WORDS
      skip = 0
    }
    words[COUNT] = count
    return this.#address
  }

  #allocate(room: number): void {
    this.#room = room
    this.#words = new Uint32Array(new ArrayBuffer((HEAD_WORDS + room * PIECE_WORDS) * 4))
    this.#address = this.#addresses.of(new Uint8Array(this.#words.buffer))
    const vector = this.#address + HEAD_WORDS * 4
    this.#words[VECTOR] = vector % 4294967296
    this.#words[VECTOR + 1] = vector / 4294967296
  }
}
