/**
 * Asks any NBD server odd questions, and says in a few words what it answers. Trusts nobody: each
 * wait ends after a while with TIMEOUT, and a server that leaves is CLOSED.
 */
import net from 'node:net'
import { infoData, option, request, u32 } from './naive-codec.ts'

export interface Place {
  readonly host: string
  readonly port: number
  /** Of the export to ask about; the default one has none. */
  readonly name: string
}

/** What an option carries; may depend on the name of the export. */
export type OptionData = Uint8Array | ((name: string) => Uint8Array)

/** The server has said what it had to say. */
export class Gone extends Error {}

export const WAIT_MS = 4000

const COOKIE = 0x1122334455667788n
const ERRORS: Readonly<Record<number, string>> = {
  0: 'OK',
  1: 'EPERM',
  5: 'EIO',
  12: 'ENOMEM',
  22: 'EINVAL',
  28: 'ENOSPC',
  75: 'EOVERFLOW',
  95: 'ENOTSUP',
}
const REPLIES: Readonly<Record<number, string>> = {
  1: 'ACK',
  2: 'SERVER',
  3: 'INFO',
  4: 'META',
  0x80000001: 'ERR_UNSUP',
  0x80000002: 'ERR_POLICY',
  0x80000003: 'ERR_INVALID',
  0x80000006: 'ERR_UNKNOWN',
  0x80000009: 'ERR_TOO_BIG',
}
const CHUNKS: Readonly<Record<number, string>> = { 0: 'NONE', 1: 'DATA', 2: 'HOLE', 5: 'STATUS' }

export interface Reply {
  readonly name: string
  readonly data: Buffer
}

export interface Ask {
  readonly command: number
  readonly offset?: bigint | number
  readonly length?: number
  readonly flags?: number
  readonly magic?: number
  readonly payload?: Uint8Array
}

export class PeerClient {
  readonly socket: net.Socket
  readonly name: string
  size = 0
  transmissionFlags = 0
  /** Minimum, preferred, maximum; none if not told. */
  blockSizes: number[] = []
  #received = Buffer.alloc(0)
  #isOver = false
  #wake: () => void = () => {}

  private constructor(place: Place) {
    this.name = place.name
    this.socket = net.connect({
      host: place.host,
      port: place.port,
      allowHalfOpen: true,
      noDelay: true,
    })
    this.socket.on('data', (bytes) => this.#event(bytes, false))
    for (const end of ['error', 'end', 'close'])
      this.socket.on(end, () => this.#event(Buffer.alloc(0), true))
  }

  /** Reads the greeting and sends the client flags. */
  static async connect(place: Place, flags = 3): Promise<PeerClient> {
    const client = new PeerClient(place)
    await client.read(18)
    client.write(u32(flags))
    return client
  }

  write(bytes: Uint8Array): void {
    this.socket.write(bytes)
  }

  /** Exactly so many bytes; throws `Gone`. */
  async read(count: number): Promise<Buffer> {
    while (this.#received.length < count) {
      if (this.#isOver) throw new Gone('CLOSED')
      let timer: NodeJS.Timeout | undefined
      const late = new Promise<boolean>((resolve) => {
        timer = setTimeout(() => resolve(true), WAIT_MS)
      })
      const woken = new Promise<boolean>((resolve) => (this.#wake = () => resolve(false)))
      const isLate = await Promise.race([late, woken])
      clearTimeout(timer)
      if (isLate) throw new Gone('TIMEOUT')
    }
    const bytes = this.#received.subarray(0, count)
    this.#received = this.#received.subarray(count)
    return bytes
  }

  /** The replies to an option, the final one included. */
  async replies(): Promise<Reply[]> {
    const replies: Reply[] = []
    for (;;) {
      const header = await this.read(20)
      const type = header.readUInt32BE(12)
      const data = await this.read(header.readUInt32BE(16))
      replies.push({ name: REPLIES[type] ?? type.toString(16), data })
      if (type === 1 || type >= 0x80000000) return replies
    }
  }

  async ask(code: number, data?: OptionData, length?: number): Promise<string> {
    this.write(option(code, typeof data === 'function' ? data(this.name) : data, length))
    return namesOf(await this.replies())
  }

  /** @returns the final reply to GO, or how the connection ended */
  async go(name = this.name, types: readonly number[] = [3]): Promise<string> {
    return (await this.goReplies(7, name, types)).split(' ').at(-1) ?? ''
  }

  async goReplies(code: number, name: string, types: readonly number[] = [3]): Promise<string> {
    this.write(option(code, infoData(name, types)))
    const replies = await this.replies()
    for (const { data } of replies.filter((reply) => reply.name === 'INFO')) {
      if (data.readUInt16BE(0) === 0) {
        this.size = Number(data.readBigUInt64BE(2))
        this.transmissionFlags = data.readUInt16BE(10)
      }
      if (data.readUInt16BE(0) === 3)
        this.blockSizes = [2, 6, 10].map((at) => data.readUInt32BE(at))
    }
    return namesOf(replies)
  }

  /** @returns what is answered; `then ...` if the connection is of no use afterwards */
  async command({ payload, ...fields }: Ask): Promise<string> {
    const header = request({ ...fields, cookie: COOKIE })
    this.write(payload === undefined ? header : Buffer.concat([header, payload]))
    const length = fields.command === 0 ? (fields.length ?? 0) : 0
    const answer = await this.#answer(length)
    return `${answer}${await this.#afterlife()}`
  }

  async #afterlife(): Promise<string> {
    try {
      this.write(request({ command: 0, cookie: COOKIE, length: 512 }))
      const answer = await this.#answer(512)
      return /^(OK|DATA|HOLE)$/.test(answer) ? '' : ` then ${answer}`
    } catch (error) {
      if (error instanceof Gone) return ` then ${error.message}`
      throw error
    }
  }

  async #answer(length: number): Promise<string> {
    const names: string[] = []
    for (;;) {
      const magic = (await this.read(4)).readUInt32BE(0)
      if (magic === 0x67446698) {
        const error = (await this.read(12)).readUInt32BE(0)
        if (error === 0) await this.read(length)
        return ERRORS[error] ?? `error ${error}`
      }
      if (magic !== 0x668e33ef) throw new Gone(`reply magic ${magic.toString(16)}`)
      const header = await this.read(16)
      const [flags, type] = [header.readUInt16BE(0), header.readUInt16BE(2)]
      const data = await this.read(header.readUInt32BE(12))
      names.push(type >= 0x8000 ? `${ERRORS[data.readUInt32BE(0)]} chunk` : CHUNKS[type])
      if ((flags & 1) !== 0) return [...new Set(names)].join(' ')
    }
  }

  #event(bytes: Buffer, isOver: boolean): void {
    this.#received = Buffer.concat([this.#received, bytes])
    this.#isOver ||= isOver
    this.#wake()
  }
}

function namesOf(replies: readonly Reply[]): string {
  return replies.map(({ name }) => name).join(' ')
}
