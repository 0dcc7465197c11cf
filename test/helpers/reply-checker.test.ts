/** The judge is judged: each rule is broken once, and the checker must notice. */
import test from 'ava'
import { ProtocolViolation, u16, u32, u64 } from './naive-codec.ts'
import { ReplyChecker } from './reply-checker.ts'
import type { Answer, SentRequest } from './reply-checker.ts'
import type { Style } from './wire-style.ts'

const [READ, WRITE, FLUSH, WRITE_ZEROES, BLOCK_STATUS] = [0, 1, 3, 6, 7]
const [NONE, DATA, HOLE, STATUS, STATUS_EXT, ERROR, ERROR_OFFSET] = [0, 1, 2, 5, 6, 0x8001, 0x8002]
const [DF, REQ_ONE, FAST_ZERO] = [4, 8, 16]
const DONE = 1
const COOKIE = 0xfedcba9876543210n
const [CONTEXT, WIDE_CONTEXT, OTHER] = [3, 5, 6]
const CONTEXTS: readonly (readonly [number, string])[] = [
  [CONTEXT, 'base:allocation'],
  [WIDE_CONTEXT, 'x-chunknbd:chunk'],
  [OTHER, 'x-other:leaf'],
]

function simple(error: number, payload: Uint8Array = Buffer.alloc(0), cookie = COOKIE): Buffer {
  return Buffer.concat([u32(0x67446698), u32(error), u64(cookie), payload])
}

function chunk(flags: number, type: number, ...payload: readonly Uint8Array[]): Buffer {
  const bytes = Buffer.concat(payload)
  const header = [u32(0x668e33ef), u16(flags), u16(type), u64(COOKIE), u32(bytes.length)]
  return Buffer.concat([...header, bytes])
}

function extended(flags: number, type: number, ...payload: readonly Uint8Array[]): Buffer {
  return extendedAt(1000, flags, type, ...payload)
}

function extendedAt(offset: number, flags: number, type: number, ...payload: Uint8Array[]) {
  const bytes = Buffer.concat(payload)
  const start = [u32(0x6e8a278c), u16(flags), u16(type), u64(COOKIE), u64(offset)]
  return Buffer.concat([...start, u64(bytes.length), bytes])
}

function wide(id: number, count: number, ...descriptors: readonly (bigint | number)[]): Buffer {
  return extended(DONE, STATUS_EXT, u32(id), u32(count), ...descriptors.map(u64))
}

function data(flags: number, offset: number, length: number): Buffer {
  return chunk(flags, DATA, u64(offset), Buffer.alloc(length, 7))
}

function hole(flags: number, offset: number, length: number): Buffer {
  return chunk(flags, HOLE, u64(offset), u32(length))
}

function status(flags: number, id: number, ...descriptors: readonly number[]): Buffer {
  return chunk(flags, STATUS, u32(id), ...descriptors.map(u32))
}

function error(flags: number, number: number, text = ''): Buffer {
  return chunk(flags, ERROR, u32(number), u16(text.length), Buffer.from(text))
}

function errorAt(flags: number, number: number, offset: number): Buffer {
  return chunk(flags, ERROR_OFFSET, u32(number), u16(0), u64(offset))
}

/** A request of 100 bytes at offset 1000 on an export of 4096 bytes. */
function check(
  command: number,
  flags: number,
  replies: readonly Uint8Array[],
  style: Style = 'structured',
): Answer[] {
  const contexts = new Map(style === 'simple' ? [] : CONTEXTS)
  const [structured, isExtended] = [style === 'structured', style === 'extended']
  const agreement = { size: 4096, structured, extended: isExtended, contexts, payloadMax: 64 }
  const checker = new ReplyChecker(agreement)
  const contextIds = [CONTEXT]
  const sent: SentRequest = {
    command,
    flags,
    cookie: COOKIE,
    offset: 1000n,
    length: 100,
    contextIds,
  }
  checker.sent(sent)
  const answers = replies.flatMap((reply) => checker.receive(reply))
  checker.finish()
  return answers
}

const done = chunk(DONE, NONE)

type Case = readonly [
  title: string,
  command: number,
  flags: number,
  replies: readonly Uint8Array[],
  style?: Style,
]

const right: readonly Case[] = [
  ['a simple READ', READ, 0, [simple(0, Buffer.alloc(100))], 'simple'],
  ['a simple failed READ', READ, 0, [simple(5)], 'simple'],
  ['a simple WRITE', WRITE, 0, [simple(0)]],
  ['chunks in any order', READ, 0, [data(0, 1050, 50), hole(DONE, 1000, 50)]],
  ['part of a READ that fails', READ, 0, [data(0, 1000, 50), errorAt(DONE, 5, 1060)]],
  ['an error and NONE', READ, 0, [error(0, 5, 'disk on fire'), done]],
  ['block status', BLOCK_STATUS, 0, [status(DONE, CONTEXT, 50, 0, 60, 3)]],
  ['FAST_ZERO', WRITE_ZEROES, FAST_ZERO, [error(DONE, 95)]],
  ['an extended WRITE', WRITE, 0, [extended(DONE, NONE)], 'extended'],
  ['extended status', BLOCK_STATUS, 0, [wide(CONTEXT, 2, 50, 0, 50, 3)], 'extended'],
]

for (const [title, command, flags, replies, style] of right)
  test(`accepts ${title}, whole or byte by byte`, (t) => {
    t.is(check(command, flags, replies, style).length, 1)
    const bytes = Array.from(Buffer.concat(replies), (byte) => Buffer.from([byte]))
    t.is(check(command, flags, bytes, style).length, 1)
  })

const extendedWrong: readonly Case[] = [
  ['a simple reply', WRITE, 0, [simple(0)]],
  ['a structured chunk', WRITE, 0, [done]],
  ['another offset', WRITE, 0, [extendedAt(1001, DONE, NONE)]],
  ['32-bit status', BLOCK_STATUS, 0, [extended(DONE, STATUS, ...[CONTEXT, 100, 0].map(u32))]],
  ['a wrong count', BLOCK_STATUS, 0, [wide(CONTEXT, 2, 100, 0)]],
  ['a count of 0', BLOCK_STATUS, 0, [wide(CONTEXT, 0)]],
  ['more than 32 bits', BLOCK_STATUS, 0, [wide(CONTEXT, 1, 100, 2n ** 32n)]],
  ['a context that was not asked for', BLOCK_STATUS, 0, [wide(OTHER, 1, 100, 0)]],
]

for (const [title, command, flags, replies] of extendedWrong)
  test(`notices with extended headers: ${title}`, (t) => {
    const act = () => check(command, flags, replies, 'extended')
    t.throws(act, { instanceOf: ProtocolViolation })
  })

const wrong: readonly Case[] = [
  ['a wrong magic', WRITE, 0, [Buffer.alloc(16)]],
  ['an unknown cookie', WRITE, 0, [simple(0, Buffer.alloc(0), 1n)]],
  ['a second answer', WRITE, 0, [simple(0), simple(0)]],
  ['no answer', WRITE, 0, []],
  ['half an answer', WRITE, 0, [simple(0).subarray(0, 15)]],
  ['half a structured answer', READ, 0, [data(0, 1000, 50)]],
  ['chunks without negotiation', WRITE, 0, [done], 'simple'],
  ['an extended chunk', WRITE, 0, [extended(DONE, NONE)]],
  [
    '64-bit status',
    BLOCK_STATUS,
    0,
    [chunk(DONE, STATUS_EXT, ...[CONTEXT, 1, 0, 100, 0, 0].map(u32))],
  ],
  ['a simple READ with structured replies', READ, 0, [simple(0, Buffer.alloc(100))]],
  ['a simple block status', BLOCK_STATUS, 0, [simple(0)]],
  ['a simple reply after chunks', WRITE, 0, [error(0, 5), simple(5)]],
  ['an error that does not exist', WRITE, 0, [simple(2)]],
  ['ENOTSUP without FAST_ZERO', WRITE_ZEROES, 0, [simple(95)]],
  ['EOVERFLOW for a WRITE', WRITE, 0, [simple(75)]],
  ['an unknown chunk flag', WRITE, 0, [chunk(3, NONE)]],
  ['an unknown chunk type', WRITE, 0, [chunk(DONE, 9)]],
  ['NONE with a payload', WRITE, 0, [chunk(DONE, NONE, u16(0))]],
  ['NONE that is not the last', WRITE, 0, [chunk(0, NONE), done]],
  ['content for a WRITE', WRITE, 0, [hole(DONE, 1000, 100)]],
  ['data of no bytes', READ, 0, [data(0, 1000, 0), hole(DONE, 1000, 100)]],
  ['a hole of no bytes', READ, 0, [hole(0, 1000, 0), hole(DONE, 1000, 100)]],
  ['a hole chunk that is too long', READ, 0, [chunk(DONE, HOLE, u64(1000), u64(100))]],
  ['data above the maximum payload', READ, 0, [data(0, 1000, 65), hole(DONE, 1065, 35)]],
  ['a chunk far too long', READ, 0, [data(0, 1000, 100)]],
  ['content before the request', READ, 0, [hole(DONE, 999, 101)]],
  ['content behind the request', READ, 0, [hole(DONE, 1000, 101)]],
  ['content that overlaps', READ, 0, [hole(0, 1000, 100), data(DONE, 1099, 1)]],
  ['content that is missing', READ, 0, [data(0, 1000, 50), hole(DONE, 1051, 49)]],
  ['content over a reported error', READ, 0, [errorAt(0, 5, 1010), hole(DONE, 1000, 100)]],
  ['two chunks with DF', READ, DF, [hole(0, 1000, 50), hole(DONE, 1050, 50)]],
  ['an error of 0', WRITE, 0, [error(DONE, 0)]],
  ['an error chunk that is too short', WRITE, 0, [chunk(DONE, ERROR, u32(5))]],
  ['an error text that is too long', WRITE, 0, [chunk(DONE, ERROR, u32(5), u16(1))]],
  ['an error text with NUL', WRITE, 0, [error(DONE, 5, 'a\0')]],
  ['two errors', WRITE, 0, [error(0, 5), error(DONE, 5)]],
  ['an error offset outside', WRITE, 0, [errorAt(DONE, 5, 1100)]],
  ['an error offset for FLUSH', FLUSH, 0, [errorAt(DONE, 5, 1000)]],
  ['block status without its chunk', BLOCK_STATUS, 0, [done]],
  ['status of another context', BLOCK_STATUS, 0, [status(DONE, 4, 100, 0)]],
  ['status twice', BLOCK_STATUS, 0, [status(0, CONTEXT, 100, 0), status(DONE, CONTEXT, 100, 0)]],
  ['status for a READ', READ, 0, [status(DONE, CONTEXT, 100, 0)]],
  ['status of no extents', BLOCK_STATUS, 0, [status(DONE, CONTEXT)]],
  ['half a descriptor', BLOCK_STATUS, 0, [status(DONE, CONTEXT, 100, 0, 1)]],
  ['an extent of no bytes', BLOCK_STATUS, 0, [status(DONE, CONTEXT, 0, 0)]],
  ['equal neighbours', BLOCK_STATUS, 0, [status(DONE, CONTEXT, 50, 0, 50, 0)]],
  ['an extent too many', BLOCK_STATUS, 0, [status(DONE, CONTEXT, 100, 0, 1, 1)]],
  ['an extent behind the export', BLOCK_STATUS, 0, [status(DONE, CONTEXT, 3097, 0)]],
  ['unknown status bits', BLOCK_STATUS, 0, [status(DONE, CONTEXT, 100, 4)]],
  ['REQ_ONE with two', BLOCK_STATUS, REQ_ONE, [status(DONE, CONTEXT, 50, 0, 50, 1)]],
  ['REQ_ONE that is too long', BLOCK_STATUS, REQ_ONE, [status(DONE, CONTEXT, 101, 0)]],
]

for (const [title, command, flags, replies, style] of wrong)
  test(`notices ${title}`, (t) => {
    t.throws(() => check(command, flags, replies, style), { instanceOf: ProtocolViolation })
  })

test('tells what a reply said', (t) => {
  const [read] = check(READ, 0, [hole(0, 1060, 40), data(DONE, 1000, 60)])
  t.deepEqual(read.data, Buffer.concat([Buffer.alloc(60, 7), Buffer.alloc(40)]))
  t.deepEqual(read.chunkTypes, [HOLE, DATA])
  t.deepEqual(read.content()[0], { offset: 1000, length: 60 })
  const [failed] = check(WRITE, 0, [errorAt(DONE, 28, 1010)])
  t.deepEqual([failed.error, failed.errorOffset], [28, 1010])
  const [map] = check(BLOCK_STATUS, 0, [status(DONE, CONTEXT, 40, 0, 60, 3)])
  t.deepEqual(map.extents.get(CONTEXT)?.[1], { length: 60, flags: 3 })
})
