/** Compares what a server said on one connection with what the naive server would have said. */
import assert from 'node:assert/strict'
import { optionReplySize, parseGreeting, parseOptionReplies } from '../helpers/naive-codec.ts'
import { type Answer, ReplyChecker } from '../helpers/reply-checker.ts'
import type { Expectation } from './expectation.ts'
import { type Image, touches } from './image.ts'
import type { Handshake } from './naive-handshake.ts'
import type { ExpectedAnswer } from './naive-transmission.ts'

const [READ, BLOCK_STATUS] = [0, 7]
const ZERO = 2
/** Features beyond these are not told apart. */
const [UNKNOWN, UNKNOWN_OPTION, KNOWN_FLAGS] = [8, 12, 63]

export class Verdict {
  readonly #expected: Expectation
  readonly #plain: Buffer
  readonly #secure: Buffer
  readonly #seen: string[] = []

  constructor(expected: Expectation, plain: Buffer, secure: Buffer) {
    this.#expected = expected
    this.#plain = plain
    this.#secure = secure
  }

  /**
   * @param isBroken the connection broke: the end of what was said may be missing
   * @param isLate requests may have finished in any order
   * @param image what the disk held before
   * @returns what was seen, as short words
   */
  check(isBroken: boolean, isLate: boolean, image: Image): string[] {
    const { plain, secure, transmission, agreed, end } = this.#expected
    // What is on its way when the connection is cut off is lost.
    const mayLack = isBroken || (end === 'closed' && transmission === null)
    this.#seen.push(`${plain.end} ${secure?.end ?? ''} ${agreed.style} ${transmission?.end ?? end}`)
    const isCut = this.#plain.length < 18
    if (!isCut) parseGreeting(this.#plain.subarray(0, 18))
    else assert(isBroken || end === 'closed', 'no greeting')
    const rest = this.#handshake(this.#plain.subarray(18), plain, mayLack)
    const last = secure === null ? rest : this.#handshake(this.#secure, secure, mayLack)
    if (secure !== null) assert.equal(rest?.length ?? 0, 0, 'plain bytes after TLS has begun')
    if (last === null) return this.#seen
    if (transmission === null) assert.equal(last.length, 0, 'bytes behind the handshake')
    else this.#transmission(last, transmission.answers, isBroken, isLate, image)
    return this.#seen
  }

  /** @returns what follows it, or null: its end is missing */
  #handshake(bytes: Buffer, { replies, answer }: Handshake, mayLack: boolean): Buffer | null {
    let rest = bytes
    let before = 0
    for (const expected of replies) {
      const size = optionReplySize(rest)
      if (size === 0 || size > rest.length) {
        assert(mayLack, `no reply to option ${expected.option}`)
        return null
      }
      const [reply] = parseOptionReplies(rest.subarray(0, size))
      const data = reply.data.toString('hex')
      const told = `option ${reply.option}: ${reply.type.toString(16)} ${data}`
      assert.equal(reply.option, expected.option, told)
      assert.equal(reply.type, expected.type, told)
      if (expected.data !== null) assert(expected.data.equals(reply.data), told)
      const code = Math.min(reply.option, UNKNOWN_OPTION)
      this.#seen.push(`o${before} ${code}:${reply.type & 0xff}`)
      before = code
      rest = rest.subarray(size)
    }
    if (rest.length < answer.length && mayLack) return null
    assert(answer.equals(rest.subarray(0, answer.length)), 'answer to EXPORT_NAME')
    return rest.subarray(answer.length)
  }

  #transmission(
    bytes: Buffer,
    expected: readonly ExpectedAnswer[],
    isBroken: boolean,
    isLate: boolean,
    image: Image,
  ): void {
    const answers = this.#read(bytes, expected, isBroken)
    if (answers === null) return
    const contents = { bytes: Buffer.from(image.bytes) }
    for (const [index, request] of expected.entries()) {
      const answer = answers.get(BigInt(index))
      if (answer !== undefined) {
        this.#compare(request, answer)
        const isSure = !isLate || !expected.some((other) => isOverlap(other, request))
        if (answer.error === 0 && isSure) compareContents(request, answer, contents.bytes)
      }
      if (request.data !== null) contents.bytes.set(request.data, Number(request.offset))
    }
  }

  /** Answers by cookie, which is the number of the request. */
  #read(bytes: Buffer, expected: readonly ExpectedAnswer[], isBroken: boolean) {
    const { style, contexts, export: disk } = this.#expected.agreed
    const checker = new ReplyChecker({
      size: disk?.size ?? 0,
      structured: style === 'structured',
      extended: style === 'extended',
      contexts,
    })
    for (const [index, request] of expected.entries()) {
      const { command, flags, offset, length, contextIds } = request
      const cookie = BigInt(index)
      checker.sent({ command, flags, offset, length, cookie, contextIds: contextIds ?? undefined })
    }
    const answers = new Map<bigint, Answer>()
    for (const answer of checker.receive(bytes)) answers.set(answer.request.cookie, answer)
    if (!isBroken) checker.finish()
    return answers
  }

  #compare({ command, flags, errors }: ExpectedAnswer, { error, request }: Answer): void {
    const told = `command ${command} flags ${flags} ${request.offset}+${request.length}`
    const isExpected = errors.length === 0 ? error === 0 : errors.includes(error)
    assert(isExpected, `${told}: error ${error} instead of ${errors.join(' or ') || 0}`)
    const size = request.length === 0 ? 'nothing' : request.length > 65_536 ? 'much' : 'some'
    const known = `${flags & KNOWN_FLAGS}${flags > KNOWN_FLAGS ? '+' : ''}`
    const { style } = this.#expected.agreed
    this.#seen.push(`c${Math.min(command, UNKNOWN)} ${known} ${error} ${size} ${style}`)
  }
}

function isOverlap(other: ExpectedAnswer, request: ExpectedAnswer): boolean {
  return touches(other, Number(request.offset), request.length)
}

function compareContents(request: ExpectedAnswer, answer: Answer, contents: Buffer): void {
  const { command, length } = request
  const from = Number(request.offset)
  const told = `command ${command} ${from}+${length}`
  if (command === READ) {
    const expected = contents.subarray(from, from + length)
    assert(expected.equals(answer.data), `${told}: wrong bytes`)
  }
  if (command !== BLOCK_STATUS) return
  for (const extents of answer.extents.values()) {
    let at = from
    for (const extent of extents) {
      const range = contents.subarray(at, at + extent.length)
      const isZero = (extent.flags & ZERO) === 0 || range.every((byte) => byte === 0)
      assert(isZero, `${told}: told to be zeros, but is not`)
      at += extent.length
    }
  }
}
