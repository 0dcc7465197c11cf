/**
 * Asks an NBD server what it offers: `chunknbd info URI`, health checks, tests. It stays in the
 * handshake (LIST, INFO, LIST_META_CONTEXT) and never reads or writes a disk.
 *
 * A server is trusted no more than a client: lengths, counts and waiting times are bounded.
 */
import type { ConnectionOptions } from 'node:tls'
import { decodeContext, decodeInfo, decodeServer, infosWanted } from './client-replies.ts'
import type { ExportInfo, ListedExport } from './client-replies.ts'
import { ClientError, ClientStream } from './client-stream.ts'
import { clientTls } from './client-tls.ts'
import { CLIENT_REPLIES_MAX, CLIENT_REPLY_BYTES_MAX, CLIENT_WAIT_MS_MAX } from './limits.ts'
import { OptionError, OptionReader } from './option-reader.ts'
import {
  ClientFlag,
  HandshakeFlag,
  HeaderSize,
  Magic,
  Option,
  OptionReply,
  STRING_BYTES_MAX,
} from './protocol.ts'
import type { NbdUri } from './uri.ts'

interface Reply {
  readonly type: number
  readonly data: Buffer
}

export class NbdClient {
  readonly #stream: ClientStream
  readonly #uri: NbdUri
  #structuredReplies = false
  #extendedHeaders = false

  /** @param waitMs for the connection, and for each answer */
  static async connect(uri: NbdUri, waitMs = CLIENT_WAIT_MS_MAX): Promise<NbdClient> {
    const tls = uri.tls === null ? null : await clientTls(uri.address, uri.tls)
    const client = new NbdClient(await ClientStream.connect(uri, waitMs), uri)
    try {
      await client.#greet()
      // Who asks for TLS is never served without.
      if (tls !== null) await client.#secure(tls)
      client.#structuredReplies = (await client.#tryAsk(Option.STRUCTURED_REPLY)) !== null
      client.#extendedHeaders = (await client.#tryAsk(Option.EXTENDED_HEADERS)) !== null
      return client
    } catch (error) {
      client.#stream.destroy()
      throw error
    }
  }

  private constructor(stream: ClientStream, uri: NbdUri) {
    this.#stream = stream
    this.#uri = uri
  }

  /** All exports which the server is willing to name. */
  async list(): Promise<ListedExport[]> {
    const replies = await this.#ask(Option.LIST)
    return replies
      .filter((reply) => reply.type === OptionReply.SERVER)
      .map((reply) => this.#decode(reply, decodeServer))
  }

  /** @param name default: the export of the URI */
  async info(name = this.#uri.exportName): Promise<ExportInfo> {
    const nameBytes = Buffer.from(name)
    const types = infosWanted.flatMap((type) => [0, type])
    const request = [
      u32(nameBytes.length),
      nameBytes,
      Buffer.from([0, infosWanted.length, ...types]),
    ]
    const found: Partial<ExportInfo> = {}
    for (const reply of await this.#ask(Option.INFO, Buffer.concat(request)))
      if (reply.type === OptionReply.INFO) Object.assign(found, this.#decode(reply, decodeInfo))
    const { size, flags, canonicalName = name, description = '', blockSizes = null } = found
    if (size === undefined || flags === undefined) throw this.#broken('INFO without the size')
    const contexts = await this.#contexts(nameBytes)
    const structuredReplies = this.#structuredReplies
    const extendedHeaders = this.#extendedHeaders
    return {
      name,
      canonicalName,
      description,
      size,
      flags,
      blockSizes,
      structuredReplies,
      extendedHeaders,
      contexts,
    }
  }

  /** Says goodbye. Call it once, also after an error. */
  async close(): Promise<void> {
    try {
      await this.#ask(Option.ABORT)
    } catch (error) {
      // Spec, ABORT: "gracefully handle the server closing the connection" without a reply.
      if (!(error instanceof ClientError)) throw error
    } finally {
      this.#stream.destroy()
    }
  }

  async #greet(): Promise<void> {
    const greeting = await this.#stream.read(HeaderSize.GREETING)
    if (greeting.readUInt32BE(0) !== Magic.INIT_HIGH || greeting.readUInt32BE(4) !== Magic.INIT_LOW)
      throw this.#broken('this is no NBD server')
    const newstyle =
      greeting.readUInt32BE(8) === Magic.OPTION_HIGH &&
      greeting.readUInt32BE(12) === Magic.OPTION_LOW &&
      (greeting.readUInt16BE(16) & HandshakeFlag.FIXED_NEWSTYLE) !== 0
    if (!newstyle) throw this.#broken('the server does not speak fixed newstyle NBD')
    const noZeroes = greeting.readUInt16BE(16) & HandshakeFlag.NO_ZEROES
    this.#stream.write(u32(ClientFlag.FIXED_NEWSTYLE | noZeroes))
  }

  async #secure(options: ConnectionOptions): Promise<void> {
    await this.#ask(Option.STARTTLS)
    await this.#stream.secure(options)
  }

  /** Names of the metadata contexts; none if the server does not know the option. */
  async #contexts(nameBytes: Buffer): Promise<string[]> {
    if (!this.#structuredReplies) return []
    const request = Buffer.concat([u32(nameBytes.length), nameBytes, u32(0)])
    const replies = (await this.#tryAsk(Option.LIST_META_CONTEXT, request)) ?? []
    return replies
      .filter((reply) => reply.type === OptionReply.META_CONTEXT)
      .map((reply) => this.#decode(reply, decodeContext))
  }

  /** @returns null: the server refuses */
  async #tryAsk(option: number, data?: Buffer): Promise<Reply[] | null> {
    try {
      return await this.#ask(option, data)
    } catch (error) {
      if (error instanceof ClientError && error.code === 'NBD_REFUSED') return null
      throw error
    }
  }

  /** The replies to an option, without the final ACK. */
  async #ask(option: number, data: Buffer = Buffer.alloc(0)): Promise<Reply[]> {
    const header = [Magic.OPTION_HIGH, Magic.OPTION_LOW, option, data.length].map(u32)
    this.#stream.write(Buffer.concat([...header, data]))
    const replies: Reply[] = []
    for (let left = CLIENT_REPLIES_MAX; left > 0; left--) {
      const reply = await this.#reply(option)
      if (reply.type === OptionReply.ACK) return replies
      if (reply.type > ERROR_BIT) throw this.#refused(option, reply)
      replies.push(reply)
    }
    throw this.#broken(`more than ${CLIENT_REPLIES_MAX} replies to one option`)
  }

  async #reply(option: number): Promise<Reply> {
    const header = await this.#stream.read(HeaderSize.OPTION_REPLY)
    const length = header.readUInt32BE(16)
    const isReply =
      header.readUInt32BE(0) === Magic.OPTION_REPLY_HIGH &&
      header.readUInt32BE(4) === Magic.OPTION_REPLY_LOW &&
      header.readUInt32BE(8) === option
    if (!isReply) throw this.#broken(`no reply to option ${option} where one must be`)
    if (length > CLIENT_REPLY_BYTES_MAX) throw this.#broken(`a reply of ${length} bytes`)
    return { type: header.readUInt32BE(12), data: await this.#stream.read(length) }
  }

  #decode<T>(reply: Reply, decode: (data: OptionReader) => T): T {
    try {
      return decode(new OptionReader(reply.data))
    } catch (error) {
      throw error instanceof OptionError ? this.#broken(error.message) : error
    }
  }

  #broken(problem: string): ClientError {
    return new ClientError('NBD_PROTOCOL', this.#uri, `not understood: ${problem}`)
  }

  #refused(option: number, reply: Reply): ClientError {
    const error = nameIn(OptionReply, reply.type)
    const advice = reply.type === OptionReply.ERR_TLS_REQD ? ' (use nbds:// for TLS)' : ''
    const what = `the server refuses ${nameIn(Option, option)} with ${error}${advice}`
    const text = reply.data.toString('utf8', 0, STRING_BYTES_MAX).replaceAll(UNPRINTABLE, '?')
    return new ClientError('NBD_REFUSED', this.#uri, text === '' ? what : `${what}: ${text}`)
  }
}

/** Replies above this are errors. */
const ERROR_BIT = 0x8000_0000

/** A server's text goes to a terminal: no control characters. */
const UNPRINTABLE = /\p{Cc}/gu

function nameIn(table: Readonly<Record<string, number>>, value: number): string {
  const entry = Object.entries(table).find(([, number]) => number === value)
  return entry === undefined ? `0x${value.toString(16)}` : entry[0]
}

function u32(value: number): Buffer {
  const bytes = Buffer.alloc(4)
  bytes.writeUInt32BE(value)
  return bytes
}
