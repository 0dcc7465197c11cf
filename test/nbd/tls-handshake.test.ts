/** STARTTLS and the modes of TLS in the handshake, without any encryption. */
import test from 'ava'
import type { TlsMode } from '../../nbd/negotiation.ts'
import { ReplyStyle } from '../../nbd/reply-style.ts'
import { Conversation, Reply, types } from '../helpers/conversation.ts'
import { infoData, metaData, option } from '../helpers/naive-codec.ts'

const [ABORT, LIST, STARTTLS, INFO, GO] = [2, 3, 5, 6, 7]
const [STRUCTURED_REPLY, SET_META, EXTENDED_HEADERS] = [8, 10, 11]
const MODES = ['on', 'require'] as const
const FIXED_NEWSTYLE = 1
const CONTEXTS = metaData('disk', ['base:allocation'])

function greeted(mode: TlsMode, clientFlags = 3): Conversation {
  return Conversation.greeted(undefined, clientFlags, mode)
}

for (const mode of MODES) {
  test(`${mode}: STARTTLS is acknowledged, options go on in TLS`, (t) => {
    const conversation = greeted(mode)
    t.deepEqual(types(conversation.ask(option(STARTTLS))), [Reply.ACK])
    conversation.secure()
    t.deepEqual(types(conversation.ask(option(LIST))), [Reply.SERVER, Reply.ACK])
    t.deepEqual(types(conversation.ask(option(GO, infoData('disk')))), [Reply.INFO, Reply.ACK])
    t.is(conversation.agreement().export.name, 'disk')
  })

  test(`${mode}: STARTTLS with data is ERR_INVALID and changes nothing`, (t) => {
    const conversation = greeted(mode)
    t.deepEqual(types(conversation.ask(option(STARTTLS, Buffer.alloc(1)))), [Reply.INVALID])
    t.is(conversation.outcome, null)
    t.deepEqual(types(conversation.ask(option(STARTTLS))), [Reply.ACK])
  })

  test(`${mode}: STARTTLS in TLS is ERR_INVALID, and the handshake goes on`, (t) => {
    const conversation = greeted(mode)
    conversation.ask(option(STARTTLS))
    conversation.secure()
    t.deepEqual(types(conversation.ask(option(STARTTLS))), [Reply.INVALID])
    t.deepEqual(types(conversation.ask(option(LIST))), [Reply.SERVER, Reply.ACK])
  })

  test(`${mode}: nothing behind STARTTLS is taken for an option`, (t) => {
    const conversation = greeted(mode)
    const injected = Buffer.concat([option(STARTTLS), option(STRUCTURED_REPLY), option(LIST)])
    t.deepEqual(types(conversation.ask(injected)), [Reply.ACK])
    t.is(conversation.leftOver.length, 32)
    t.deepEqual(conversation.outcome, { kind: 'tls' })
  })

  test(`${mode}: a client without fixed newstyle cannot have TLS`, (t) => {
    const conversation = greeted(mode, 0)
    conversation.say(option(STARTTLS))
    t.is(conversation.heard().length, 0)
    t.is(conversation.outcome?.kind, 'violation')
  })

  test(`${mode}: a server that shuts down begins no TLS`, (t) => {
    const conversation = greeted(mode)
    conversation.handshake.shutDown()
    t.deepEqual(types(conversation.ask(option(STARTTLS))), [Reply.SHUTDOWN])
  })

  test(`${mode}: a server that shuts down meanwhile says so in TLS`, (t) => {
    const conversation = greeted(mode)
    conversation.ask(option(STARTTLS))
    conversation.handshake.shutDown()
    conversation.secure()
    t.deepEqual(types(conversation.ask(option(LIST))), [Reply.SHUTDOWN])
  })
}

test('what was negotiated before STARTTLS is forgotten', (t) => {
  for (const style of [STRUCTURED_REPLY, EXTENDED_HEADERS]) {
    const conversation = greeted('on')
    t.deepEqual(types(conversation.ask(option(style))), [Reply.ACK])
    t.deepEqual(types(conversation.ask(option(SET_META, CONTEXTS))), [Reply.META, Reply.ACK])
    conversation.ask(option(STARTTLS))
    conversation.secure()
    t.deepEqual(types(conversation.ask(option(SET_META, CONTEXTS))), [Reply.INVALID])
    conversation.ask(option(GO, infoData('disk')))
    const { replyStyle, contexts, transmissionFlags } = conversation.agreement()
    t.is(replyStyle, ReplyStyle.SIMPLE)
    t.is(contexts.length, 0)
    t.is(transmissionFlags & 128, 0, 'SEND_DF')
  }
})

test('the client flags of the beginning hold in TLS', (t) => {
  for (const [flags, size] of [
    [3, 10],
    [FIXED_NEWSTYLE, 134],
  ]) {
    const conversation = greeted('require', flags)
    conversation.ask(option(STARTTLS))
    conversation.secure()
    conversation.say(option(1, Buffer.from('disk')))
    t.is(conversation.heard().length, size)
  }
})

test('require: every option before TLS is ERR_TLS_REQD, whatever its size', (t) => {
  const conversation = greeted('require')
  const wishes = [
    option(LIST),
    option(4),
    option(INFO, infoData('disk')),
    option(INFO, infoData('nowhere')),
    option(GO, infoData('disk')),
    option(GO, Buffer.alloc(3)),
    option(STRUCTURED_REPLY),
    option(9, metaData('disk')),
    option(SET_META, CONTEXTS),
    option(11),
    option(77, Buffer.alloc(100_000)),
    option(LIST, Buffer.alloc(100_000)),
  ]
  for (const wish of wishes) t.deepEqual(types(conversation.ask(wish)), [Reply.TLS_REQD])
  t.deepEqual(types(conversation.ask(option(STARTTLS))), [Reply.ACK])
})

test('require: EXPORT_NAME before TLS hangs up', (t) => {
  const conversation = greeted('require')
  conversation.say(option(1, Buffer.from('disk')))
  t.is(conversation.heard().length, 0)
  t.is(conversation.outcome?.kind, 'violation')
})

test('require: ABORT works without TLS', (t) => {
  const conversation = greeted('require')
  t.deepEqual(types(conversation.ask(option(ABORT))), [Reply.ACK])
  t.is(conversation.outcome?.kind, 'aborted')
})

test('on: a client may go without TLS, and is never told to have it', (t) => {
  const conversation = greeted('on')
  t.deepEqual(types(conversation.ask(option(LIST))), [Reply.SERVER, Reply.ACK])
  t.deepEqual(types(conversation.ask(option(77))), [Reply.UNSUP])
  t.deepEqual(types(conversation.ask(option(GO, infoData('disk')))), [Reply.INFO, Reply.ACK])
})
