/**
 * A client for tests over a real socket: promises, but every byte can be chosen by the test, and
 * every byte of the server goes through the strict readers. Rejects all waiters on a violation,
 * when the server closes, and after a deadline, so that a test fails instead of hanging.
 */
import net from 'node:net'
import {
  infoData,
  isFinal,
  metaData,
  must,
  option,
  optionReplySize,
  parseGreeting,
  parseOptionReplies,
  u32,
} from './naive-codec.ts'
import type { OptionReplyMessage } from './naive-codec.ts'
import { ReplyChecker } from './reply-checker.ts'
import type { Agreement, Answer } from './reply-checker.ts'
import { encoded } from './wire-style.ts'
import type { Style, StyledRequest } from './wire-style.ts'

export type Target = { readonly host: string; readonly port: number } | { readonly path: string }

export interface HandshakeWishes {
  readonly exportName?: string
  /** Default `structured`. */
  readonly style?: Style
  /** Metadata contexts to select; not with `simple`. */
  readonly contexts?: readonly string[]
}

export interface Negotiated extends Agreement {
  readonly flags: number
}

interface Waiter<T> {
  resolve(value: T): void
  reject(reason: Error): void
}

const DEADLINE_MS = 60_000

export class RawClient {
  readonly socket: net.Socket
  /** Resolves when the server has closed the connection (also by a reset). */
  readonly closed: Promise<void>
  #failure: Error | null = null
  #received: Buffer = Buffer.alloc(0)
  #reader: (Waiter<Buffer> & { readonly count: number }) | null = null
  #checker: ReplyChecker | null = null
  readonly #waiting = new Map<bigint, Waiter<Answer>>()
  #nextCookie = 1n
  #style: Style = 'simple'

  static async connect(target: Target): Promise<RawClient> {
    const socket = net.connect({ ...target })
    await new Promise<void>((resolve, reject) => {
      socket.once('connect', resolve)
      socket.once('error', reject)
    })
    return new RawClient(socket)
  }

  constructor(socket: net.Socket) {
    this.socket = socket
    socket.setNoDelay(true)
    socket.setTimeout(DEADLINE_MS, () => {
      this.#fail(new Error(`nothing happened on the connection for ${DEADLINE_MS} ms`))
      socket.destroy()
    })
    socket.on('data', (bytes) => this.#data(bytes))
    socket.on('error', (error) => this.#fail(error))
    this.closed = new Promise((resolve) => {
      socket.once('close', () => {
        this.#fail(new Error('the server closed the connection'))
        resolve()
      })
    })
  }

  /** Anything, right or wrong. */
  write(bytes: Uint8Array): void {
    this.socket.write(bytes)
  }

  /** Exactly `count` bytes of the handshake. One call at a time. */
  read(count: number): Promise<Buffer> {
    return new Promise((resolve, reject) => {
      this.#reader = { count, resolve, reject }
      if (this.#failure !== null && this.#received.length < count) reject(this.#failure)
      else this.#serveReader()
    })
  }

  /** Reads the greeting, sends the client flags. */
  async greet(clientFlags = 3): Promise<number> {
    const flags = parseGreeting(await this.read(18))
    this.write(u32(clientFlags))
    return flags
  }

  /** Sends an option and reads its replies, the final one included. */
  async option(code: number, data?: Uint8Array): Promise<OptionReplyMessage[]> {
    this.write(option(code, data))
    const replies: OptionReplyMessage[] = []
    for (;;) {
      const header = await this.read(20)
      const payload = await this.read(optionReplySize(header) - 20)
      const [reply] = parseOptionReplies(Buffer.concat([header, payload]))
      must(reply.option === code, `reply to option ${reply.option} instead of ${code}`)
      replies.push(reply)
      if (isFinal(reply)) return replies
    }
  }

  /** The whole handshake; throws if the server refuses. The transmission phase follows. */
  async handshake(wishes?: HandshakeWishes): Promise<Negotiated> {
    await this.greet()
    return this.negotiate(wishes)
  }

  /** All of it that is behind the greeting. */
  async negotiate(wishes: HandshakeWishes = {}): Promise<Negotiated> {
    const { exportName = '', style = 'structured', contexts: queries = [] } = wishes
    if (style !== 'simple') succeeded(await this.option(style === 'structured' ? 8 : 11))
    this.#style = style
    const contexts = new Map<number, string>()
    if (queries.length > 0) {
      for (const { type, data } of succeeded(await this.option(10, metaData(exportName, queries))))
        if (type === 4) contexts.set(data.readUInt32BE(0), data.toString('utf8', 4))
    }
    const replies = succeeded(await this.option(7, infoData(exportName, [3])))
    const infos = replies.filter((reply) => reply.type === 3).map((reply) => reply.data)
    const info = infos.find((data) => data.readUInt16BE(0) === 0)
    must(info !== undefined, 'GO without INFO_EXPORT')
    const size = Number(info.readBigUInt64BE(2))
    const flags = info.readUInt16BE(10)
    const [structured, extended] = [style === 'structured', style === 'extended']
    const negotiated = { size, flags, structured, extended, contexts }
    this.transmission(negotiated)
    return negotiated
  }

  /** From now on what arrives is read as replies to requests. */
  transmission(agreement: Agreement): void {
    this.#checker = new ReplyChecker(agreement)
    const early = this.#received
    this.#received = Buffer.alloc(0)
    if (early.length > 0) this.#data(early)
  }

  /** Sends a request (a cookie is chosen if none is given) and waits for its whole reply. */
  request(fields: Omit<StyledRequest, 'cookie'>, payload?: Uint8Array): Promise<Answer> {
    const cookie = this.#nextCookie++
    const answer = this.expect({ ...fields, cookie })
    this.write(encoded(this.#style, { ...fields, cookie }).bytes)
    if (payload !== undefined) this.write(payload)
    return answer
  }

  /** The reply to a request whose bytes the test writes itself. */
  expect(fields: StyledRequest): Promise<Answer> {
    if (this.#checker === null) throw new Error('transmission() comes first')
    if (this.#failure !== null) return Promise.reject(this.#failure)
    const { cookie } = fields
    this.#checker.sent(encoded(this.#style, fields).sent)
    return new Promise((resolve, reject) => this.#waiting.set(cookie, { resolve, reject }))
  }

  /** Sends DISC and waits until the server has closed. */
  async disconnect(): Promise<void> {
    this.write(encoded(this.#style, { command: 2, cookie: 0n }).bytes)
    await this.closed
    this.#checker?.finish()
  }

  /** Closes without a word and without waiting for anything. */
  destroy(): void {
    this.socket.destroy()
  }

  #data(bytes: Buffer): void {
    if (this.#checker === null) {
      this.#received = Buffer.concat([this.#received, bytes])
      return this.#serveReader()
    }
    try {
      for (const answer of this.#checker.receive(bytes)) {
        const { cookie } = answer.request
        this.#waiting.get(cookie)?.resolve(answer)
        this.#waiting.delete(cookie)
      }
    } catch (error) {
      this.#fail(error as Error)
      this.socket.destroy()
    }
  }

  #serveReader(): void {
    const reader = this.#reader
    if (reader === null || this.#received.length < reader.count) return
    this.#reader = null
    const bytes = this.#received.subarray(0, reader.count)
    this.#received = this.#received.subarray(reader.count)
    reader.resolve(bytes)
  }

  #fail(error: Error): void {
    this.#failure ??= error
    this.#reader?.reject(this.#failure)
    this.#reader = null
    for (const waiter of this.#waiting.values()) waiter.reject(this.#failure)
    this.#waiting.clear()
  }
}

function succeeded(replies: OptionReplyMessage[]): OptionReplyMessage[] {
  const { option: code, type, data } = replies[replies.length - 1]
  if (type === 1) return replies
  throw new Error(`option ${code} failed with 0x${type.toString(16)}: ${data.toString()}`)
}
