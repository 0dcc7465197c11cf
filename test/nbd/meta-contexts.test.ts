import test from 'ava'
import type { ExecutionContext } from 'ava'
import { Conversation, DISK, Reply, tableOf, types } from '../helpers/conversation.ts'
import { counted, infoData, metaData, option, u32 } from '../helpers/naive-codec.ts'

const [EXPORT_NAME, GO, STRUCTURED_REPLY, LIST_META, SET_META] = [1, 7, 8, 9, 10]
const BASE = 'base:allocation'
const OTHER = { ...DISK, name: 'other' }

function structured(): Conversation {
  const conversation = Conversation.greeted(tableOf(DISK, OTHER))
  conversation.ask(option(STRUCTURED_REPLY))
  return conversation
}

function selectedAfterGo(conversation: Conversation, name = 'disk'): string[] {
  conversation.ask(option(GO, infoData(name)))
  return conversation.agreement().contexts.map((context) => context.name)
}

const finds = test.macro({
  title: (_, code: number, queries: readonly string[], found: number) =>
    `${code === SET_META ? 'SET' : 'LIST'}_META_CONTEXT ${JSON.stringify(queries)} finds ${found}`,
  exec(t: ExecutionContext, code: number, queries: readonly string[], found: number) {
    const conversation = structured()
    const replies = conversation.ask(option(code, metaData('disk', queries)))
    const expected = found === 1 ? [Reply.META, Reply.ACK] : [Reply.ACK]
    t.deepEqual(types(replies), expected)
    if (found === 1) t.is(replies[0].data.toString('utf8', 4), BASE)
    const selected = found === 1 && code === SET_META ? [BASE] : []
    t.deepEqual(selectedAfterGo(conversation), selected)
  },
})

test(finds, LIST_META, [], 1)
test(finds, LIST_META, ['base:'], 1)
test(finds, LIST_META, [BASE], 1)
test(finds, LIST_META, ['base:', BASE, 'base:', BASE], 1)
test(finds, LIST_META, ['qemu:'], 0)
test(finds, LIST_META, ['base'], 0)
test(finds, LIST_META, [''], 0)
test(finds, LIST_META, [':'], 0)
test(finds, LIST_META, ['x-ours:leaf', BASE], 1)
test(finds, SET_META, [], 0)
test(finds, SET_META, ['base:'], 0)
test(finds, SET_META, [BASE], 1)
test(finds, SET_META, [BASE, BASE], 1)
test(finds, SET_META, ['base:unknown'], 0)
test(finds, SET_META, ['qemu:dirty-bitmap:b', BASE], 1)
test(finds, SET_META, ['no colon'], 0)
test(finds, SET_META, ['BASE:ALLOCATION'], 0)

test('the id of the agreement is the id told to the client', (t) => {
  const conversation = structured()
  const [reply] = conversation.ask(option(SET_META, metaData('disk', [BASE])))
  conversation.ask(option(GO, infoData('disk')))
  t.is(conversation.agreement().contexts[0].id, reply.data.readUInt32BE(0))
})

test('EXPORT_NAME keeps the contexts as GO does', (t) => {
  for (const [name, count] of [
    ['disk', 1],
    ['other', 0],
  ] as const) {
    const conversation = structured()
    conversation.ask(option(SET_META, metaData('disk', [BASE])))
    conversation.say(option(EXPORT_NAME, Buffer.from(name)))
    t.is(conversation.agreement().contexts.length, count)
  }
})

test('contexts of one export name are not those of another', (t) => {
  for (const [set, go] of [
    ['disk', 'other'],
    ['disk', ''],
    ['', 'disk'],
  ]) {
    const conversation = structured()
    conversation.ask(option(SET_META, metaData(set, [BASE])))
    t.deepEqual(selectedAfterGo(conversation, go), [])
  }
  const conversation = structured()
  conversation.ask(option(SET_META, metaData('', [BASE])))
  t.deepEqual(selectedAfterGo(conversation, ''), [BASE])
})

test('without structured replies contexts are listed, but not selected: ERR_INVALID', (t) => {
  const conversation = Conversation.greeted(tableOf(DISK))
  const data = metaData('disk', [BASE])
  t.deepEqual(types(conversation.ask(option(SET_META, data))), [Reply.INVALID])
  t.deepEqual(types(conversation.ask(option(LIST_META, data))), [Reply.META, Reply.ACK])
  t.deepEqual(selectedAfterGo(conversation), [])
})

test('an unknown export is ERR_UNKNOWN', (t) => {
  for (const code of [LIST_META, SET_META]) {
    const conversation = structured()
    t.deepEqual(types(conversation.ask(option(code, metaData('nowhere', [BASE])))), [Reply.UNKNOWN])
    t.deepEqual(selectedAfterGo(conversation), [])
  }
})

const replaced: readonly (readonly [string, Buffer, number])[] = [
  ['an empty one', metaData('disk'), Reply.ACK],
  ['one that finds nothing', metaData('disk', ['base:unknown']), Reply.ACK],
  ['one for an unknown export', metaData('nowhere', [BASE]), Reply.UNKNOWN],
  ['one that is broken', Buffer.alloc(3), Reply.INVALID],
  ['one without data', Buffer.alloc(0), Reply.INVALID],
  ['one that is too big', Buffer.alloc(65537), Reply.TOO_BIG],
]

for (const [what, data, reply] of replaced)
  test(`SET_META_CONTEXT drops the old selection: ${what}`, (t) => {
    const conversation = structured()
    conversation.ask(option(SET_META, metaData('disk', [BASE])))
    t.is(conversation.ask(option(SET_META, data)).at(-1)?.type, reply)
    t.deepEqual(selectedAfterGo(conversation), [])
  })

test('LIST_META_CONTEXT leaves the selection alone', (t) => {
  const conversation = structured()
  conversation.ask(option(SET_META, metaData('disk', [BASE])))
  conversation.ask(option(LIST_META, metaData('disk')))
  conversation.ask(option(LIST_META, Buffer.alloc(3)))
  t.deepEqual(selectedAfterGo(conversation), [BASE])
})

test('broken context options are ERR_INVALID, and the next option works', (t) => {
  const broken = [
    Buffer.alloc(0),
    counted('disk'),
    Buffer.concat([counted('disk', 5), u32(0)]),
    Buffer.concat([counted('disk'), u32(1)]),
    Buffer.concat([counted('disk'), u32(0xffff_ffff), counted(BASE)]),
    Buffer.concat([counted('disk'), u32(2), counted(BASE)]),
    Buffer.concat([counted('disk'), u32(1), counted(BASE, 16)]),
    Buffer.concat([counted('disk'), u32(1), counted(BASE, 0xffff_ffff)]),
    Buffer.concat([counted('disk'), u32(1), counted(BASE), Buffer.alloc(1)]),
    Buffer.concat([counted('disk'), u32(1), counted(Buffer.from([0xff]))]),
    Buffer.concat([counted('disk'), u32(1), counted('base:\0')]),
    Buffer.concat([counted('disk'), u32(1), counted('x-'.padEnd(4097, 'y'))]),
    Buffer.concat([counted(Buffer.from([0xff])), u32(0)]),
  ]
  for (const data of broken)
    for (const code of [LIST_META, SET_META]) {
      const conversation = structured()
      t.deepEqual(types(conversation.ask(option(code, data))), [Reply.INVALID])
      const next = conversation.ask(option(code, metaData('disk', [BASE])))
      t.deepEqual(types(next), [Reply.META, Reply.ACK])
    }
})

test('a query may be 4096 bytes long, and thousands of queries fit into the limit', (t) => {
  const long = structured().ask(option(SET_META, metaData('disk', ['x-'.padEnd(4096, 'y'), BASE])))
  t.deepEqual(types(long), [Reply.META, Reply.ACK])
  const queries = Array.from({ length: 8000 }, () => 'x:z').concat(BASE)
  const many = structured().ask(option(SET_META, metaData('disk', queries)))
  t.deepEqual(types(many), [Reply.META, Reply.ACK])
})
