/** Which contexts a client finds and gets, by namespace, device and headers. */
import test from 'ava'
import type { ExecutionContext } from 'ava'
import { ExtentKind } from '../../device/extents.ts'
import { Conversation, DISK, Reply, silentDevice, tableOf, types } from '../helpers/conversation.ts'
import { infoData, metaData, option } from '../helpers/naive-codec.ts'

const [GO, STRUCTURED_REPLY, LIST_META, SET_META, EXTENDED_HEADERS] = [7, 8, 9, 10, 11]
const BASE = 'base:allocation'
const DEPTH = 'qemu:allocation-depth'
const PART = 'x-chunknbd:part'
const CHUNK = 'x-chunknbd:chunk'
const ALL = ExtentKind.DEPTH | ExtentKind.PART | ExtentKind.CHUNK

/** A device that tells so much of its extents. */
function conversationAbout(extentKinds: number, style: number): Conversation {
  const silent = silentDevice()
  const device = { ...silent, features: { ...silent.features, extentKinds } }
  const conversation = Conversation.greeted(tableOf({ ...DISK, device }, DISK))
  conversation.ask(option(style))
  return conversation
}

function found(conversation: Conversation, code: number, queries: readonly string[]): string[] {
  const replies = conversation.ask(option(code, metaData('disk', queries)))
  if (replies.at(-1)?.type !== Reply.ACK) throw new Error('refused')
  return replies.slice(0, -1).map((reply) => reply.data.toString('utf8', 4))
}

const finds = test.macro({
  title: (_, queries: readonly string[], listed: readonly string[]) =>
    `${JSON.stringify(queries)} lists ${listed.join(' ') || 'nothing'}`,
  exec(t: ExecutionContext, queries: readonly string[], listed: readonly string[]) {
    const conversation = conversationAbout(ALL, EXTENDED_HEADERS)
    t.deepEqual(found(conversation, LIST_META, queries), listed)
    // Only whole names select.
    const selected = listed.filter((name) => queries.includes(name))
    t.deepEqual(found(conversation, SET_META, queries), selected)
    conversation.ask(option(GO, infoData('disk')))
    const names = conversation.agreement().contexts.map(({ name }) => name)
    t.deepEqual(names, selected)
  },
})

test(finds, [], [BASE, DEPTH, PART, CHUNK])
test(finds, ['base:'], [BASE])
test(finds, ['qemu:'], [DEPTH])
test(finds, ['x-chunknbd:'], [PART, CHUNK])
test(finds, ['qemu:', 'base:'], [BASE, DEPTH])
test(finds, ['qemu:', DEPTH, 'qemu:'], [DEPTH])
test(finds, [CHUNK, BASE], [BASE, CHUNK])
test(finds, [CHUNK, DEPTH, PART, BASE, CHUNK], [BASE, DEPTH, PART, CHUNK])
test(finds, ['qemu:dirty-bitmap:', 'qemu:dirty-bitmap:b'], [])
test(finds, ['qemu', 'x-chunknbd', 'x-chunknbd:p', 'x-chunknbd:part:', 'x-chunk:'], [])
test(finds, ['QEMU:', ' qemu:allocation-depth', 'qemu:allocation-depth '], [])

test('a context of 64 bits is neither listed nor selected without extended headers', (t) => {
  const conversation = conversationAbout(ALL, STRUCTURED_REPLY)
  t.deepEqual(found(conversation, LIST_META, []), [BASE, DEPTH, PART])
  t.deepEqual(found(conversation, LIST_META, ['x-chunknbd:', CHUNK]), [PART])
  t.deepEqual(found(conversation, SET_META, [CHUNK]), [])
  t.deepEqual(found(conversation, SET_META, [CHUNK, PART]), [PART])
})

test('contexts of what a device cannot tell do not exist', (t) => {
  const expected = new Map([
    [0, [BASE]],
    [ExtentKind.DEPTH, [BASE, DEPTH]],
    [ExtentKind.DEPTH | ExtentKind.PART, [BASE, DEPTH, PART]],
    [ExtentKind.PART | ExtentKind.CHUNK, [BASE]],
    [ALL, [BASE, DEPTH, PART, CHUNK]],
  ])
  for (const [kinds, names] of expected) {
    const conversation = conversationAbout(kinds, EXTENDED_HEADERS)
    t.deepEqual(found(conversation, LIST_META, []), names)
    t.deepEqual(found(conversation, SET_META, [BASE, DEPTH, PART, CHUNK]), names)
  }
})

test('each selected context has an id of its own, and the ids are those of the agreement', (t) => {
  const conversation = conversationAbout(ALL, EXTENDED_HEADERS)
  const names = [CHUNK, DEPTH, BASE, PART]
  const replies = conversation.ask(option(SET_META, metaData('disk', names))).slice(0, -1)
  const ids = replies.map(({ data }) => data.readUInt32BE(0))
  t.is(new Set(ids).size, 4)
  conversation.ask(option(GO, infoData('disk')))
  t.deepEqual(
    conversation.agreement().contexts.map(({ id }) => id),
    ids,
  )
})

test('the last SET_META_CONTEXT counts, for the export that it names', (t) => {
  const conversation = conversationAbout(ALL, EXTENDED_HEADERS)
  t.deepEqual(found(conversation, SET_META, [BASE, DEPTH]), [BASE, DEPTH])
  t.deepEqual(found(conversation, SET_META, [PART]), [PART])
  const refused = conversation.ask(option(GO, infoData('nowhere')))
  t.deepEqual(types(refused), [Reply.UNKNOWN])
  conversation.ask(option(GO, infoData('disk')))
  t.deepEqual(
    conversation.agreement().contexts.map(({ name }) => name),
    [PART],
  )
})
