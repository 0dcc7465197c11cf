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
import { infoData, metaData, option, parseOptionReplies, request, u32 } from './naive-codec.ts'
import type { WireRequest } from './naive-codec.ts'
import { ReplyChecker } from './reply-checker.ts'
import type { Answer } from './reply-checker.ts'

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

export type Fields = Omit<WireRequest, 'cookie'>

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

  /** @param structured with base:allocation selected too */
  async connect(size: number, structured = true): Promise<MemoryClient> {
    const stream = this.#io.connect()
    const client = new MemoryClient(stream, size, structured)
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
  readonly #size: number
  readonly #structured: boolean
  #checker: ReplyChecker
  #nextCookie = 1n
  #early = Buffer.alloc(0)

  constructor(stream: FakeStream, size: number, structured: boolean) {
    this.stream = stream
    this.#size = size
    this.#structured = structured
    this.#checker = this.#newChecker(new Map())
  }

  get outstanding(): number {
    return this.#checker.outstanding
  }

  handshake(): void {
    const contexts = metaData('', ['base:allocation'])
    const structured = this.#structured ? [option(8), option(10, contexts)] : []
    this.stream.push(Buffer.concat([u32(3), ...structured, option(7, infoData(''))]))
  }

  /** The bytes of a request; its reply is expected from now on. */
  prepare(fields: Fields, payload: Uint8Array = EMPTY): { bytes: Buffer; cookie: bigint } {
    const cookie = this.#nextCookie++
    const { command, flags = 0, offset = 0, length = 0 } = fields
    this.#checker.sent({ command, cookie, flags, offset: BigInt(offset), length })
    return { bytes: Buffer.concat([request({ ...fields, cookie }), payload]), cookie }
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
    // Greeting; ACK; context and ACK; INFO_EXPORT and ACK.
    const expected = 18 + (this.#structured ? 20 + 20 + 4 + 15 + 20 : 0) + 20 + 12 + 20
    if (this.#early.length < expected) return
    const replies = parseOptionReplies(this.#early.subarray(18, expected))
    const contexts = replies.filter((reply) => reply.type === 4)
    this.#checker = this.#newChecker(
      new Map(contexts.map(({ data }) => [data.readUInt32BE(0), data.toString('utf8', 4)])),
    )
    this.isAttached = true
    if (this.#early.length > expected)
      this.answers.push(...this.#checker.receive(this.#early.subarray(expected)))
  }

  #newChecker(contexts: ReadonlyMap<number, string>): ReplyChecker {
    return new ReplyChecker({ size: this.#size, structured: this.#structured, contexts })
  }
}

const EMPTY = new Uint8Array(0)
