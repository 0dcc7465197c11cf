/** Every length field at every interesting value, inner against outer, judged by a naive parser. */
import test from 'ava'
import { Conversation, DISK, Reply, tableOf, types } from '../helpers/conversation.ts'
import { infoData, metaData, option, u16, u32 } from '../helpers/naive-codec.ts'

const [EXPORT_NAME, LIST, INFO, GO, STRUCTURED_REPLY, LIST_META, SET_META] = [1, 3, 6, 7, 8, 9, 10]
const LENGTHS = [0, 1, 255, 256, 4096, 4097, 65536, 2 ** 31 - 1, 2 ** 31, 2 ** 32 - 1]
const DISCARD_MAX = 32 * 1024 * 1024

/** Lengths of option data around each value that some inner length asks for. */
const OUTER = [
  ...new Set(LENGTHS.flatMap((length) => [-1, 0, 1, 5, 6, 7, 8].map((d) => length + d))),
]
  .filter((length) => length >= 0 && length < 2 ** 32)
  .sort((a, b) => a - b)

class Broken extends Error {}

function cut(data: Buffer, length: number): [Buffer, Buffer] {
  if (length > data.length) throw new Broken()
  return [data.subarray(0, length), data.subarray(length)]
}

function cutName(data: Buffer): [string, Buffer] {
  const [length, rest] = cut(data, 4)
  const [name, after] = cut(rest, length.readUInt32BE(0))
  if (name.length > 4096 || name.includes(0)) throw new Broken()
  return [name.toString(), after]
}

/** What a server must answer to INFO, by an implementation too simple to be wrong. */
function naiveInfo(data: Buffer): number {
  const [name, rest] = cutName(data)
  const [count, types] = cut(rest, 2)
  if (types.length !== 2 * count.readUInt16BE(0)) throw new Broken()
  return name === 'disk' || name === '' ? Reply.ACK : Reply.UNKNOWN
}

function naiveMeta(data: Buffer): number {
  const [name, rest] = cutName(data)
  const [count, queries] = cut(rest, 4)
  let left = queries
  for (let query = 0; query < count.readUInt32BE(0); query++) left = cutName(left)[1]
  if (left.length > 0) throw new Broken()
  return name === 'disk' || name === '' ? Reply.ACK : Reply.UNKNOWN
}

function expected(code: number, data: Buffer): number {
  if (data.length > 65536) return Reply.TOO_BIG
  try {
    return code === INFO ? naiveInfo(data) : naiveMeta(data)
  } catch (error) {
    if (!(error instanceof Broken)) throw error
    return Reply.INVALID
  }
}

function ready(): Conversation {
  const conversation = Conversation.greeted(tableOf(DISK))
  conversation.ask(option(STRUCTURED_REPLY))
  return conversation
}

/** `start` and then letters up to `length` bytes; cut if it is longer than that. */
function filled(start: Buffer, length: number): Buffer {
  const data = Buffer.alloc(length, 'a')
  start.copy(data)
  return data
}

function replyTo(code: number, data: Buffer): number {
  const conversation = ready()
  const reply = conversation.ask(option(code, data)).at(-1)?.type ?? 0
  const next = types(conversation.ask(option(LIST)))
  return next.join() === [Reply.SERVER, Reply.ACK].join() ? reply : -1
}

for (const code of [INFO, LIST_META, SET_META])
  test(`option ${code}: inner against outer lengths, the next option is understood`, (t) => {
    let accepted = 0
    const heads = LENGTHS.flatMap((length) => [
      u32(length),
      Buffer.concat([u32(0), u32(length)]),
      Buffer.concat([u32(0), u32(1), u32(length)]),
      Buffer.concat([u32(4), Buffer.from('disk'), u32(1), u32(length)]),
      Buffer.concat([u32(4), Buffer.from('disk'), u16(length % 65536)]),
    ])
    for (const outer of OUTER.filter((length) => length <= 70_000))
      for (const head of heads) {
        const data = filled(head, outer)
        const reply = replyTo(code, data)
        t.is(reply, expected(code, data))
        if (reply === Reply.ACK) accepted++
      }
    t.true(accepted > 0, 'some of the combinations must be valid')
  })

test('well-formed options are accepted up to exactly 64 KiB', (t) => {
  const infos = (65536 - 10) / 2
  t.is(replyTo(INFO, infoData('disk', Array(infos).fill(9))), Reply.ACK)
  t.is(replyTo(INFO, infoData('disk', Array(infos + 1).fill(9))), Reply.TOO_BIG)
  const queries = (65536 - 12) / 4
  t.is(replyTo(LIST_META, metaData('disk', Array(queries).fill(''))), Reply.ACK)
  t.is(replyTo(LIST_META, metaData('disk', Array(queries + 1).fill(''))), Reply.TOO_BIG)
})

test('a name of any length is taken for what it is', (t) => {
  for (const length of LENGTHS.filter((value) => value <= 65536)) {
    const known = [Reply.ACK, Reply.UNKNOWN][Math.min(length, 1)]
    const reply = length <= 4096 ? known : length <= 65530 ? Reply.INVALID : Reply.TOO_BIG
    t.is(replyTo(INFO, infoData('n'.repeat(length))), reply)
  }
})

test('outer lengths above what is skipped hang up at the header, none below does', (t) => {
  for (const code of [LIST, 5, INFO, GO, STRUCTURED_REPLY, LIST_META, SET_META, 77])
    for (const length of [...OUTER, DISCARD_MAX - 1, DISCARD_MAX, DISCARD_MAX + 1]) {
      const conversation = ready()
      conversation.say(option(code, Buffer.alloc(0), length))
      t.is(conversation.outcome?.kind, length > DISCARD_MAX ? 'violation' : undefined)
    }
})

test('EXPORT_NAME hangs up at the header when the name cannot be one', (t) => {
  for (const length of OUTER) {
    const conversation = ready()
    conversation.say(option(EXPORT_NAME, Buffer.alloc(0), length))
    const kind = length === 0 ? 'transmission' : length > 4096 ? 'violation' : undefined
    t.is(conversation.outcome?.kind, kind)
  }
})
