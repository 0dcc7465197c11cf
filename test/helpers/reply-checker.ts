/**
 * A strict reader of a server's bytes in the transmission phase: throws `ProtocolViolation` when
 * a rule of the specification is broken (also most of its SHOULDs). Tell it each request with
 * `sent`, feed it every byte with `receive`, call `finish` when the server has closed.
 *
 * Written from the specification, not from the server; slow and simple on purpose.
 */
import { checkString, must } from './naive-codec.ts'

/** What the handshake agreed on. */
export interface Agreement {
  readonly size: number
  readonly structured: boolean
  /** Id to name of the selected metadata contexts. */
  readonly contexts: ReadonlyMap<number, string>
  readonly payloadMax?: number
}

export interface SentRequest {
  readonly command: number
  readonly flags: number
  readonly cookie: bigint
  readonly offset: bigint
  readonly length: number
}

export interface Range {
  readonly offset: number
  readonly length: number
}

export interface Extent {
  readonly length: number
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
  /** Structured: types of the chunks in order of arrival. */
  readonly chunkTypes: number[] = []

  constructor(sent: SentRequest) {
    this.request = sent
  }

  content(): Range[] {
    return [...this.dataChunks, ...this.holeChunks].sort((a, b) => a.offset - b.offset)
  }
}

const READ = 0
const DISC = 2
const WRITE_ZEROES = 6
const BLOCK_STATUS = 7
const COMMANDS_WITH_ERROR_OFFSET = [0, 1, 4, 5, 6, 7]
const ERRORS = [1, 5, 12, 22, 28, 75, 95, 108]

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
    must(magic === 0x67446698 || magic === 0x668e33ef, `reply magic 0x${magic.toString(16)}`)
    if (magic === 0x67446698) {
      if (bytes.length < 16) return 16
      const sent = this.#answerFor(bytes.readBigUInt64BE(8)).request
      if (sent.command !== READ) return 16
      must(!this.#agreement.structured, 'READ must be answered in chunks')
      return bytes.readUInt32BE(4) === 0 ? 16 + sent.length : 16
    }
    must(this.#agreement.structured, 'structured reply without negotiation')
    if (bytes.length < 20) return 20
    const length = bytes.readUInt32BE(16)
    must(length <= this.#payloadMax + 8, `chunk of ${length} bytes`)
    return 20 + length
  }

  #answerFor(cookie: bigint): Answer {
    const answer = this.#open.get(cookie)
    must(answer !== undefined, `unknown or already answered cookie ${cookie}`)
    return answer
  }

  #message(bytes: Buffer): Answer | null {
    const answer = this.#answerFor(bytes.readBigUInt64BE(8))
    const { cookie } = answer.request
    if (bytes.readUInt32BE(0) === 0x67446698) {
      this.#simple(answer, bytes)
      this.#open.delete(cookie)
      return answer
    }
    const flags = bytes.readUInt16BE(4)
    must((flags & ~1) === 0, `chunk flags 0x${flags.toString(16)}`)
    this.#chunk(answer, bytes.readUInt16BE(6), flags === 1, bytes.subarray(20))
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

  #chunk(answer: Answer, type: number, done: boolean, payload: Buffer): void {
    const { command, flags } = answer.request
    answer.chunkTypes.push(type)
    if (type === 0) {
      must(payload.length === 0, 'NONE has no payload')
      must(done, 'NONE must be the last chunk')
    } else if (type === 1 || type === 2) {
      must(command === READ, 'content chunk for a command that reads nothing')
      this.#content(answer, type, payload)
      const chunks = answer.dataChunks.length + answer.holeChunks.length
      must((flags & 4) === 0 || chunks === 1, 'DF: at most one content chunk')
    } else if (type === 5) {
      must(command === BLOCK_STATUS, 'BLOCK_STATUS chunk for another command')
      this.#status(answer, payload)
    } else {
      must(type === 0x8001 || type === 0x8002, `chunk type ${type}`)
      errorChunk(answer, type, payload)
    }
  }

  #content(answer: Answer, type: number, payload: Buffer): void {
    if (type === 1) must(payload.length >= 9, 'OFFSET_DATA is at least 9 bytes')
    else must(payload.length === 12, 'OFFSET_HOLE is 12 bytes')
    const length = type === 1 ? payload.length - 8 : payload.readUInt32BE(8)
    must(length > 0, 'a hole of no bytes')
    must(type === 2 || length <= this.#payloadMax, 'data larger than the maximum payload')
    const offset = Number(payload.readBigUInt64BE(0))
    const start = Number(answer.request.offset)
    const inside = offset >= start && offset + length <= start + answer.request.length
    must(inside, `content chunk ${offset}+${length} outside the request`)
    for (const other of [...answer.dataChunks, ...answer.holeChunks]) {
      const apart = offset + length <= other.offset || other.offset + other.length <= offset
      must(apart, `content chunk ${offset}+${length} overlaps an earlier one`)
    }
    const holdsError = answer.errorOffset >= offset && answer.errorOffset < offset + length
    must(!holdsError, 'content chunk over an offset already reported as failed')
    if (answer.data.length === 0) answer.data = Buffer.alloc(answer.request.length, 0xee)
    const at = offset - start
    if (type === 1) payload.copy(answer.data, at, 8)
    else answer.data.fill(0, at, at + length)
    const chunks = type === 1 ? answer.dataChunks : answer.holeChunks
    chunks.push({ offset, length })
  }

  #status(answer: Answer, payload: Buffer): void {
    const { flags, offset, length } = answer.request
    must(payload.length >= 12 && payload.length % 8 === 4, 'length of a BLOCK_STATUS chunk')
    const id = payload.readUInt32BE(0)
    const name = this.#agreement.contexts.get(id)
    must(name !== undefined, `context ${id} was not selected`)
    must(!answer.extents.has(id), `context ${id} is reported twice`)
    const extents: Extent[] = []
    let total = 0
    for (let at = 4; at < payload.length; at += 8) {
      const extent = { length: payload.readUInt32BE(at), flags: payload.readUInt32BE(at + 4) }
      must(extent.length > 0, 'an extent of no bytes')
      must(total < length, 'only the last extent may end behind the request')
      must(extents.at(-1)?.flags !== extent.flags, 'neighbouring extents should differ')
      if (name === 'base:allocation') must(extent.flags <= 3, 'base:allocation has two bits')
      extents.push(extent)
      total += extent.length
    }
    must(extents.length <= 1 << 20, 'more than 2^20 extents')
    must(Number(offset) + total <= this.#agreement.size, 'extent behind the end of the export')
    if (flags & 8) must(extents.length === 1 && total <= length, 'REQ_ONE: one extent, inside')
    answer.extents.set(id, extents)
  }
}

function errorChunk(answer: Answer, type: number, payload: Buffer): void {
  const { command, offset, length } = answer.request
  const fixed = type === 0x8001 ? 6 : 14
  must(payload.length >= fixed, `error chunk of ${payload.length} bytes`)
  const error = payload.readUInt32BE(0)
  checkError(answer.request, error)
  const textLength = payload.readUInt16BE(4)
  must(payload.length === fixed + textLength, 'length of the error text')
  must(answer.error === 0, 'one error chunk is enough')
  answer.error = error
  answer.text = checkString(payload.subarray(6, 6 + textLength), 'error text')
  if (type === 0x8001) return
  must(COMMANDS_WITH_ERROR_OFFSET.includes(command), 'ERROR_OFFSET does not fit the command')
  answer.errorOffset = Number(payload.readBigUInt64BE(6 + textLength))
  const distance = answer.errorOffset - Number(offset)
  must(distance >= 0 && distance < length, `error offset ${answer.errorOffset} is outside`)
}

function checkError(request: SentRequest, error: number): void {
  must(ERRORS.includes(error), `error ${error} may not be sent`)
  const fastZero = request.command === WRITE_ZEROES && (request.flags & 16) !== 0
  must(error !== 95 || fastZero, 'ENOTSUP answers FAST_ZERO only')
  must(error !== 75 || request.command === READ, 'EOVERFLOW answers long reads only')
}

function checkSuccess(answer: Answer, agreement: Agreement): void {
  const { command, length } = answer.request
  const covered = answer.content().reduce((sum, range) => sum + range.length, 0)
  if (command === READ) must(covered === length, `${covered} of ${length} bytes were answered`)
  if (command === BLOCK_STATUS) {
    must(agreement.contexts.size > 0, 'BLOCK_STATUS cannot succeed without a context')
    must(answer.extents.size === agreement.contexts.size, 'one chunk for each context')
  }
}
