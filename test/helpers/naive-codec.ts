/**
 * What a client puts on the wire and a strict reading of a server's handshake, written from the
 * specification with its own literal numbers. Imports nothing of the server: it is its judge.
 *
 * Slow and simple on purpose. Replies of the transmission phase: `reply-checker.ts`.
 */

const OPTION_MAGIC = 0x49484156454f5054n
const OPTION_REPLY_MAGIC = 0x0003e889045565a9n

/** The server broke a rule of the specification; `message` says which. */
export class ProtocolViolation extends Error {}

export function must(condition: boolean, rule: string): asserts condition {
  if (!condition) throw new ProtocolViolation(rule)
}

export function u16(value: number): Buffer {
  const bytes = Buffer.alloc(2)
  bytes.writeUInt16BE(value)
  return bytes
}

export function u32(value: number): Buffer {
  const bytes = Buffer.alloc(4)
  bytes.writeUInt32BE(value)
  return bytes
}

export function u64(value: bigint | number): Buffer {
  const bytes = Buffer.alloc(8)
  bytes.writeBigUInt64BE(BigInt.asUintN(64, BigInt(value)))
  return bytes
}

/** A string with its 32-bit length, or with a wrong one. */
export function counted(text: string | Uint8Array, length?: number): Buffer {
  const bytes = Buffer.from(text as string)
  return Buffer.concat([u32(length ?? bytes.length), bytes])
}

/** An option; `length` overrides the true one in the header. */
export function option(code: number, data: Uint8Array = Buffer.alloc(0), length?: number): Buffer {
  return Buffer.concat([u64(OPTION_MAGIC), u32(code), u32(length ?? data.length), data])
}

/** Data of INFO and GO. */
export function infoData(name: string | Uint8Array, infos: readonly number[] = []): Buffer {
  return Buffer.concat([counted(name), u16(infos.length), ...infos.map(u16)])
}

/** Data of LIST_META_CONTEXT and SET_META_CONTEXT. */
export function metaData(name: string | Uint8Array, queries: readonly string[] = []): Buffer {
  return Buffer.concat([
    counted(name),
    u32(queries.length),
    ...queries.map((query) => counted(query)),
  ])
}

export interface WireRequest {
  readonly command: number
  readonly flags?: number
  readonly cookie: bigint
  readonly offset?: bigint | number
  readonly length?: bigint | number
  readonly magic?: number
}

/** The 28 bytes of a request; a payload is appended by the caller. */
export function request(fields: WireRequest): Buffer {
  const header = requestStart(fields, fields.magic ?? 0x25609513)
  return Buffer.concat([header, u32(Number(fields.length ?? 0))])
}

/** The 32 bytes of an extended request. */
export function extendedRequest(fields: WireRequest): Buffer {
  const header = requestStart(fields, fields.magic ?? 0x21e41c71)
  return Buffer.concat([header, u64(fields.length ?? 0)])
}

function requestStart(fields: WireRequest, magic: number): Buffer {
  return Buffer.concat([
    u32(magic),
    u16(fields.flags ?? 0),
    u16(fields.command),
    u64(fields.cookie),
    u64(fields.offset ?? 0),
  ])
}

/** Payload of a BLOCK_STATUS with PAYLOAD_LEN. */
export function statusPayload(length: bigint | number, ids: readonly number[]): Buffer {
  return Buffer.concat([u64(length), ...ids.map(u32)])
}

/** Handshake flags of a server's first 18 bytes. */
export function parseGreeting(bytes: Buffer): number {
  must(bytes.length === 18, 'the greeting has 18 bytes')
  must(bytes.toString('latin1', 0, 16) === 'NBDMAGICIHAVEOPT', 'greeting magic')
  return bytes.readUInt16BE(16)
}

export interface ExportNameReply {
  readonly size: bigint
  readonly flags: number
}

export function parseExportNameReply(bytes: Buffer, noZeroes: boolean): ExportNameReply {
  must(bytes.length === (noZeroes ? 10 : 134), `EXPORT_NAME answer of ${bytes.length} bytes`)
  must(bytes.subarray(10).equals(Buffer.alloc(bytes.length - 10)), 'padding must be zero')
  const flags = bytes.readUInt16BE(8)
  checkTransmissionFlags(flags)
  return { size: bytes.readBigUInt64BE(0), flags }
}

export interface OptionReplyMessage {
  readonly option: number
  readonly type: number
  readonly data: Buffer
}

/** Bytes that the option reply at the start of `bytes` needs in total; 0: not known yet. */
export function optionReplySize(bytes: Buffer): number {
  if (bytes.length < 20) return 0
  must(bytes.readBigUInt64BE(0) === OPTION_REPLY_MAGIC, 'option reply magic')
  return 20 + bytes.readUInt32BE(16)
}

/** All option replies in `bytes`, which must end with a whole one; each is checked strictly. */
export function parseOptionReplies(bytes: Buffer): OptionReplyMessage[] {
  const replies: OptionReplyMessage[] = []
  let position = 0
  while (position < bytes.length) {
    const size = optionReplySize(bytes.subarray(position))
    must(size > 0 && position + size <= bytes.length, 'truncated option reply')
    const reply = {
      option: bytes.readUInt32BE(position + 8),
      type: bytes.readUInt32BE(position + 12),
      data: bytes.subarray(position + 20, position + size),
    }
    checkOptionReply(reply)
    replies.push(reply)
    position += size
  }
  return replies
}

/** ACK or an error: nothing more comes for this option. */
export function isFinal(reply: OptionReplyMessage): boolean {
  return reply.type === 1 || reply.type >= 0x80000000
}

function checkOptionReply({ option: code, type, data }: OptionReplyMessage): void {
  if (type === 1) must(data.length === 0, 'ACK carries no data')
  else if (type === 2) {
    must(code === 3, 'SERVER answers LIST only')
    must(data.length >= 4 && data.readUInt32BE(0) <= data.length - 4, 'SERVER name length')
    checkString(data.subarray(4, 4 + data.readUInt32BE(0)), 'SERVER name')
    checkString(data.subarray(4 + data.readUInt32BE(0)), 'SERVER description')
  } else if (type === 3) {
    must(code === 6 || code === 7, 'INFO answers INFO and GO only')
    checkInfo(data)
  } else if (type === 4) {
    must(code === 9 || code === 10, 'META_CONTEXT answers the two context options only')
    must(data.length > 4, 'META_CONTEXT length')
    if (code === 9) must(data.readUInt32BE(0) === 0, 'ids are 0 in LIST_META_CONTEXT')
    const name = checkString(data.subarray(4), 'context name')
    must(/^(base|nbd-server|qemu|x-[^:]*):./.test(name), `context name ${name}`)
  } else {
    must(type > 0x80000000 && type <= 0x8000000a, `unknown option reply type ${type}`)
    checkString(data, 'error text')
  }
}

function checkInfo(data: Buffer): void {
  must(data.length >= 2, 'INFO length')
  const type = data.readUInt16BE(0)
  if (type === 0) {
    must(data.length === 12, 'INFO_EXPORT is 12 bytes')
    checkTransmissionFlags(data.readUInt16BE(10))
  } else if (type === 1) checkString(data.subarray(2), 'INFO_NAME')
  else if (type === 2) checkString(data.subarray(2), 'INFO_DESCRIPTION')
  else {
    must(type === 3, `unknown info type ${type}`)
    must(data.length === 14, 'INFO_BLOCK_SIZE is 14 bytes')
    const [minimum, preferred, payload] = [2, 6, 10].map((at) => data.readUInt32BE(at))
    must(isPowerOfTwo(minimum) && minimum <= 65536, 'minimum block size')
    must(isPowerOfTwo(preferred) && preferred >= Math.max(512, minimum), 'preferred block size')
    must(payload >= preferred && payload >= 1 << 20, 'maximum payload')
  }
}

function checkTransmissionFlags(flags: number): void {
  must((flags & 1) !== 0, 'HAS_FLAGS must be set')
  must((flags & ~0x1fff) === 0, 'transmission flags of no standard')
  if (flags & (1 << 11)) must((flags & (1 << 6)) !== 0, 'FAST_ZERO needs WRITE_ZEROES')
}

function isPowerOfTwo(value: number): boolean {
  return value > 0 && Number.isInteger(Math.log2(value))
}

/** The text of a string on the wire: UTF-8, no NUL, at most 4096 bytes. */
export function checkString(bytes: Uint8Array, what: string): string {
  must(bytes.length <= 4096, `${what}: more than 4096 bytes`)
  must(!bytes.includes(0), `${what}: contains NUL`)
  try {
    return new TextDecoder('utf-8', { fatal: true, ignoreBOM: true }).decode(bytes)
  } catch {
    throw new ProtocolViolation(`${what}: not UTF-8`)
  }
}
