/**
 * What a chunk of a reply may say, structured or extended: the rules for each type, and those for
 * all the chunks of a reply. Part of `reply-checker.ts`, and as independent of the server.
 */
import { checkString, must } from './naive-codec.ts'
import type { Agreement, Answer, Extent, SentRequest } from './reply-checker.ts'

export interface Chunk {
  readonly type: number
  readonly payload: Buffer
  readonly isLast: boolean
}

const [READ, WRITE_ZEROES, BLOCK_STATUS] = [0, 6, 7]
const COMMANDS_WITH_ERROR_OFFSET = [0, 1, 4, 5, 6, 7]
const ERRORS = [1, 5, 12, 22, 28, 75, 95, 108]
const STATUS = 5
const STATUS_EXT = 6
/** Contexts whose status has more than 32 bits. */
const WIDE_CONTEXTS = ['x-chunknbd:chunk']

/** Adds what the chunk says to the answer. */
export function checkChunk(answer: Answer, chunk: Chunk, agreement: Agreement): void {
  const { type, payload, isLast } = chunk
  const { command, flags } = answer.request
  if (type === 0) {
    must(payload.length === 0, 'NONE has no payload')
    must(isLast, 'NONE must be the last chunk')
  } else if (type === 1 || type === 2) {
    must(command === READ, 'content chunk for a command that reads nothing')
    content(answer, chunk, agreement.payloadMax ?? 32 * 1024 * 1024)
    const chunks = answer.dataChunks.length + answer.holeChunks.length
    must((flags & 4) === 0 || chunks === 1, 'DF: at most one content chunk')
  } else if (type === STATUS || type === STATUS_EXT) {
    must(command === BLOCK_STATUS, 'BLOCK_STATUS chunk for another command')
    const expected = agreement.extended === true ? STATUS_EXT : STATUS
    must(type === expected, `chunk type ${type} where ${expected} must be used`)
    status(answer, payload, agreement)
  } else {
    must(type === 0x8001 || type === 0x8002, `chunk type ${type}`)
    errorChunk(answer, type, payload)
  }
}

function content(answer: Answer, { type, payload }: Chunk, payloadMax: number): void {
  if (type === 1) must(payload.length >= 9, 'OFFSET_DATA is at least 9 bytes')
  else must(payload.length === 12, 'OFFSET_HOLE is 12 bytes')
  const length = type === 1 ? payload.length - 8 : payload.readUInt32BE(8)
  must(length > 0, 'a hole of no bytes')
  must(type === 2 || length <= payloadMax, 'data larger than the maximum payload')
  const offset = Number(payload.readBigUInt64BE(0))
  const start = Number(answer.request.offset)
  const inside = offset >= start && offset + length <= start + answer.request.length
  must(inside, `content chunk ${offset}+${length} outside the request`)
  for (const other of [...answer.dataChunks, ...answer.holeChunks]) {
    const apart = offset + length <= other.offset || other.offset + other.length <= offset
    must(apart, `content chunk ${offset}+${length} overlaps an earlier one`)
  }
  const holdsError = answer.errorOffset >= offset && answer.errorOffset < offset + length
  must(!holdsError, 'content chunk over an offset already reported as failed')
  if (answer.data.length === 0) answer.data = Buffer.alloc(answer.request.length, 0xee)
  const at = offset - start
  if (type === 1) payload.copy(answer.data, at, 8)
  else answer.data.fill(0, at, at + length)
  const chunks = type === 1 ? answer.dataChunks : answer.holeChunks
  chunks.push({ offset, length })
}

function status(answer: Answer, payload: Buffer, agreement: Agreement): void {
  const { flags, offset, length } = answer.request
  must(payload.length >= 12, 'length of a BLOCK_STATUS chunk')
  const id = payload.readUInt32BE(0)
  const name = agreement.contexts.get(id)
  must(name !== undefined, `context ${id} was not selected`)
  must(answer.request.contextIds?.includes(id) ?? true, `context ${id} was not asked for`)
  must(!answer.extents.has(id), `context ${id} is reported twice`)
  const extents = agreement.extended === true ? wideExtents(payload, name) : narrow(payload)
  let total = 0
  for (const [index, extent] of extents.entries()) {
    must(extent.length > 0, 'an extent of no bytes')
    must(total < length, 'only the last extent may end behind the request')
    const isNew = index === 0 || extents[index - 1].flags !== extent.flags
    must(isNew, 'neighbouring extents should differ')
    if (name === 'base:allocation') must(extent.flags <= 3, 'base:allocation has two bits')
    total += extent.length
  }
  must(extents.length <= 1 << 20, 'more than 2^20 extents')
  must(Number(offset) + total <= agreement.size, 'extent behind the end of the export')
  if (flags & 8) must(extents.length === 1 && total <= length, 'REQ_ONE: one extent, inside')
  answer.extents.set(id, extents)
}

function narrow(payload: Buffer): Extent[] {
  must(payload.length % 8 === 4, 'length of a BLOCK_STATUS chunk')
  const extents: Extent[] = []
  for (let at = 4; at < payload.length; at += 8)
    extents.push({ length: payload.readUInt32BE(at), flags: payload.readUInt32BE(at + 4) })
  return extents
}

function wideExtents(payload: Buffer, name: string): Extent[] {
  const count = payload.readUInt32BE(4)
  must(count > 0 && payload.length === 8 + 16 * count, 'length of a BLOCK_STATUS_EXT chunk')
  const extents: Extent[] = []
  for (let at = 8; at < payload.length; at += 16) {
    const value = payload.readBigUInt64BE(at + 8)
    must(value < 2n ** 32n || WIDE_CONTEXTS.includes(name), `${name} has a status of 32 bits`)
    extents.push({ length: Number(payload.readBigUInt64BE(at)), flags: Number(value) })
  }
  return extents
}

function errorChunk(answer: Answer, type: number, payload: Buffer): void {
  const { command, offset, length } = answer.request
  const fixed = type === 0x8001 ? 6 : 14
  must(payload.length >= fixed, `error chunk of ${payload.length} bytes`)
  const error = payload.readUInt32BE(0)
  checkError(answer.request, error)
  const textLength = payload.readUInt16BE(4)
  must(payload.length === fixed + textLength, 'length of the error text')
  must(answer.error === 0, 'one error chunk is enough')
  answer.error = error
  answer.text = checkString(payload.subarray(6, 6 + textLength), 'error text')
  if (type === 0x8001) return
  must(COMMANDS_WITH_ERROR_OFFSET.includes(command), 'ERROR_OFFSET does not fit the command')
  answer.errorOffset = Number(payload.readBigUInt64BE(6 + textLength))
  const distance = answer.errorOffset - Number(offset)
  must(distance >= 0 && distance < length, `error offset ${answer.errorOffset} is outside`)
}

/** Of any reply, simple ones included. */
export function checkError(request: SentRequest, error: number): void {
  must(ERRORS.includes(error), `error ${error} may not be sent`)
  const fastZero = request.command === WRITE_ZEROES && (request.flags & 16) !== 0
  must(error !== 95 || fastZero, 'ENOTSUP answers FAST_ZERO only')
  must(error !== 75 || request.command === READ, 'EOVERFLOW answers long reads only')
}

/** All chunks are there and none tells of an error. */
export function checkSuccess(answer: Answer, agreement: Agreement): void {
  const { command, length, contextIds } = answer.request
  const covered = answer.content().reduce((sum, range) => sum + range.length, 0)
  if (command === READ) must(covered === length, `${covered} of ${length} bytes were answered`)
  if (command === BLOCK_STATUS) {
    const expected = contextIds?.length ?? agreement.contexts.size
    must(expected > 0, 'BLOCK_STATUS cannot succeed without a context')
    must(answer.extents.size === expected, 'one chunk for each context')
  }
}
