/**
 * All that a client says on one connection, as messages that can be changed one by one, and as
 * text for the corpus: a message a line in hexadecimal, `tls` where the rest is said in TLS.
 */
export type MessageKind = 'flags' | 'option' | 'request' | 'extended' | 'raw'

export interface Message {
  readonly kind: MessageKind
  /** Header and data. */
  readonly bytes: Buffer
}

export interface ClientStream {
  readonly messages: readonly Message[]
  /** Messages from this index on are said in TLS; -1: none. */
  readonly tlsAt: number
}

/** What the connection carries: `secure` only once TLS runs. */
export interface Spoken {
  readonly plain: Buffer
  readonly secure: Buffer
}

export const HEADER_BYTES: Readonly<Record<MessageKind, number>> = {
  flags: 4,
  option: 16,
  request: 28,
  extended: 32,
  raw: 0,
}

const OPTION = Buffer.from('IHAVEOPT')
const REQUEST = Buffer.from('25609513', 'hex')
const EXTENDED = Buffer.from('21e41c71', 'hex')
const WRITE = 1
const PAYLOAD_LEN = 32

export function spoken({ messages, tlsAt }: ClientStream): Spoken {
  const end = tlsAt < 0 ? messages.length : tlsAt
  return { plain: joined(messages.slice(0, end)), secure: joined(messages.slice(end)) }
}

function joined(messages: readonly Message[]): Buffer {
  return Buffer.concat(messages.map(({ bytes }) => bytes))
}

/** @param startsInOptions there are no client flags at the start */
export function dissect(bytes: Buffer, startsInOptions = false): Message[] {
  const messages: Message[] = []
  let rest = bytes
  const take = (kind: MessageKind, length: number): void => {
    messages.push({ kind, bytes: rest.subarray(0, length) })
    rest = rest.subarray(length)
  }
  if (!startsInOptions && rest.length >= 4) take('flags', 4)
  while (rest.length > 0) {
    const kind = kindOf(rest)
    if (kind === 'raw') take(kind, rest.length)
    else take(kind, HEADER_BYTES[kind] + dataBytes(kind, rest))
  }
  return messages
}

function kindOf(bytes: Buffer): MessageKind {
  if (bytes.length >= 16 && bytes.subarray(0, 8).equals(OPTION)) return 'option'
  if (bytes.length >= 28 && bytes.subarray(0, 4).equals(REQUEST)) return 'request'
  return bytes.length >= 32 && bytes.subarray(0, 4).equals(EXTENDED) ? 'extended' : 'raw'
}

/** That follow a header; the rest of the stream may have less. */
export function dataBytes(kind: MessageKind, bytes: Buffer): number {
  if (kind === 'option') return bytes.readUInt32BE(12)
  const isWrite = bytes.readUInt16BE(6) === WRITE
  if (kind === 'request') return isWrite ? bytes.readUInt32BE(24) : 0
  const hasPayload = isWrite || (bytes.readUInt16BE(4) & PAYLOAD_LEN) !== 0
  return hasPayload ? Number(bytes.readBigUInt64BE(24)) : 0
}

export function parseStream(text: string): ClientStream {
  const messages: Message[] = []
  let tlsAt = -1
  for (const line of text.split('\n')) {
    const words = line.replace(/#.*/, '').trim()
    if (words === '') continue
    if (words === 'tls') tlsAt = messages.length
    else messages.push(...dissect(Buffer.from(words, 'hex'), messages.length > 0))
  }
  return { messages, tlsAt }
}

export function formatStream({ messages, tlsAt }: ClientStream): string {
  const lines: string[] = []
  for (const [index, { bytes }] of messages.entries()) {
    if (index === tlsAt) lines.push('tls')
    if (bytes.length > 0) lines.push(bytes.toString('hex'))
  }
  if (tlsAt === messages.length) lines.push('tls')
  return `${lines.join('\n')}\n`
}
