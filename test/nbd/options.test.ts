import test from 'ava'
import type { Export } from '../../nbd/export.ts'
import { ReplyStyle } from '../../nbd/reply-style.ts'
import { Conversation, DISK, Reply, silentDevice, tableOf, types } from '../helpers/conversation.ts'
import type { DeviceTraits } from '../helpers/conversation.ts'
import { counted, infoData, option, u16, u32 } from '../helpers/naive-codec.ts'
import type { OptionReplyMessage } from '../helpers/naive-codec.ts'

const [EXPORT_NAME, LIST, STARTTLS, INFO, GO, STRUCTURED_REPLY] = [1, 3, 5, 6, 7, 8]
const [INFO_EXPORT, INFO_NAME, INFO_DESCRIPTION, INFO_BLOCK_SIZE] = [0, 1, 2, 3]
const BOTH = [INFO, GO]

const SECOND: Export = {
  name: 'zweite Größe',
  description: '',
  device: silentDevice({ size: 512 }),
}

function infosOf(replies: readonly OptionReplyMessage[]): Map<number, Buffer> {
  const infos = replies.filter((reply) => reply.type === Reply.INFO)
  return new Map(infos.map(({ data }) => [data.readUInt16BE(0), data.subarray(2)]))
}

function flagsWith(traits: DeviceTraits, structured: boolean): number {
  const entry = { ...DISK, device: silentDevice(traits) }
  const conversation = Conversation.greeted(tableOf(entry))
  if (structured) conversation.ask(option(STRUCTURED_REPLY))
  const infos = infosOf(conversation.ask(option(INFO, infoData('disk'))))
  return infos.get(INFO_EXPORT)?.readUInt16BE(8) ?? 0
}

test('LIST names every export with its description, in order', (t) => {
  const replies = Conversation.greeted(tableOf(DISK, SECOND)).ask(option(LIST))
  t.deepEqual(types(replies), [Reply.SERVER, Reply.SERVER, Reply.ACK])
  t.deepEqual(replies[0].data, Buffer.concat([counted('disk'), Buffer.from('a disk')]))
  t.deepEqual(replies[1].data, counted('zweite Größe'))
})

test('LIST of no exports is just an ACK', (t) => {
  t.deepEqual(types(Conversation.greeted(tableOf()).ask(option(LIST))), [Reply.ACK])
})

test('LIST with data is ERR_INVALID and lists nothing', (t) => {
  const conversation = Conversation.greeted()
  t.deepEqual(types(conversation.ask(option(LIST, Buffer.alloc(1)))), [Reply.INVALID])
  t.deepEqual(types(conversation.ask(option(LIST))), [Reply.SERVER, Reply.ACK])
})

test('LIST of 10,000 exports works, of more it is ERR_TOO_BIG', (t) => {
  const many = Array.from({ length: 10_001 }, (_, index) => ({ ...DISK, name: `disk${index}` }))
  const replies = Conversation.greeted(tableOf(...many.slice(1))).ask(option(LIST))
  t.is(replies.length, 10_001)
  t.deepEqual(types(Conversation.greeted(tableOf(...many)).ask(option(LIST))), [Reply.TOO_BIG])
})

test('a description longer than a string may be is cut between two characters', (t) => {
  const long = { ...DISK, description: `x${'ü'.repeat(3000)}` }
  const replies = Conversation.greeted(tableOf(long)).ask(option(LIST))
  const description = replies[0].data.subarray(4 + 'disk'.length)
  t.is(description.toString(), `x${'ü'.repeat(2047)}`)
})

test('STARTTLS is refused by policy and the connection goes on', (t) => {
  const conversation = Conversation.greeted()
  t.deepEqual(types(conversation.ask(option(STARTTLS))), [Reply.POLICY])
  t.deepEqual(types(conversation.ask(option(STARTTLS, Buffer.alloc(1)))), [Reply.INVALID])
  t.deepEqual(types(conversation.ask(option(STARTTLS))), [Reply.POLICY])
  t.deepEqual(types(conversation.ask(option(LIST))), [Reply.SERVER, Reply.ACK])
})

test('INFO and GO without requests send INFO_EXPORT only', (t) => {
  for (const code of BOTH) {
    const replies = Conversation.greeted().ask(option(code, infoData('disk')))
    t.deepEqual(types(replies), [Reply.INFO, Reply.ACK])
    t.true(replies.every((reply) => reply.option === code))
    t.is(infosOf(replies).get(INFO_EXPORT)?.readBigUInt64BE(0), 1n << 20n)
  }
})

test('a size above 2^32 arrives exactly', (t) => {
  const size = 2 ** 53 - 4096
  const huge = { ...DISK, device: silentDevice({ size }) }
  const infos = infosOf(Conversation.greeted(tableOf(huge)).ask(option(INFO, infoData('disk'))))
  t.is(infos.get(INFO_EXPORT)?.readBigUInt64BE(0), BigInt(size))
  const conversation = Conversation.greeted(tableOf(huge))
  conversation.say(option(EXPORT_NAME))
  t.is(conversation.heard().readBigUInt64BE(0), BigInt(size))
})

test('INFO and GO answer each requested type once and ignore unknown ones', (t) => {
  for (const code of BOTH) {
    const requests = [99, 3, 1, 2, 0, 3, 2, 1, 0xffff, 0]
    const replies = Conversation.greeted().ask(option(code, infoData('', requests)))
    t.is(replies.length, 5)
    const infos = infosOf(replies)
    t.is(infos.get(INFO_NAME)?.toString(), 'disk')
    t.is(infos.get(INFO_DESCRIPTION)?.toString(), 'a disk')
    t.deepEqual(infos.get(INFO_BLOCK_SIZE), Buffer.concat([1, 4096, 32 << 20].map(u32)))
  }
})

test('an export without a description sends no INFO_DESCRIPTION', (t) => {
  const conversation = Conversation.greeted(tableOf(SECOND))
  t.is(conversation.ask(option(INFO, infoData('', [INFO_DESCRIPTION]))).length, 2)
})

test('a device with an alignment advertises it as the minimum block size', (t) => {
  const sizes = [512, 65536].map((alignment) => {
    const entry = { ...DISK, device: silentDevice({ alignment }) }
    const replies = Conversation.greeted(tableOf(entry)).ask(option(INFO, infoData('', [3])))
    return infosOf(replies).get(INFO_BLOCK_SIZE)
  })
  t.deepEqual(sizes[0], Buffer.concat([512, 4096, 32 << 20].map(u32)))
  t.deepEqual(sizes[1], Buffer.concat([65536, 65536, 32 << 20].map(u32)))
})

test('INFO then GO with the same parameters say the same', (t) => {
  const conversation = Conversation.greeted()
  const told = (code: number): Buffer[] =>
    conversation.ask(option(code, infoData('disk', [1, 2, 3]))).map((reply) => reply.data)
  t.deepEqual(told(INFO), told(GO))
})

test('GO enters the transmission phase with what was negotiated', (t) => {
  const conversation = Conversation.greeted(tableOf(DISK, SECOND), 0x1)
  conversation.ask(option(STRUCTURED_REPLY))
  const replies = conversation.ask(option(GO, infoData('zweite Größe')))
  t.is(conversation.leftOver.length, 0)
  const agreement = conversation.agreement()
  t.is(agreement.export, SECOND)
  t.is(agreement.replyStyle, ReplyStyle.STRUCTURED)
  t.is(infosOf(replies).get(INFO_EXPORT)?.readUInt16BE(8), agreement.transmissionFlags)
})

test('INFO does not enter the transmission phase', (t) => {
  const conversation = Conversation.greeted()
  conversation.ask(option(INFO, infoData('disk')))
  t.is(conversation.outcome, null)
})

test('an unknown export is ERR_UNKNOWN without INFO, and the client may try again', (t) => {
  for (const code of BOTH) {
    const conversation = Conversation.greeted()
    const replies = conversation.ask(option(code, infoData('nowhere', [0, 1, 2, 3])))
    t.deepEqual(types(replies), [Reply.UNKNOWN])
    t.true(replies[0].data.toString().includes('nowhere'))
    t.is(conversation.outcome, null)
    conversation.ask(option(GO, infoData('disk')))
    t.is(conversation.outcome?.kind, 'transmission')
  }
})

test('names differ by case and by normalisation, and never mean a path', (t) => {
  for (const name of ['DISK', 'disk ', './disk', 'zweite Gro\u0308ße', '..', '/'])
    t.deepEqual(
      types(Conversation.greeted(tableOf(DISK, SECOND)).ask(option(INFO, infoData(name)))),
      [Reply.UNKNOWN],
    )
})

test('without a default export the empty name is unknown', (t) => {
  const conversation = Conversation.greeted(tableOf())
  t.deepEqual(types(conversation.ask(option(GO, infoData('')))), [Reply.UNKNOWN])
  conversation.say(option(EXPORT_NAME))
  t.is(conversation.outcome?.kind, 'violation')
})

test('an error text stays a string when the name in it is as long as can be', (t) => {
  for (let size = 4000; size <= 4096; size++)
    for (const letter of ['a', 'ü', '€']) {
      const bytes = Buffer.byteLength(letter)
      const name = 'b'.repeat(size % bytes) + letter.repeat(Math.floor(size / bytes))
      t.is(Buffer.byteLength(name), size)
      t.deepEqual(types(Conversation.greeted().ask(option(GO, infoData(name)))), [Reply.UNKNOWN])
    }
})

test('a name that is no string is ERR_INVALID: NUL, bad UTF-8, 4097 bytes', (t) => {
  const names = [
    Buffer.from('di\0sk'),
    Buffer.from([0xff]),
    Buffer.from([0xc3]),
    Buffer.from([0xed, 0xa0, 0x80]),
    Buffer.from([0xc0, 0x80]),
    Buffer.alloc(4097, 'a'),
  ]
  for (const name of names)
    for (const code of BOTH) {
      const conversation = Conversation.greeted()
      t.deepEqual(types(conversation.ask(option(code, infoData(name)))), [Reply.INVALID])
      t.deepEqual(types(conversation.ask(option(LIST))), [Reply.SERVER, Reply.ACK])
    }
})

test('EXPORT_NAME of a missing export or with a name that is no string hangs up', (t) => {
  for (const name of [
    'nowhere',
    'a'.repeat(4096),
    'a'.repeat(4097),
    'di\0sk',
    Buffer.from([255]),
  ]) {
    const conversation = Conversation.greeted()
    conversation.say(option(EXPORT_NAME, Buffer.from(name)))
    t.is(conversation.outcome?.kind, 'violation')
    t.is(conversation.heard().length, 0)
  }
})

test('INFO and GO whose lengths do not add up are ERR_INVALID', (t) => {
  const broken = [
    Buffer.alloc(0),
    Buffer.alloc(2),
    counted('disk'),
    Buffer.concat([counted('disk'), u16(1)]),
    Buffer.concat([counted('disk'), u16(2), u16(0)]),
    Buffer.concat([counted('disk'), u16(0), u16(0)]),
    Buffer.concat([counted('disk', 5), u16(0)]),
    Buffer.concat([counted('disk', 0xffff_ffff), u16(0)]),
    Buffer.concat([infoData('disk'), Buffer.alloc(1)]),
  ]
  for (const data of broken)
    for (const code of BOTH) {
      const conversation = Conversation.greeted()
      t.deepEqual(types(conversation.ask(option(code, data))), [Reply.INVALID])
      t.deepEqual(types(conversation.ask(option(GO, infoData('disk')))), [Reply.INFO, Reply.ACK])
    }
})

test('STRUCTURED_REPLY may be repeated; with data it is ERR_INVALID and changes nothing', (t) => {
  const conversation = Conversation.greeted()
  t.deepEqual(types(conversation.ask(option(STRUCTURED_REPLY, Buffer.alloc(1)))), [Reply.INVALID])
  const refused = Conversation.greeted()
  refused.ask(option(STRUCTURED_REPLY, Buffer.alloc(1)))
  refused.ask(option(GO, infoData('disk')))
  t.is(refused.agreement().replyStyle, ReplyStyle.SIMPLE)
  t.deepEqual(types(conversation.ask(option(STRUCTURED_REPLY))), [Reply.ACK])
  t.deepEqual(types(conversation.ask(option(STRUCTURED_REPLY))), [Reply.ACK])
  conversation.ask(option(GO, infoData('disk')))
  t.is(conversation.agreement().replyStyle, ReplyStyle.STRUCTURED)
})

test('the transmission flags promise what the device can do', (t) => {
  const [HAS_FLAGS, READ_ONLY, FLUSH, FUA, TRIM, ZEROES] = [1, 2, 4, 8, 32, 64]
  const [DF, MULTI_CONN, CACHE, FAST_ZERO] = [128, 256, 1024, 2048]
  const always = HAS_FLAGS | FLUSH | FUA | MULTI_CONN | CACHE
  for (const df of [0, DF]) {
    const flags = (traits: DeviceTraits): number => flagsWith(traits, df !== 0)
    t.is(flags({}), always | ZEROES | TRIM | FAST_ZERO | df)
    t.is(flags({ trim: false }), always | ZEROES | FAST_ZERO | df)
    t.is(flags({ fastZero: false }), always | ZEROES | TRIM | df)
    t.is(flags({ readOnly: true }), always | READ_ONLY | df)
  }
})
