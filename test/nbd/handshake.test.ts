import test from 'ava'
import { Handshake } from '../../nbd/handshake.ts'
import { ReplyStyle } from '../../nbd/reply-style.ts'
import { Conversation, DISK, Reply, tableOf, types } from '../helpers/conversation.ts'
import {
  infoData,
  metaData,
  option,
  parseExportNameReply,
  parseGreeting,
  u32,
} from '../helpers/naive-codec.ts'

const [EXPORT_NAME, ABORT, LIST, GO, STRUCTURED_REPLY, SET_META] = [1, 2, 3, 7, 8, 10]
const UNKNOWN_OPTION = 77
const MIB = 1024 * 1024

test('the greeting offers FIXED_NEWSTYLE and NO_ZEROES and no other flag', (t) => {
  const handshake = new Handshake({ exports: tableOf(DISK) })
  t.is(parseGreeting(Buffer.from(handshake.greeting())), 3)
  t.is(handshake.outcome, null)
})

for (const flags of [4, 7, 0x8000_0000, 0xffff_ffff])
  test(`client flags 0x${flags.toString(16)} hold an unknown bit: hang up`, (t) => {
    const conversation = Conversation.greeted(undefined, flags)
    t.is(conversation.outcome?.kind, 'violation')
    t.is(conversation.heard().length, 0)
  })

for (const flags of [0, 1, 2, 3])
  test(`EXPORT_NAME with client flags ${flags} is padded unless NO_ZEROES`, (t) => {
    const conversation = Conversation.greeted(undefined, flags)
    conversation.say(option(EXPORT_NAME, Buffer.from('disk')))
    const reply = parseExportNameReply(conversation.heard(), (flags & 2) !== 0)
    t.is(reply.size, BigInt(DISK.device.size))
    t.is(conversation.agreement().export, DISK)
  })

test('a client without fixed newstyle has EXPORT_NAME only, anything else hangs up', (t) => {
  for (const code of [ABORT, LIST, GO, UNKNOWN_OPTION]) {
    const conversation = Conversation.greeted(undefined, 2)
    conversation.say(option(code))
    t.is(conversation.outcome?.kind, 'violation')
    t.is(conversation.heard().length, 0)
  }
})

test('an option without its magic hangs up', (t) => {
  for (let byte = 0; byte < 8; byte++) {
    const conversation = Conversation.greeted()
    const bytes = option(LIST)
    bytes[byte] ^= 1
    conversation.say(bytes)
    t.is(conversation.outcome?.kind, 'violation')
    t.is(conversation.heard().length, 0)
  }
})

for (const size of [0, 1, 100, 65536, 65537, MIB, 32 * MIB])
  test(`an unknown option of ${size} bytes is answered ERR_UNSUP, the next one works`, (t) => {
    const conversation = Conversation.greeted()
    t.deepEqual(types(conversation.ask(option(UNKNOWN_OPTION, Buffer.alloc(size)))), [Reply.UNSUP])
    t.deepEqual(types(conversation.ask(option(LIST))), [Reply.SERVER, Reply.ACK])
  })

for (const code of [4, 12, 0, 0xffff_ffff])
  test(`option ${code} is answered ERR_UNSUP and echoed`, (t) => {
    const [reply] = Conversation.greeted().ask(option(code, Buffer.alloc(3)))
    t.is(reply.type, Reply.UNSUP)
    t.is(reply.option, code)
  })

test('option data above 32 MiB hangs up at once, known option or not', (t) => {
  for (const code of [ABORT, LIST, GO, SET_META, UNKNOWN_OPTION])
    for (const length of [32 * MIB + 1, 0x7fff_ffff, 0x8000_0000, 0xffff_ffff]) {
      const conversation = Conversation.greeted()
      conversation.say(option(code, Buffer.alloc(0), length))
      t.is(conversation.outcome?.kind, 'violation')
    }
})

test('a known option above 64 KiB is skipped and answered ERR_TOO_BIG', (t) => {
  for (const code of [LIST, 5, 6, GO, STRUCTURED_REPLY, 9, SET_META]) {
    const conversation = Conversation.greeted()
    t.deepEqual(types(conversation.ask(option(code, Buffer.alloc(65537)))), [Reply.TOO_BIG])
    t.deepEqual(types(conversation.ask(option(LIST))), [Reply.SERVER, Reply.ACK])
  }
})

test('10,000 context queries are 70 KB: ERR_TOO_BIG, and the handshake goes on', (t) => {
  const conversation = Conversation.greeted()
  conversation.ask(option(STRUCTURED_REPLY))
  const queries = Array.from({ length: 10_000 }, () => 'x-a')
  t.deepEqual(types(conversation.ask(option(SET_META, metaData('disk', queries)))), [Reply.TOO_BIG])
  conversation.ask(option(GO, infoData('disk')))
  t.deepEqual(conversation.agreement().contexts, [])
})

test('64 options are answered, the 65th hangs up', (t) => {
  const conversation = Conversation.greeted()
  for (let count = 0; count < 64; count++)
    t.deepEqual(types(conversation.ask(option(UNKNOWN_OPTION))), [Reply.UNSUP])
  t.is(conversation.outcome, null)
  conversation.say(option(UNKNOWN_OPTION))
  t.is(conversation.outcome?.kind, 'violation')
  t.is(conversation.heard().length, 0)
})

test('ABORT is acknowledged, whatever data it carries', (t) => {
  for (const size of [0, 1, 65536, MIB]) {
    const conversation = Conversation.greeted()
    t.deepEqual(types(conversation.ask(option(ABORT, Buffer.alloc(size)))), [Reply.ACK])
    t.is(conversation.outcome?.kind, 'aborted')
  }
})

test('nothing is consumed after the end', (t) => {
  const endings = [option(ABORT), option(GO, infoData('disk')), Buffer.alloc(16)]
  for (const ending of endings) {
    const conversation = Conversation.greeted()
    conversation.say(Buffer.concat([ending, option(LIST)]))
    t.not(conversation.outcome, null)
    t.deepEqual(conversation.leftOver, option(LIST))
  }
})

test('while memory is scarce a known option above 8 KiB is skipped, and ERR_TOO_BIG', (t) => {
  const memory = { isScarce: true }
  const isMemoryScarce = (): boolean => memory.isScarce
  const handshake = new Handshake({ exports: tableOf(DISK), isMemoryScarce })
  const say = (bytes: Buffer): Buffer => {
    for (let at = 0; at < bytes.length;) at += handshake.consume(bytes, at, bytes.length)
    return Buffer.from(handshake.takeOutput())
  }
  const typeOf = (reply: Buffer): number => reply.readUInt32BE(12)
  const queries = (count: number): Buffer => metaData('disk', Array(count).fill('x:abcd'))
  say(Buffer.concat([u32(3), option(STRUCTURED_REPLY)]))
  t.is(typeOf(say(option(SET_META, queries(100)))), Reply.ACK)
  t.is(typeOf(say(option(SET_META, queries(1000)))), Reply.TOO_BIG)
  t.is(typeOf(say(option(SET_META, Buffer.alloc(8193)))), Reply.TOO_BIG)
  memory.isScarce = false
  t.is(typeOf(say(option(SET_META, queries(1000)))), Reply.ACK)
})

test('one step answers at most one option, so that output can be sent in between', (t) => {
  const handshake = new Handshake({ exports: tableOf(DISK) })
  const bytes = Buffer.concat([u32(3), option(LIST), option(LIST)])
  let at = 0
  let answers = 0
  for (;;) {
    const consumed = handshake.consume(bytes, at, bytes.length)
    if (consumed === 0) break
    at += consumed
    const output = handshake.hasOutput ? handshake.takeOutput() : new Uint8Array(0)
    if (output.length > 0) answers++
    t.false(handshake.hasOutput)
    t.true(output.length < 100)
  }
  t.is(at, bytes.length)
  t.is(answers, 2)
})

test('output taken stays as it was while the handshake goes on', (t) => {
  const conversation = Conversation.greeted()
  conversation.say(option(LIST))
  const first = conversation.handshake.takeOutput()
  const copy = Buffer.from(first)
  conversation.say(option(UNKNOWN_OPTION))
  t.deepEqual(Buffer.from(first), copy)
})

test('while shutting down every option but ABORT is answered ERR_SHUTDOWN', (t) => {
  const data = infoData('disk')
  for (const code of [LIST, 5, 6, GO, STRUCTURED_REPLY, 9, SET_META, UNKNOWN_OPTION]) {
    const conversation = Conversation.greeted()
    conversation.handshake.shutDown()
    t.deepEqual(types(conversation.ask(option(code, data))), [Reply.SHUTDOWN])
    t.deepEqual(types(conversation.ask(option(code, Buffer.alloc(70_000)))), [Reply.SHUTDOWN])
    t.deepEqual(types(conversation.ask(option(ABORT))), [Reply.ACK])
    t.is(conversation.outcome?.kind, 'aborted')
  }
})

test('a shutdown that begins inside an option counts', (t) => {
  const conversation = Conversation.greeted()
  const bytes = option(GO, infoData('disk'))
  conversation.say(bytes.subarray(0, 20))
  conversation.handshake.shutDown()
  t.deepEqual(types(conversation.ask(bytes.subarray(20))), [Reply.SHUTDOWN])
})

test('EXPORT_NAME while shutting down hangs up', (t) => {
  const conversation = Conversation.greeted()
  conversation.handshake.shutDown()
  conversation.say(option(EXPORT_NAME, Buffer.from('disk')))
  t.is(conversation.outcome?.kind, 'violation')
  t.is(conversation.heard().length, 0)
})

test('split at every position, and byte by byte, the client gets the same replies', (t) => {
  const stream = Buffer.concat([
    u32(3),
    option(UNKNOWN_OPTION, Buffer.alloc(40)),
    option(STRUCTURED_REPLY),
    option(LIST),
    option(6, infoData('nowhere', [1, 2, 3])),
    option(SET_META, metaData('disk', ['base:allocation', 'qemu:other'])),
    option(6, Buffer.alloc(9)),
    option(GO, infoData('disk', [3, 2, 1])),
    Buffer.from('the first request'),
  ])
  const converse = (pieces: readonly Buffer[], pieceBytes?: number): string => {
    const conversation = new Conversation()
    conversation.handshake.greeting()
    for (const piece of pieces) conversation.say(piece, pieceBytes)
    const { contexts, replyStyle } = conversation.agreement()
    const heard = conversation.heard()
    t.is(replyStyle, ReplyStyle.STRUCTURED)
    t.is(contexts.length, 1)
    return `${heard.toString('hex')} ${conversation.leftOver.toString()}`
  }
  const whole = converse([stream])
  t.true(whole.endsWith(' the first request'))
  t.is(converse([stream], 1), whole)
  for (let at = 1; at < stream.length; at++)
    t.is(converse([stream.subarray(0, at), stream.subarray(at)]), whole)
})
