/**
 * A strict reader of a server's bytes in the transmission phase: throws `ProtocolViolation` when
 * a rule of the specification is broken (also most of its SHOULDs). Tell it each request with
 * `sent`, feed it every byte with `receive`, call `finish` when the server has closed.
 *
 * Written from the specification, not from the server; slow and simple on purpose.
 */
import { checkChunk, checkError, checkSuccess } from './chunk-checker.ts'
import { must } from './naive-codec.ts'

/** What the handshake agreed on. */
export interface Agreement {
  readonly size: number
  readonly structured: boolean
  /** EXTENDED_HEADERS; `structured` says nothing then. */
  readonly extended?: boolean
  /** Id to name of the selected metadata contexts. */
  readonly contexts: ReadonlyMap<number, string>
  readonly payloadMax?: number
}

export interface SentRequest {
  readonly command: number
  readonly flags: number
  readonly cookie: bigint
  readonly offset: bigint
  /** Of its effect on the export. */
  readonly length: number
  /** BLOCK_STATUS: those the client asks for in a payload; otherwise all that were selected. */
  readonly contextIds?: readonly number[] | undefined
}

export interface Range {
  readonly offset: number
  readonly length: number
}

export interface Extent {
  readonly length: number
  /** The status; up to 64 bits with extended headers. */
  readonly flags: number
}

/** A whole reply. */
export class Answer {
  readonly request: SentRequest
  simple = false
  /** The first error, 0 = success. */
  error = 0
  /** Absolute offset of ERROR_OFFSET, or -1. */
  errorOffset = -1
  text = ''
  /** READ: the bytes that came, 0xee where none did. */
  data: Buffer = Buffer.alloc(0)
  /** READ, structured: the OFFSET_DATA and OFFSET_HOLE chunks in order of arrival. */
  readonly dataChunks: Range[] = []
  readonly holeChunks: Range[] = []
  /** BLOCK_STATUS: context id to extents. */
  readonly extents = new Map<number, Extent[]>()
  /** Not simple: types of the chunks in order of arrival. */
  readonly chunkTypes: number[] = []

  constructor(sent: SentRequest) {
    this.request = sent
  }

  content(): Range[] {
    return [...this.dataChunks, ...this.holeChunks].sort((a, b) => a.offset - b.offset)
  }
}

const [READ, DISC, BLOCK_STATUS] = [0, 2, 7]
const SIMPLE = 0x67446698
const STRUCTURED = 0x668e33ef
const EXTENDED = 0x6e8a278c

export class ReplyChecker {
  readonly #agreement: Agreement
  readonly #payloadMax: number
  readonly #open = new Map<bigint, Answer>()
  #pieces: Uint8Array[] = []
  #buffered = 0
  /** Bytes that must be there before parsing makes sense. */
  #needed = 4

  constructor(agreement: Agreement) {
    this.#agreement = agreement
    this.#payloadMax = agreement.payloadMax ?? 32 * 1024 * 1024
  }

  /** Requests without an answer so far. */
  get outstanding(): number {
    return this.#open.size
  }

  sent(request: SentRequest): void {
    if (request.command === DISC) return
    if (this.#open.has(request.cookie)) throw new Error(`test reuses cookie ${request.cookie}`)
    this.#open.set(request.cookie, new Answer(request))
  }

  /** Takes any piece of the server's stream; returns the replies that are complete with it. */
  receive(bytes: Uint8Array): Answer[] {
    this.#pieces.push(Buffer.from(bytes))
    this.#buffered += bytes.length
    const answers: Answer[] = []
    if (this.#buffered < this.#needed) return answers
    let rest = Buffer.concat(this.#pieces)
    for (;;) {
      this.#needed = this.#sizeOf(rest)
      if (rest.length < this.#needed) break
      const answer = this.#message(rest.subarray(0, this.#needed))
      if (answer !== null) answers.push(answer)
      rest = rest.subarray(this.#needed)
    }
    this.#pieces = [rest]
    this.#buffered = rest.length
    return answers
  }

  /** The server has closed; `allowed` requests may be without an answer. */
  finish(allowed = 0): void {
    must(this.#buffered === 0, `${this.#buffered} bytes of an unfinished reply at the end`)
    must(this.#open.size <= allowed, `${this.#open.size} requests were never answered`)
  }

  /** Bytes of the message at the start, as far as it can be told. */
  #sizeOf(bytes: Buffer): number {
    if (bytes.length < 4) return 4
    const magic = bytes.readUInt32BE(0)
    const { extended = false, structured } = this.#agreement
    if (extended) must(magic === EXTENDED, `reply magic 0x${magic.toString(16)}`)
    else must(magic === SIMPLE || magic === STRUCTURED, `reply magic 0x${magic.toString(16)}`)
    if (magic === SIMPLE) return this.#simpleSizeOf(bytes)
    must(extended || structured, 'structured reply without negotiation')
    const header = extended ? 32 : 20
    if (bytes.length < header) return header
    const length = extended ? Number(bytes.readBigUInt64BE(24)) : bytes.readUInt32BE(16)
    must(length <= this.#payloadMax + 8, `chunk of ${length} bytes`)
    return header + length
  }

  #simpleSizeOf(bytes: Buffer): number {
    if (bytes.length < 16) return 16
    const sent = this.#answerFor(bytes.readBigUInt64BE(8)).request
    if (sent.command !== READ) return 16
    must(!this.#agreement.structured, 'READ must be answered in chunks')
    return bytes.readUInt32BE(4) === 0 ? 16 + sent.length : 16
  }

  #answerFor(cookie: bigint): Answer {
    const answer = this.#open.get(cookie)
    must(answer !== undefined, `unknown or already answered cookie ${cookie}`)
    return answer
  }

  #message(bytes: Buffer): Answer | null {
    const answer = this.#answerFor(bytes.readBigUInt64BE(8))
    const { cookie, offset } = answer.request
    if (bytes.readUInt32BE(0) === SIMPLE) {
      this.#simple(answer, bytes)
      this.#open.delete(cookie)
      return answer
    }
    const { extended = false } = this.#agreement
    if (extended) must(bytes.readBigUInt64BE(16) === offset, 'the offset is not the request’s')
    const flags = bytes.readUInt16BE(4)
    must((flags & ~1) === 0, `chunk flags 0x${flags.toString(16)}`)
    const payload = bytes.subarray(extended ? 32 : 20)
    const type = bytes.readUInt16BE(6)
    answer.chunkTypes.push(type)
    checkChunk(answer, { type, payload, isLast: flags === 1 }, this.#agreement)
    if (flags === 0) return null
    if (answer.error === 0) checkSuccess(answer, this.#agreement)
    this.#open.delete(cookie)
    return answer
  }

  #simple(answer: Answer, bytes: Buffer): void {
    const { command } = answer.request
    must(answer.chunkTypes.length === 0, 'simple reply in the middle of a structured one')
    answer.simple = true
    answer.error = bytes.readUInt32BE(4)
    if (answer.error !== 0) checkError(answer.request, answer.error)
    else must(command !== BLOCK_STATUS, 'BLOCK_STATUS cannot succeed with a simple reply')
    answer.data = bytes.subarray(16)
  }
}
