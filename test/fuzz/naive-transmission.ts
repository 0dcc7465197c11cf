/**
 * What a server has to answer in the transmission phase, and what the disk holds afterwards, told
 * from the client's bytes alone. Written from the specification and docs/protocol.md in the
 * plainest way; shares no code with the server.
 */
import type { Handshake } from './naive-handshake.ts'

export interface ExpectedAnswer {
  /** Of the request's header in the bytes. */
  readonly position: number
  readonly command: number
  readonly flags: number
  readonly offset: bigint
  /** Of its effect. */
  readonly length: number
  readonly contextIds: readonly number[] | null
  /** Any of these; empty: it succeeds. */
  readonly errors: readonly number[]
  /** What the request changes: these bytes, or zeros. */
  readonly data: Buffer | null
}

export interface Transmission {
  readonly answers: readonly ExpectedAnswer[]
  /** `open`: the server waits for more. */
  readonly end: 'open' | 'disconnected' | 'violation'
}

const [READ, WRITE, DISC, FLUSH, TRIM, CACHE, WRITE_ZEROES, BLOCK_STATUS] = [0, 1, 2, 3, 4, 5, 6, 7]
const [FUA, NO_HOLE, DF, REQ_ONE, FAST_ZERO, PAYLOAD_LEN] = [1, 2, 4, 8, 16, 32]
const [EPERM, EINVAL, ENOSPC] = [1, 22, 28]
const MIB = 1 << 20

interface Header {
  readonly flags: number
  readonly command: number
  readonly offset: bigint
  readonly length: bigint
}

export function naiveTransmission(agreed: Handshake): Transmission {
  const isExtended = agreed.style === 'extended'
  const [magic, headerBytes] = isExtended ? [0x21e41c71, 32] : [0x25609513, 28]
  const bytes = agreed.rest
  const answers: ExpectedAnswer[] = []
  for (let position = 0; ;) {
    if (bytes.length - position < headerBytes) return { answers, end: 'open' }
    const header = bytes.subarray(position, position + headerBytes)
    if (header.readUInt32BE(0) !== magic) return { answers, end: 'violation' }
    const request: Header = {
      flags: header.readUInt16BE(4),
      command: header.readUInt16BE(6),
      offset: header.readBigUInt64BE(16),
      length: isExtended ? header.readBigUInt64BE(24) : BigInt(header.readUInt32BE(24)),
    }
    if (request.command === DISC) return { answers, end: 'disconnected' }
    const hasData = request.command === WRITE || (isExtended && (request.flags & PAYLOAD_LEN) !== 0)
    const dataBytes = hasData ? request.length : 0n
    if (dataBytes > BigInt((isExtended ? 32 : 64) * MIB)) return { answers, end: 'violation' }
    const end = position + headerBytes + Number(dataBytes)
    if (end > bytes.length) return { answers, end: 'open' }
    answers.push(answerTo(request, agreed, position, bytes.subarray(position + headerBytes, end)))
    position = end
  }
}

function answerTo(
  header: Header,
  agreed: Handshake,
  position: number,
  payload: Buffer,
): ExpectedAnswer {
  const { command, flags, offset } = header
  const choice = chosenContexts(header, agreed, payload)
  const length = choice === null ? header.length : choice.length
  const errors = [
    ...flagErrors(header, agreed),
    ...(choice === null ? [] : choice.errors),
    ...commandErrors(command, length, agreed),
    ...rangeErrors(command, offset, length, agreed),
  ]
  const contextIds = choice === null || errors.length > 0 ? null : choice.ids
  const data = errors.length === 0 ? changeOf(command, Number(length), payload) : null
  return { position, command, flags, offset, length: Number(length), contextIds, errors, data }
}

function changeOf(command: number, length: number, payload: Buffer): Buffer | null {
  if (command === WRITE) return Buffer.from(payload)
  return command === TRIM || command === WRITE_ZEROES ? Buffer.alloc(length) : null
}

/** A BLOCK_STATUS with a payload: 64 bits of length, 32 bits for each context. */
function chosenContexts(
  { command, flags }: Header,
  { style, contexts }: Handshake,
  payload: Buffer,
) {
  if (command !== BLOCK_STATUS || style !== 'extended' || (flags & PAYLOAD_LEN) === 0) return null
  if (payload.length < 12 || payload.length % 4 !== 0)
    return { length: BigInt(payload.length), ids: [], errors: [EINVAL] }
  const ids: number[] = []
  for (let at = 8; at < payload.length; at += 4) ids.push(payload.readUInt32BE(at))
  const areRight = new Set(ids).size === ids.length && ids.every((id) => contexts.has(id))
  const length = areRight ? payload.readBigUInt64BE(0) : BigInt(payload.length)
  return { length, ids, errors: areRight ? [] : [EINVAL] }
}

function flagErrors({ command, flags }: Header, { style, export: disk }: Handshake): number[] {
  const own: Readonly<Record<number, number>> = {
    [READ]: style === 'simple' ? 0 : DF,
    [WRITE]: style === 'extended' ? PAYLOAD_LEN : 0,
    [WRITE_ZEROES]: NO_HOLE | (disk?.isReadOnly === true ? 0 : FAST_ZERO),
    [BLOCK_STATUS]: style === 'extended' ? REQ_ONE | PAYLOAD_LEN : REQ_ONE,
  }
  return (flags & ~(FUA | (own[command] ?? 0))) === 0 ? [] : [EINVAL]
}

function commandErrors(command: number, length: bigint, { export: disk, contexts }: Handshake) {
  const errors: number[] = []
  const changes = [WRITE, TRIM, WRITE_ZEROES].includes(command)
  if (changes && disk?.isReadOnly === true) errors.push(EPERM)
  if ((command === READ || command === WRITE) && length > BigInt(32 * MIB)) errors.push(EINVAL)
  if (command === BLOCK_STATUS && (contexts.size === 0 || length === 0n)) errors.push(EINVAL)
  if (command > BLOCK_STATUS) errors.push(EINVAL)
  return errors
}

function rangeErrors(command: number, offset: bigint, length: bigint, { export: disk }: Handshake) {
  if (command === FLUSH || disk === null || command > BLOCK_STATUS) return []
  const errors: number[] = []
  const fillsDisk = command === WRITE || command === WRITE_ZEROES
  if (offset + length > BigInt(disk.size)) errors.push(fillsDisk ? ENOSPC : EINVAL)
  const unit = BigInt(disk.alignment)
  if (offset % unit !== 0n || length % unit !== 0n) errors.push(EINVAL)
  return errors
}

/** Neither changes nor tells anything. */
export function isQuiet(command: number): boolean {
  return command === FLUSH || command === CACHE
}
