/**
 * Makes a new client stream of known ones: messages are dropped, doubled, moved and borrowed from
 * other streams, fields get values at the borders of what they may hold, lengths lie, bytes flip,
 * the end is missing, TLS begins somewhere.
 */
import type { Random } from '../helpers/random.ts'
import { option } from '../helpers/naive-codec.ts'
import { type ClientStream, HEADER_BYTES, type Message } from './client-stream.ts'
import { DISK_BYTES, randomOption, randomRequest } from './random-message.ts'

const MESSAGES_MAX = 40
/** Of a flood, bytes: more than one receive buffer. */
const FLOOD_BYTES_MAX = 2 << 20
const MUTATIONS_MAX = 6

/** Place and width in bytes of the fields of a message. */
const FIELDS: Readonly<Record<Message['kind'], readonly (readonly [number, number])[]>> = {
  flags: [[0, 4]],
  option: [
    [0, 8],
    [8, 4],
    [12, 4],
    [16, 4],
    [20, 4],
    [24, 4],
  ],
  request: [
    [0, 4],
    [4, 2],
    [6, 2],
    [8, 8],
    [16, 8],
    [24, 4],
  ],
  extended: [
    [0, 4],
    [4, 2],
    [6, 2],
    [8, 8],
    [16, 8],
    [24, 8],
    [32, 8],
    [40, 4],
  ],
  raw: [],
}

const SMALL = [0, 1, 2, 3, 4, 5, 6, 7, 8, 11, 16, 32, 255, 256, 511, 512, 4095, 4096, 4097]
const POWERS = [16, 17, 20, 25, 26, 31, 32, 53, 63, 64]

const BORDERS: readonly bigint[] = [
  ...[...SMALL, DISK_BYTES - 1, DISK_BYTES, DISK_BYTES + 1].map(BigInt),
  ...POWERS.flatMap((power) => [-512n, -1n, 0n, 1n].map((more) => 2n ** BigInt(power) + more)),
]

export class Mutator {
  readonly #random: Random
  readonly #streams: readonly ClientStream[]

  /** @param streams to begin with and to borrow from; may grow meanwhile */
  constructor(random: Random, streams: readonly ClientStream[]) {
    this.#random = random
    this.#streams = streams
  }

  next(): ClientStream {
    const random = this.#random
    if (random.chance(0.003)) return this.#flood()
    const { messages, tlsAt } = random.pick(this.#streams)
    let changed = [...messages]
    let tls = tlsAt
    if (tls < 0 && random.chance(0.1)) {
      const at = random.chance(0.8) ? 1 : random.between(0, changed.length)
      changed.splice(at, 0, { kind: 'option', bytes: option(5) })
      tls = random.chance(0.8) ? at + 1 : random.between(0, changed.length)
    }
    const count = random.between(random.chance(0.05) ? 0 : 1, MUTATIONS_MAX)
    for (let done = 0; done < count; done++) changed = this.#mutate(changed)
    changed = changed.slice(0, MESSAGES_MAX)
    tls = Math.min(tls, changed.length)
    return { messages: changed, tlsAt: tls }
  }

  /** The requests with data of a stream again and again, elsewhere and with other data. */
  #flood(): ClientStream {
    const isData = ({ kind, bytes }: Message): boolean =>
      kind !== 'option' && bytes.length > HEADER_BYTES.extended
    const suitable = this.#streams.filter(({ messages }) => messages.some(isData))
    const { messages, tlsAt } = this.#random.pick(suitable)
    const requests = messages.filter(isData)
    const last = requests.slice(-this.#random.between(1, 5))
    const bytes = last.reduce((sum, message) => sum + message.bytes.length, 1)
    const times = Math.min(4000, Math.floor(FLOOD_BYTES_MAX / bytes))
    const flood = Array.from({ length: times }, () => last.map((each) => this.#elsewhere(each)))
    return { messages: [...messages.slice(0, -1), ...flood.flat()], tlsAt }
  }

  #elsewhere({ kind, bytes }: Message): Message {
    const header = HEADER_BYTES[kind]
    const isRequest = kind === 'request' || kind === 'extended'
    if (!isRequest || bytes.length <= header) return { kind, bytes }
    const copy = Buffer.from(bytes)
    copy.fill(this.#random.between(1, 255), header)
    copy.writeUInt32BE(this.#random.between(0, DISK_BYTES), 20)
    return { kind, bytes: copy }
  }

  #mutate(messages: Message[]): Message[] {
    const random = this.#random
    const at = random.between(0, Math.max(0, messages.length - 1))
    const result = [...messages]
    switch (random.between(0, 9)) {
      case 0:
        result.splice(at, random.between(1, 2))
        break
      case 1:
        result.splice(at, 0, ...result.slice(at, at + random.between(1, 3)))
        break
      case 2: {
        const [moved] = result.splice(at, 1)
        if (moved !== undefined) result.splice(random.between(0, result.length), 0, moved)
        break
      }
      case 3:
        result.splice(at, random.between(0, 1), ...this.#borrowed())
        break
      case 4:
        return this.#truncated(result)
      case 5:
        result.splice(random.between(0, result.length), 0, this.#fresh(result))
        break
      default:
        if (result.length > 0) result[at] = this.#damaged(result[at])
    }
    return result
  }

  #borrowed(): readonly Message[] {
    const { messages } = this.#random.pick(this.#streams)
    const from = this.#random.between(0, messages.length)
    return messages.slice(from, from + this.#random.between(1, 4))
  }

  #truncated(messages: readonly Message[]): Message[] {
    const kept = messages.slice(0, this.#random.between(0, messages.length))
    const last = kept.pop()
    if (last === undefined) return kept
    const { kind, bytes } = last
    return [...kept, { kind, bytes: bytes.subarray(0, this.#random.between(0, bytes.length)) }]
  }

  /** A message that makes sense where the stream is likely to be. */
  #fresh(messages: readonly Message[]): Message {
    const isOption = !messages.some(({ kind }) => kind === 'request' || kind === 'extended')
    if (isOption || this.#random.chance(0.1)) return randomOption(this.#random)
    return randomRequest(
      this.#random,
      messages.some(({ kind }) => kind === 'extended'),
    )
  }

  #damaged({ kind, bytes }: Message): Message {
    const random = this.#random
    const fields = FIELDS[kind].filter(([place, width]) => place + width <= bytes.length)
    if (fields.length > 0 && random.chance(0.7)) {
      const [place, width] = random.pick(fields)
      return { kind, bytes: this.#withField(bytes, place, width) }
    }
    switch (random.between(0, 2)) {
      case 0: {
        const copy = Buffer.from(bytes)
        for (let count = random.between(1, 3); count > 0 && copy.length > 0; count--)
          copy[random.between(0, copy.length - 1)] ^= 1 << random.between(0, 7)
        return { kind, bytes: copy }
      }
      case 1: {
        const from = random.between(0, bytes.length)
        const rest = bytes.subarray(from + random.between(0, 8))
        return { kind, bytes: Buffer.concat([bytes.subarray(0, from), rest]) }
      }
      default:
        return { kind, bytes: this.#honest(kind, bytes) }
    }
  }

  #withField(bytes: Buffer, place: number, width: number): Buffer {
    const random = this.#random
    const copy = Buffer.from(bytes)
    const bits = BigInt(8 * width)
    const old = BigInt(`0x${copy.toString('hex', place, place + width)}`)
    const value = random.chance(0.3)
      ? old + BigInt(random.between(-3, 3))
      : random.chance(0.2)
        ? old ^ (1n << BigInt(random.between(0, 8 * width - 1)))
        : random.pick(BORDERS)
    const text = BigInt.asUintN(Number(bits), value).toString(16)
    copy.write(text.padStart(2 * width, '0'), place, 'hex')
    return copy
  }

  /** More or less data, and a header that says so. */
  #honest(kind: Message['kind'], bytes: Buffer): Buffer {
    const header = HEADER_BYTES[kind]
    if (header === 0 || bytes.length < header || kind === 'flags') return bytes
    const data = Buffer.from(this.#random.bytes(this.#random.logarithmic(1, 70_000) - 1))
    const copy = Buffer.concat([bytes.subarray(0, header), data])
    if (kind === 'option') copy.writeUInt32BE(data.length, 12)
    else if (kind === 'request') copy.writeUInt32BE(data.length, 24)
    else copy.writeBigUInt64BE(BigInt(data.length), 24)
    return copy
  }
}
