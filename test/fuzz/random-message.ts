/** Messages that are right, or nearly so: what a client might say next. */
import type { Random } from '../helpers/random.ts'
import {
  extendedRequest,
  infoData,
  metaData,
  option,
  request,
  statusPayload,
} from '../helpers/naive-codec.ts'
import type { Message } from './client-stream.ts'

const NAMES = ['', 'd', 'd', 'ro', 'sectors', 'nowhere']
const QUERIES = [
  'base:allocation',
  'qemu:allocation-depth',
  'base:',
  'qemu:',
  'x-chunknbd:part',
  '',
]
const [EXPORT_NAME, INFO, GO, LIST_META, SET_META] = [1, 6, 7, 9, 10]
const [WRITE, FLUSH, BLOCK_STATUS] = [1, 3, 7]
const PAYLOAD_LEN = 32
/** Three pages of the device in memory, and a little. */
export const DISK_BYTES = 3 * 65_536 + 512

export function randomOption(random: Random): Message {
  const code = random.between(0, 12)
  return { kind: 'option', bytes: option(code, optionData(random, code)) }
}

function optionData(random: Random, code: number): Buffer {
  const name = random.pick(NAMES)
  if (code === EXPORT_NAME) return Buffer.from(name)
  if (code === INFO || code === GO) {
    const types = Array.from({ length: random.between(0, 4) }, () => random.between(0, 4))
    return infoData(name, types)
  }
  if (code !== LIST_META && code !== SET_META) return Buffer.alloc(random.chance(0.9) ? 0 : 3)
  const queries = Array.from({ length: random.between(0, 3) }, () => random.pick(QUERIES))
  return metaData(name, queries)
}

export function randomRequest(random: Random, isExtended: boolean): Message {
  const command = random.between(0, random.chance(0.9) ? 7 : 9)
  const cookie = BigInt(random.between(0, 2 ** 31))
  const offset = random.chance(0.9) ? random.between(0, DISK_BYTES) : 2 ** random.between(0, 52)
  const length = random.chance(0.8) ? random.logarithmic(1, 20_000) : random.between(0, DISK_BYTES)
  const flags = random.chance(0.6) ? 0 : random.pick([1, 2, 4, 8, 16, 3, 18, 19, 32, 64])
  const range = random.chance(0.15)
    ? atTheEnd(random, length)
    : { offset: aligned(random, offset), length: aligned(random, length) }
  const fields = { command, cookie, ...range }
  const data = Buffer.alloc(command === WRITE ? fields.length : 0, random.between(1, 255))
  if (!isExtended) {
    const header = request({ ...fields, flags })
    return { kind: 'request', bytes: Buffer.concat([header, data]) }
  }
  if (command === BLOCK_STATUS && random.chance(0.4)) {
    const ids = Array.from({ length: random.between(0, 3) }, () => random.between(0, 3))
    const payload = statusPayload(fields.length, ids)
    const marked = { ...fields, flags: flags | PAYLOAD_LEN, length: payload.length }
    return { kind: 'extended', bytes: Buffer.concat([extendedRequest(marked), payload]) }
  }
  const isMarked = command === WRITE && random.chance(0.9)
  const header = extendedRequest({ ...fields, flags: isMarked ? flags | PAYLOAD_LEN : flags })
  // A payload where there should be none.
  const isOdd = command !== WRITE && command !== FLUSH && (flags & PAYLOAD_LEN) !== 0
  const stray = isOdd ? Buffer.alloc(fields.length) : data
  return { kind: 'extended', bytes: Buffer.concat([header, stray]) }
}

/** Ends at the end of the disk, a little before or behind it. */
function atTheEnd(random: Random, length: number): { offset: number; length: number } {
  const end = DISK_BYTES + random.pick([-1, 0, 1, 512])
  return { offset: Math.max(0, end - length), length: Math.min(length, end) }
}

function aligned(random: Random, value: number): number {
  return random.chance(0.5) ? value - (value % 512) : value
}
