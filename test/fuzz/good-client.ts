/**
 * A client that behaves, on the same disk as the one that does not: every reply is read strictly,
 * every byte it reads is compared.
 */
import assert from 'node:assert/strict'
import { STRANGER } from '../helpers/conversation.ts'
import type { FakeStream } from '../helpers/fake-stream.ts'
import { infoData, option, optionReplySize, u32 } from '../helpers/naive-codec.ts'
import { ReplyChecker } from '../helpers/reply-checker.ts'
import { encoded } from '../helpers/wire-style.ts'

const [READ, WRITE] = [0, 1]

export class GoodClient {
  #stream: FakeStream
  readonly #checker: ReplyChecker
  readonly #expected = new Map<bigint, Buffer | null>()
  #cookie = 0n
  #early: Buffer | null = Buffer.alloc(0)
  /** Replies of the handshake that are still to come; the greeting counts as one. */
  #handshakeLeft = 3

  constructor(stream: FakeStream, size: number, isSecure: boolean) {
    this.#stream = stream
    this.#checker = new ReplyChecker({ size, structured: true, contexts: new Map() })
    const options = Buffer.concat([option(8), option(7, infoData(''))])
    stream.push(isSecure ? Buffer.concat([u32(3), option(5)]) : Buffer.concat([u32(3), options]))
    while (stream.step());
    if (isSecure) this.#secure(options)
    // Greeting, ACK, INFO, ACK.
    this.#handshakeLeft = isSecure ? 3 : 4
  }

  #secure(options: Buffer): void {
    this.#stream.take()
    const { successor } = this.#stream
    assert(successor !== null)
    this.#stream = successor
    successor.shakeHands(STRANGER)
    successor.push(options)
  }

  get outstanding(): number {
    return this.#checker.outstanding
  }

  /** @param expected null: whatever it is */
  read(offset: number, length: number, expected: Buffer | null): void {
    this.#send(READ, offset, length, undefined, expected)
  }

  write(offset: number, data: Buffer): void {
    this.#send(WRITE, offset, data.length, data, null)
  }

  leave(): void {
    this.#stream.break(null)
  }

  /** @returns false: nothing happens any more by itself */
  step(): boolean {
    const progress = this.#stream.step()
    const bytes = this.#stream.take()
    if (bytes.length > 0) this.#receive(bytes)
    return progress
  }

  #send(
    command: number,
    offset: number,
    length: number,
    data: Buffer | undefined,
    expected: Buffer | null,
  ): void {
    const cookie = ++this.#cookie
    const { bytes, sent } = encoded('structured', { command, cookie, offset, length }, data)
    this.#checker.sent(sent)
    this.#expected.set(cookie, expected)
    this.#stream.push(bytes)
  }

  #receive(bytes: Buffer): void {
    const replies = this.#early === null ? bytes : this.#afterHandshake(bytes)
    if (replies === null) return
    for (const { request, error, data } of this.#checker.receive(replies)) {
      assert.equal(error, 0, `the good client hears error ${error}`)
      const expected = this.#expected.get(request.cookie) ?? null
      this.#expected.delete(request.cookie)
      const isRight = expected === null || expected.equals(data)
      assert(isRight, `the good client reads wrong bytes at ${request.offset}+${request.length}`)
    }
  }

  /** @returns null: the handshake is not through */
  #afterHandshake(bytes: Buffer): Buffer | null {
    let rest = Buffer.concat([this.#early ?? Buffer.alloc(0), bytes])
    while (this.#handshakeLeft > 0) {
      const size = this.#handshakeLeft === 4 ? 18 : optionReplySize(rest)
      if (size === 0 || rest.length < size) {
        this.#early = rest
        return null
      }
      rest = rest.subarray(size)
      this.#handshakeLeft--
    }
    this.#early = null
    return rest
  }
}
