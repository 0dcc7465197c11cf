/**
 * WebSockets by hand, for tests: every byte of the request and of the frames can be chosen, and
 * what comes back is read strictly (RFC 6455), by nobody's library. Both roles.
 */
import { createHash } from 'node:crypto'
import { once } from 'node:events'
import net from 'node:net'
import type { Duplex, Writable } from 'node:stream'
import type { ExecutionContext } from 'ava'
import { must } from './naive-codec.ts'

export const Opcode = { CONTINUATION: 0, TEXT: 1, BINARY: 2, CLOSE: 8, PING: 9, PONG: 10 } as const

export interface Frame {
  readonly opcode: number
  readonly payload: Buffer
  readonly fin: boolean
}

export interface FrameWishes {
  /** Default: the last frame of its message. */
  readonly fin?: boolean
  /** Default: as the role demands. Null: none. */
  readonly mask?: Uint8Array | null
  /** The reserved bits, 0 to 7. */
  readonly reserved?: number
}

const MASK = Buffer.from([0x12, 0x34, 0x56, 0x78])
const GUID = '258EAFA5-E914-47DA-95CA-C5AB0DC85B11'
const DEADLINE_MS = 20_000

/** Picture: RFC 6455, section 5.2. */
export function encodeFrame(
  opcode: number,
  payload: Uint8Array,
  { fin = true, mask = MASK, reserved = 0 }: FrameWishes = {},
): Buffer {
  const first = (fin ? 0x80 : 0) | (reserved << 4) | opcode
  const second = mask === null ? 0 : 0x80
  let head: Buffer
  if (payload.length < 126) {
    head = Buffer.from([first, second | payload.length])
  } else if (payload.length < 65536) {
    head = Buffer.from([first, second | 126, 0, 0])
    head.writeUInt16BE(payload.length, 2)
  } else {
    head = Buffer.from([first, second | 127, 0, 0, 0, 0, 0, 0, 0, 0])
    head.writeBigUInt64BE(BigInt(payload.length), 2)
  }
  if (mask === null) return Buffer.concat([head, payload])
  const masked = Buffer.from(payload)
  for (let index = 0; index < masked.length; index++) masked[index] ^= mask[index % 4]
  return Buffer.concat([head, mask, masked])
}

/** @returns the first frame and how long it is, or null: it is not complete */
export function decodeFrame(bytes: Buffer, isMasked: boolean): [Frame, number] | null {
  if (bytes.length < 2) return null
  must((bytes[0] & 0x70) === 0, 'reserved bits are set')
  must(((bytes[1] & 0x80) !== 0) === isMasked, isMasked ? 'not masked' : 'masked')
  const short = bytes[1] & 0x7f
  let at = short < 126 ? 2 : short === 126 ? 4 : 10
  const end = at + (isMasked ? 4 : 0)
  if (bytes.length < end) return null
  const length = short < 126 ? short : short === 126 ? bytes.readUInt16BE(2) : longOf(bytes)
  must(short < 126 || length > (short === 126 ? 125 : 65535), 'a length longer than it must be')
  if (bytes.length < end + length) return null
  const mask = bytes.subarray(at, end)
  at = end
  const payload = Buffer.from(bytes.subarray(at, at + length))
  if (isMasked) for (let index = 0; index < length; index++) payload[index] ^= mask[index % 4]
  return [{ opcode: bytes[0] & 0x0f, payload, fin: (bytes[0] & 0x80) !== 0 }, at + length]
}

function longOf(bytes: Buffer): number {
  return Number(bytes.readBigUInt64BE(2))
}

export interface Answer {
  readonly status: number
  readonly headers: ReadonlyMap<string, string>
}

/** One end of a connection that has been upgraded, or was refused. */
export class RawWebSocket {
  readonly socket: Duplex
  readonly answer: Answer
  /** Payload of binary frames; taken by `read`. */
  #pieces: Buffer[] = []
  #count = 0
  #input: Buffer
  readonly #isClient: boolean
  /** All but binary ones. */
  readonly frames: Frame[] = []
  /** Payload lengths of the binary ones. */
  readonly lengths: number[] = []
  readonly closed: Promise<void>
  #target: Writable | null = null
  #isClosed = false
  #failure: Error | null = null
  #wake: () => void = () => {}

  /** @param input what has arrived behind the head */
  constructor(socket: Duplex, answer: Answer, input: Buffer, isClient: boolean) {
    this.socket = socket
    this.answer = answer
    this.#input = Buffer.alloc(0)
    this.#isClient = isClient
    this.closed = new Promise((resolve) => {
      socket.once('close', () => {
        this.#isClosed = true
        this.#wake()
        resolve()
      })
    })
    socket.on('data', (bytes: Buffer) => this.#received(bytes))
    this.#received(input)
  }

  send(opcode: number, payload: Uint8Array, wishes: FrameWishes = {}): void {
    const mask = this.#isClient ? MASK : null
    this.socket.write(encodeFrame(opcode, payload, { mask, ...wishes }))
  }

  sendBytes(payload: Uint8Array): void {
    this.send(Opcode.BINARY, payload)
  }

  /** Exactly so many bytes, whatever frames they came in. */
  async read(count: number): Promise<Buffer> {
    await this.until(() => this.#count >= count, `${count} bytes`)
    const bytes = Buffer.concat(this.#pieces)
    this.#pieces = [bytes.subarray(count)]
    this.#count -= count
    return bytes.subarray(0, count)
  }

  /** The code of the other end's close frame. */
  async closeCode(): Promise<number> {
    const find = (): Frame | undefined => this.frames.find((each) => each.opcode === Opcode.CLOSE)
    await this.until(() => find() !== undefined, 'a close frame')
    const payload = find()?.payload ?? Buffer.alloc(0)
    return payload.length === 0 ? 1005 : payload.readUInt16BE(0)
  }

  /** From now on payload goes there instead of waiting for `read`. */
  pipeTo(target: Writable): void {
    this.#target = target
    for (const piece of this.#pieces.splice(0)) target.write(piece)
    void this.closed.then(() => target.end())
  }

  async until(condition: () => boolean, what: string): Promise<void> {
    const deadline = setTimeout(() => this.socket.destroy(), DEADLINE_MS)
    while (!condition() && this.#failure === null && !this.#isClosed) {
      await new Promise<void>((resolve) => (this.#wake = resolve))
    }
    clearTimeout(deadline)
    if (this.#failure !== null) throw this.#failure
    if (!condition()) throw new Error(`closed before ${what}`)
  }

  #received(bytes: Buffer): void {
    this.#input = Buffer.concat([this.#input, bytes])
    try {
      for (;;) {
        const decoded = decodeFrame(this.#input, !this.#isClient)
        if (decoded === null) break
        const [frame, length] = decoded
        this.#input = this.#input.subarray(length)
        if (frame.opcode === Opcode.BINARY) {
          must(frame.fin, 'a message in more than one frame')
          this.lengths.push(frame.payload.length)
          if (this.#target === null) this.#pieces.push(frame.payload)
          else this.#target.write(frame.payload)
          this.#count += frame.payload.length
        } else this.frames.push(frame)
      }
    } catch (error) {
      this.#failure = error as Error
    }
    this.#wake()
  }
}

export interface RequestWishes {
  /** Default: `/`. */
  readonly path?: string
  /** Added to those of an upgrade; null takes one away. */
  readonly headers?: Readonly<Record<string, string | null>>
}

/** Asks for an upgrade on a socket that is connected. */
export async function upgrade(
  t: ExecutionContext,
  socket: Duplex,
  { path = '/', headers = {} }: RequestWishes = {},
): Promise<RawWebSocket> {
  t.teardown(() => socket.destroy())
  socket.on('error', () => {})
  const key = 'dGhlIHNhbXBsZSBub25jZQ=='
  const all = {
    Host: 'localhost',
    Upgrade: 'websocket',
    Connection: 'Upgrade',
    'Sec-WebSocket-Key': key,
    'Sec-WebSocket-Version': '13',
    ...headers,
  }
  const lines = Object.entries(all).filter(([, value]) => value !== null)
  const text = lines.map(([name, value]) => `${name}: ${value}\r\n`).join('')
  socket.write(`GET ${path} HTTP/1.1\r\n${text}\r\n`)
  const [head, rest] = await readHead(socket)
  const [first, ...others] = head.split('\r\n')
  const status = Number(/^HTTP\/1\.1 (\d{3}) /.exec(first)?.[1])
  const answer = { status, headers: headersOf(others) }
  if (status === 101) must(answer.headers.get('sec-websocket-accept') === acceptOf(key), 'accept')
  return new RawWebSocket(socket, answer, status === 101 ? rest : Buffer.alloc(0), true)
}

/** A connection to a listening WebSocket, upgraded or refused. */
export async function connect(
  t: ExecutionContext,
  target: net.NetConnectOpts,
  wishes: RequestWishes = {},
): Promise<RawWebSocket> {
  const socket = net.connect(target)
  await once(socket, 'connect')
  return upgrade(t, socket, wishes)
}

/** The server's part on a new connection. @param status anything but 101 refuses */
export async function acceptUpgrade(
  socket: Duplex,
  status = 101,
): Promise<{ readonly head: string; readonly webSocket: RawWebSocket }> {
  socket.on('error', () => {})
  const [head, rest] = await readHead(socket)
  const headers = headersOf(head.split('\r\n').slice(1))
  const accept = acceptOf(headers.get('sec-websocket-key') ?? '')
  const subprotocol = headers.get('sec-websocket-protocol')
  const lines = [
    `HTTP/1.1 ${status} Whatever`,
    'Upgrade: websocket',
    'Connection: Upgrade',
    `Sec-WebSocket-Accept: ${accept}`,
    // Like bmcweb, which sends back what it got.
    ...(subprotocol === undefined ? [] : [`Sec-WebSocket-Protocol: ${subprotocol}`]),
  ]
  socket.write(`${lines.join('\r\n')}\r\n\r\n`)
  if (status !== 101) socket.end()
  return { head, webSocket: new RawWebSocket(socket, { status, headers }, rest, false) }
}

function acceptOf(key: string): string {
  return createHash('sha1')
    .update(key + GUID)
    .digest('base64')
}

function headersOf(lines: readonly string[]): Map<string, string> {
  return new Map(
    lines.map((line) => {
      const colon = line.indexOf(':')
      return [line.slice(0, colon).toLowerCase(), line.slice(colon + 1).trim()]
    }),
  )
}

/** Up to the empty line, and what came behind it. */
async function readHead(socket: Duplex): Promise<[string, Buffer]> {
  let bytes: Buffer = Buffer.alloc(0)
  for (;;) {
    const end = bytes.indexOf('\r\n\r\n')
    if (end >= 0) {
      socket.removeAllListeners('data')
      return [bytes.toString('latin1', 0, end), bytes.subarray(end + 4)]
    }
    const chunk = await new Promise<Buffer | null>((resolve) => {
      socket.once('data', resolve)
      socket.once('close', () => resolve(null))
    })
    if (chunk === null) throw new Error(`closed after: ${bytes.toString('latin1')}`)
    bytes = Buffer.concat([bytes, chunk])
  }
}
