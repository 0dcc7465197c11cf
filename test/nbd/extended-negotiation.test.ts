/** EXTENDED_HEADERS in the handshake: who gets it, and what it does to the other options. */
import test from 'ava'
import { ReplyStyle } from '../../nbd/reply-style.ts'
import { Conversation, DISK, Reply, silentDevice, tableOf, types } from '../helpers/conversation.ts'
import { infoData, metaData, option } from '../helpers/naive-codec.ts'

const [EXPORT_NAME, STARTTLS, INFO, GO, STRUCTURED_REPLY] = [1, 5, 6, 7, 8]
const [LIST_META, SET_META, EXTENDED_HEADERS] = [9, 10, 11]
const [DF, BLOCK_STATUS_PAYLOAD] = [1 << 7, 1 << 12]
const BASE = ['base:allocation']

/** A client that has asked for extended headers. */
function extended(): Conversation {
  const conversation = Conversation.greeted(tableOf(DISK, { ...DISK, name: 'other' }))
  conversation.ask(option(EXTENDED_HEADERS))
  return conversation
}

/** Flags of INFO_EXPORT. */
function flagsIn(conversation: Conversation, code: number, name: string): number {
  const [info] = conversation.ask(option(code, infoData(name)))
  return info.data.readUInt16BE(10)
}

test('EXTENDED_HEADERS is acknowledged, before and after STRUCTURED_REPLY, also twice', (t) => {
  for (const codes of [[11], [8, 11], [11, 11], [8, 8, 11]]) {
    const conversation = Conversation.greeted()
    for (const code of codes) t.deepEqual(types(conversation.ask(option(code))), [Reply.ACK])
    conversation.ask(option(GO, infoData('disk')))
    t.is(conversation.agreement().replyStyle, ReplyStyle.EXTENDED)
  }
})

test('EXTENDED_HEADERS with data is ERR_INVALID and changes nothing', (t) => {
  const conversation = Conversation.greeted()
  const refused = conversation.ask(option(EXTENDED_HEADERS, Buffer.alloc(4)))
  t.deepEqual(types(refused), [Reply.INVALID])
  conversation.ask(option(GO, infoData('disk')))
  t.is(conversation.agreement().replyStyle, ReplyStyle.SIMPLE)
})

test('STRUCTURED_REPLY after EXTENDED_HEADERS is ERR_EXT_HEADER_REQD, and nothing changes', (t) => {
  const conversation = extended()
  t.deepEqual(types(conversation.ask(option(STRUCTURED_REPLY))), [Reply.EXT_HEADER_REQD])
  t.deepEqual(types(conversation.ask(option(GO, infoData('disk')))), [Reply.INFO, Reply.ACK])
  t.is(conversation.agreement().replyStyle, ReplyStyle.EXTENDED)
})

test('EXPORT_NAME after EXTENDED_HEADERS hangs up', (t) => {
  const conversation = extended()
  conversation.say(option(EXPORT_NAME, Buffer.from('disk')))
  t.is(conversation.outcome?.kind, 'violation')
  t.is(conversation.heard().length, 0)
})

test('GO and INFO never say ERR_UNSUP or ERR_EXT_HEADER_REQD', (t) => {
  for (const conversation of [extended(), Conversation.greeted()])
    for (const code of [INFO, GO]) {
      t.deepEqual(types(conversation.ask(option(code, infoData('nowhere')))), [Reply.UNKNOWN])
      t.deepEqual(types(conversation.ask(option(code, Buffer.alloc(1)))), [Reply.INVALID])
      const told = types(conversation.ask(option(code, infoData('disk'))))
      t.deepEqual(told, [Reply.INFO, Reply.ACK])
    }
})

test('with extended headers contexts can be selected, and a request may choose among them', (t) => {
  const conversation = extended()
  t.is(flagsIn(conversation, INFO, 'disk') & (DF | BLOCK_STATUS_PAYLOAD), DF)
  const selected = conversation.ask(option(SET_META, metaData('disk', BASE)))
  t.deepEqual(types(selected), [Reply.META, Reply.ACK])
  // Those of one export name only, and INFO says what GO will.
  t.is(flagsIn(conversation, INFO, 'other') & BLOCK_STATUS_PAYLOAD, 0)
  t.is(flagsIn(conversation, INFO, '') & BLOCK_STATUS_PAYLOAD, 0)
  t.is(flagsIn(conversation, INFO, 'disk') & BLOCK_STATUS_PAYLOAD, BLOCK_STATUS_PAYLOAD)
  t.is(flagsIn(conversation, GO, 'disk') & BLOCK_STATUS_PAYLOAD, BLOCK_STATUS_PAYLOAD)
  t.is(conversation.agreement().contexts.length, 1)
})

test('without extended headers nobody is offered BLOCK_STATUS_PAYLOAD', (t) => {
  for (const readOnly of [false, true]) {
    const device = silentDevice({ readOnly })
    const conversation = Conversation.greeted(tableOf({ ...DISK, device }))
    conversation.ask(option(STRUCTURED_REPLY))
    conversation.ask(option(SET_META, metaData('disk', BASE)))
    t.is(flagsIn(conversation, GO, 'disk') & BLOCK_STATUS_PAYLOAD, 0)
  }
})

test('contexts stay selected when EXTENDED_HEADERS comes after them', (t) => {
  const conversation = Conversation.greeted()
  conversation.ask(option(STRUCTURED_REPLY))
  conversation.ask(option(SET_META, metaData('disk', BASE)))
  conversation.ask(option(EXTENDED_HEADERS))
  t.is(flagsIn(conversation, GO, 'disk') & BLOCK_STATUS_PAYLOAD, BLOCK_STATUS_PAYLOAD)
  t.is(conversation.agreement().contexts.length, 1)
})

test('the other options work as before', (t) => {
  const conversation = extended()
  t.deepEqual(types(conversation.ask(option(LIST_META, metaData('disk')))), [Reply.META, Reply.ACK])
  t.deepEqual(types(conversation.ask(option(STARTTLS))), [Reply.POLICY])
  t.deepEqual(types(conversation.ask(option(12))), [Reply.UNSUP])
  t.deepEqual(types(conversation.ask(option(2))), [Reply.ACK])
})
