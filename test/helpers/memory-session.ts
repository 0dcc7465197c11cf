/**
 * A server and its clients in one process, over fake streams: everything happens when a test lets
 * it. All that the server says goes through the strict `ReplyChecker`.
 */
import assert from 'node:assert/strict'
import type { Device } from '../../device/device.ts'
import type { Log } from '../../nbd/log.ts'
import { Server } from '../../nbd/server.ts'
import { FakeIo } from './fake-stream.ts'
import type { FakeStream } from './fake-stream.ts'
import { infoData, metaData, option, parseOptionReplies, u32 } from './naive-codec.ts'
import { ReplyChecker } from './reply-checker.ts'
import type { Answer, SentRequest } from './reply-checker.ts'
import { encoded, styleOption } from './wire-style.ts'
import type { Style, StyledRequest } from './wire-style.ts'

export const Command = {
  READ: 0,
  WRITE: 1,
  DISC: 2,
  FLUSH: 3,
  TRIM: 4,
  CACHE: 5,
  WRITE_ZEROES: 6,
  BLOCK_STATUS: 7,
} as const

export const Flag = { FUA: 1, NO_HOLE: 2, DF: 4, REQ_ONE: 8, FAST_ZERO: 16 } as const

export const silentLog: Log = {
  trace() {},
  debug() {},
  info() {},
  warn() {},
  isLevelEnabled: () => false,
}

export type Fields = Omit<StyledRequest, 'cookie'>

export class MemorySession {
  readonly server: Server
  readonly clients: MemoryClient[] = []
  readonly #io = new FakeIo()

  private constructor(device: Device, log: Log) {
    const entry = { name: '', description: '', device }
    const exports = { find: (name: string) => (name === '' ? entry : null), list: () => [entry] }
    this.server = new Server({ io: this.#io.io, exports, log })
  }

  static async start(device: Device, log = silentLog): Promise<MemorySession> {
    const session = new MemorySession(device, log)
    await session.server.listen({ kind: 'unix', path: 'fake' })
    return session
  }

  /** Selects the contexts too, unless the style is simple. */
  async connect(
    size: number,
    style: Style = 'structured',
    contexts: readonly string[] = ['base:allocation'],
  ): Promise<MemoryClient> {
    const stream = this.#io.connect()
    const client = new MemoryClient(stream, size, style, style === 'simple' ? [] : contexts)
    this.clients.push(client)
    client.handshake()
    await this.until(() => client.isAttached)
    return client
  }

  /** A stream on which nothing was said yet. */
  connectRaw(): FakeStream {
    return this.#io.connect()
  }

  /** One event on each stream, then whatever the server has put off. */
  async step(): Promise<boolean> {
    let progress = false
    for (const client of this.clients) progress = client.step() || progress
    await new Promise((resolve) => setImmediate(resolve))
    return progress
  }

  /** Until nothing moves any more by itself. */
  async settle(): Promise<void> {
    for (let quiet = 0; quiet < 3;) quiet = (await this.step()) ? 0 : quiet + 1
  }

  async until(condition: () => boolean, stepsMax = 100_000): Promise<void> {
    for (let steps = 0; !condition(); steps++) {
      assert(steps < stepsMax, 'what the test waits for does not happen')
      await this.step()
    }
  }
}

export class MemoryClient {
  readonly stream: FakeStream
  readonly answers: Answer[] = []
  isAttached = false
  /** What the server said; 0 before. */
  size = 0
  readonly #size: number
  readonly #style: Style
  readonly #contexts: readonly string[]
  /** Id to name of the contexts that were selected. */
  contextIds: ReadonlyMap<number, string> = new Map()
  #checker: ReplyChecker
  #nextCookie = 1n
  #early = Buffer.alloc(0)

  constructor(stream: FakeStream, size: number, style: Style, contexts: readonly string[]) {
    this.stream = stream
    this.#size = size
    this.#style = style
    this.#contexts = contexts
    this.#checker = this.#newChecker()
  }

  get outstanding(): number {
    return this.#checker.outstanding
  }

  handshake(): void {
    const select = this.#contexts.length > 0 ? [option(10, metaData('', this.#contexts))] : []
    const go = option(7, infoData(''))
    this.stream.push(Buffer.concat([u32(3), styleOption(this.#style), ...select, go]))
  }

  /** The bytes of a request; its reply is expected from now on. */
  prepare(fields: Fields, payload?: Uint8Array): { bytes: Buffer; cookie: bigint } {
    const cookie = this.#nextCookie++
    const { bytes, sent } = encoded(this.#style, { ...fields, cookie }, payload)
    this.#checker.sent(sent)
    return { bytes, cookie }
  }

  /** The test sends the bytes itself. */
  expect(sent: SentRequest): void {
    this.#checker.sent(sent)
  }

  /** Sends a request. @returns its cookie */
  send(fields: Fields, payload?: Uint8Array): bigint {
    const { bytes, cookie } = this.prepare(fields, payload)
    this.stream.push(bytes)
    return cookie
  }

  write(offset: number, payload: Uint8Array, flags = 0): bigint {
    return this.send({ command: Command.WRITE, offset, length: payload.length, flags }, payload)
  }

  read(offset: number, length: number, flags = 0): bigint {
    return this.send({ command: Command.READ, offset, length, flags })
  }

  /** The answer to the request with this cookie, if it has come. */
  answerTo(cookie: bigint): Answer | undefined {
    return this.answers.find((answer) => answer.request.cookie === cookie)
  }

  /** Nothing of a reply is missing. @param unanswered requests that may be without one */
  finish(unanswered = 0): void {
    this.#checker.finish(unanswered)
  }

  step(): boolean {
    const progress = this.stream.step()
    const bytes = this.stream.take()
    if (bytes.length === 0) return progress
    if (this.isAttached) this.answers.push(...this.#checker.receive(bytes))
    else this.#handshakeOutput(bytes)
    return true
  }

  #handshakeOutput(bytes: Buffer): void {
    this.#early = Buffer.concat([this.#early, bytes])
    // Greeting; ACK of the style; contexts and ACK; INFO_EXPORT and ACK.
    const names = this.#contexts.map((name) => 20 + 4 + name.length)
    const ended = this.#contexts.length > 0 ? [...names, 20] : []
    const expected = [18, this.#style === 'simple' ? 0 : 20, ...ended, 20 + 12, 20].reduce(
      (sum, bytes) => sum + bytes,
    )
    if (this.#early.length < expected) return
    const replies = parseOptionReplies(this.#early.subarray(18, expected))
    const contexts = replies.filter((reply) => reply.type === 4)
    this.contextIds = new Map(
      contexts.map(({ data }) => [data.readUInt32BE(0), data.toString('utf8', 4)]),
    )
    this.#checker = this.#newChecker()
    const info = replies.find(({ type, data }) => type === 3 && data.readUInt16BE(0) === 0)
    this.size = Number(info?.data.readBigUInt64BE(2))
    this.isAttached = true
    if (this.#early.length > expected)
      this.answers.push(...this.#checker.receive(this.#early.subarray(expected)))
  }

  #newChecker(): ReplyChecker {
    return new ReplyChecker({
      size: this.#size,
      structured: this.#style === 'structured',
      extended: this.#style === 'extended',
      contexts: this.contextIds,
    })
  }
}
