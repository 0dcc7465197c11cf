/**
 * Questions where the specification leaves room, or servers are known to answer wrongly. What four
 * servers answer is in docs/peer-matrix.md.
 */
import { counted, infoData, metaData, u16, u32 } from './naive-codec.ts'
import {
  ALLOCATION,
  asked,
  command,
  contextOption,
  eightReads,
  oldName,
  optionOf,
  type Question,
  requestBytes,
  thenGo,
  write,
} from './peer-asking.ts'
import type { Place } from './peer-client.ts'

const [ABORT, LIST, STARTTLS, INFO, GO] = [2, 3, 5, 6, 7]
const [STRUCTURED_REPLY, LIST_META, SET_META] = [8, 9, 10]
const [READ, WRITE, DISC, FLUSH, TRIM, CACHE, WRITE_ZEROES, BLOCK_STATUS] = [0, 1, 2, 3, 4, 5, 6, 7]
const MIB = 1 << 20
const OVERFLOW = 2n ** 64n - 512n
const END = -512

/** @returns all answers, by title */
export async function askAll(
  place: Place,
  isReadOnly: boolean,
): Promise<ReadonlyMap<string, string>> {
  const answers = new Map<string, string>()
  for (const { title, ask, isReadOnly: ofReadOnly = false } of QUESTIONS) {
    if (ofReadOnly === isReadOnly) answers.set(title, await ask(place))
  }
  return answers
}

const HANDSHAKE: readonly Question[] = [
  {
    title: 'GO with all kinds of information',
    ask: asked(async (client) => {
      await client.ask(STRUCTURED_REPLY)
      const replies = await client.goReplies(GO, client.name, [0, 1, 2, 3])
      const flags = client.transmissionFlags.toString(16)
      return `${replies}; flags 0x${flags}; sizes ${client.blockSizes.join(' ') || 'not told'}`
    }),
  },
  {
    title: 'GO without a kind of information',
    ask: asked(async (client) => {
      const replies = await client.goReplies(GO, client.name, [])
      return `${replies}; flags 0x${client.transmissionFlags.toString(16)}`
    }),
  },
  oldName('client flags 0, EXPORT_NAME', 0, null, 134),
  oldName('client flags 1, EXPORT_NAME', 1, null, 134),
  oldName('client flags 3, EXPORT_NAME', 3, null, 10),
  { title: 'client flags 0, LIST', ask: asked((client) => client.ask(LIST), 0) },
  { title: 'client flags 7 (an unknown bit), LIST', ask: asked((client) => client.ask(LIST), 7) },
  {
    title: 'an option without its magic',
    ask: asked(async (client) => {
      client.write(Buffer.concat([Buffer.from('NOTMAGIC'), u32(LIST), u32(0)]))
      return (await client.replies()).length.toString()
    }),
  },
  oldName('EXPORT_NAME of a missing export', 3, 'no-such-export', 10),
  oldName('EXPORT_NAME with a name of 5000 bytes', 3, 'a'.repeat(5000), 10),
  {
    title: 'GO of a missing export',
    ask: asked(async (client) => {
      return thenGo(client, await client.goReplies(GO, 'no-such-export'))
    }),
  },
  {
    title: 'INFO, then GO',
    ask: asked(async (client) => {
      const told = await client.goReplies(INFO, client.name)
      return `${told}, ${await client.goReplies(GO, client.name)}`
    }),
  },
]

const OPTIONS: readonly Question[] = [
  ...[0, 100, 65_536, MIB].map((length) => {
    return optionOf(`unknown option, ${length} bytes`, 77, Buffer.alloc(length, 'x'))
  }),
  optionOf('option of 2^32 - 1 bytes, none follow', 77, undefined, 0xffffffff),
  optionOf('PEEK_EXPORT', 4),
  optionOf('EXTENDED_HEADERS', 11),
  optionOf('LIST', LIST),
  optionOf('LIST with data', LIST, Buffer.from('abc')),
  optionOf('STRUCTURED_REPLY with data', STRUCTURED_REPLY, Buffer.from('abc')),
  contextOption('STRUCTURED_REPLY twice', STRUCTURED_REPLY, Buffer.alloc(0)),
  optionOf('STARTTLS without TLS', STARTTLS),
  optionOf('STARTTLS with data', STARTTLS, Buffer.from('abc')),
  { title: 'ABORT', ask: asked((client) => client.ask(ABORT)) },
  { title: 'ABORT with data', ask: asked((client) => client.ask(ABORT, Buffer.from('bye'))) },
  optionOf('GO of 2 bytes', GO, Buffer.from('ab')),
  optionOf('GO: name longer than the data', GO, Buffer.concat([counted('ab', 1000), u16(0)])),
  optionOf('GO: name of 2^32 - 1 bytes', GO, Buffer.concat([counted('', 0xffffffff), u16(0)])),
  optionOf('GO: more types than there are', GO, Buffer.concat([u32(0), u16(9)])),
  {
    title: 'GO: bytes behind the end',
    ask: asked((client) =>
      client.ask(GO, (name) => Buffer.concat([infoData(name), Buffer.from('zz')])),
    ),
  },
  {
    title: 'GO: a type twice',
    ask: asked((client) => client.ask(GO, (name) => infoData(name, [3, 3]))),
  },
  {
    title: 'GO: unknown type',
    ask: asked((client) => client.ask(GO, (name) => infoData(name, [99]))),
  },
  optionOf('GO: name of 4096 bytes', GO, infoData('a'.repeat(4096))),
  optionOf('GO: name of 4097 bytes', GO, infoData('a'.repeat(4097))),
  optionOf('GO: name with NUL', GO, infoData('a\0b')),
  optionOf('GO: name that is not UTF-8', GO, infoData(Buffer.from('fffe80', 'hex'))),
  optionOf('LIST_META_CONTEXT, simple replies', LIST_META, (name) => metaData(name)),
  optionOf('SET_META_CONTEXT, simple replies', SET_META, (name) => metaData(name, ALLOCATION)),
  contextOption('LIST_META_CONTEXT without queries', LIST_META, (name) => metaData(name)),
  contextOption('LIST_META_CONTEXT base:', LIST_META, (name) => metaData(name, ['base:'])),
  contextOption('LIST_META_CONTEXT x-foo:bar', LIST_META, (name) => metaData(name, ['x-foo:bar'])),
  contextOption('SET_META_CONTEXT base:allocation', SET_META, (name) => metaData(name, ALLOCATION)),
  contextOption('the same twice', SET_META, (name) =>
    metaData(name, [...ALLOCATION, ...ALLOCATION]),
  ),
  contextOption('SET_META_CONTEXT base:', SET_META, (name) => metaData(name, ['base:'])),
  contextOption('SET_META_CONTEXT base:unknown', SET_META, (name) =>
    metaData(name, ['base:unknown']),
  ),
  contextOption('SET_META_CONTEXT nocolon', SET_META, (name) => metaData(name, ['nocolon'])),
  contextOption('the same, missing export', SET_META, metaData('no-such-export', ALLOCATION)),
  contextOption('SET_META_CONTEXT, query longer than the data', SET_META, (name) =>
    Buffer.concat([counted(name), u32(1), counted('base', 500)]),
  ),
  contextOption('SET_META_CONTEXT of 10,000 queries', SET_META, (name) =>
    metaData(name, Array<string>(10_000).fill('x:y')),
  ),
]

const READS: readonly Question[] = [
  ...[false, true].flatMap((structured) => [
    command('READ beyond the end', { command: READ, offset: END, length: 1024 }, { structured }),
    command(
      'READ at 2^64 - 512',
      { command: READ, offset: OVERFLOW, length: 1024 },
      { structured },
    ),
    command('READ of length 0', { command: READ }, { structured }),
  ]),
  command('READ of 1 byte at 1', { command: READ, offset: 1, length: 1 }),
  command('READ of 32 MiB', { command: READ, length: 32 * MIB }),
  command('READ of 32 MiB + 512', { command: READ, length: 32 * MIB + 512 }),
  command('READ of 64 MiB', { command: READ, length: 64 * MIB }, { structured: true }),
  command(
    'READ of 64 MiB, DF',
    { command: READ, length: 64 * MIB, flags: 4 },
    { structured: true },
  ),
  command('READ, DF, simple replies', { command: READ, length: 512, flags: 4 }),
  command('READ, FUA', { command: READ, length: 512, flags: 1 }),
  command('READ, unknown flag', { command: READ, length: 512, flags: 0x100 }),
  command('READ, NO_HOLE', { command: READ, length: 512, flags: 2 }),
]

const CHANGES: readonly Question[] = [
  write('WRITE', 512),
  write('WRITE of length 0', 0),
  write('WRITE beyond the end', 1024, { offset: END }),
  write('WRITE of 32 MiB', 32 * MIB),
  write('WRITE of 32 MiB + 512', 32 * MIB + 512),
  write('WRITE of 64 MiB', 64 * MIB),
  write('WRITE of 2^32 - 1 bytes, none follow', 0, { length: 0xffffffff }),
  write('WRITE, unknown flag', 512, { flags: 0x100 }),
  command('FLUSH', { command: FLUSH }),
  command('FLUSH, FUA', { command: FLUSH, flags: 1 }),
  command('FLUSH with offset and length', { command: FLUSH, offset: 512, length: 512 }),
  command('TRIM', { command: TRIM, length: 4096 }),
  command('TRIM beyond the end', { command: TRIM, offset: END, length: 1024 }),
  command('TRIM of the whole disk', { command: TRIM, length: -1 }),
  command('TRIM of length 0', { command: TRIM }),
  command('CACHE', { command: CACHE, length: 4096 }),
  command('CACHE beyond the end', { command: CACHE, offset: END, length: 1024 }),
  command('CACHE, unknown flag', { command: CACHE, length: 4096, flags: 0x100 }),
  command('WRITE_ZEROES', { command: WRITE_ZEROES, length: 4096 }),
  command('WRITE_ZEROES, NO_HOLE', { command: WRITE_ZEROES, length: 4096, flags: 2 }),
  command('WRITE_ZEROES, FAST_ZERO', { command: WRITE_ZEROES, length: 4096, flags: 16 }),
  command('WRITE_ZEROES, both', { command: WRITE_ZEROES, length: 4096, flags: 18 }),
  command('WRITE_ZEROES beyond the end', { command: WRITE_ZEROES, offset: END, length: 1024 }),
  command('WRITE_ZEROES of the whole disk', { command: WRITE_ZEROES, length: -1 }),
]

const REST: readonly Question[] = [
  ...[false, true].map((structured) => {
    const status = { command: BLOCK_STATUS, length: 4096 }
    return command('BLOCK_STATUS without a context', status, { structured })
  }),
  command('BLOCK_STATUS', { command: BLOCK_STATUS, length: MIB }, { contexts: true }),
  command(
    'BLOCK_STATUS, REQ_ONE',
    { command: BLOCK_STATUS, length: MIB, flags: 8 },
    { contexts: true },
  ),
  command(
    'BLOCK_STATUS beyond the end',
    { command: BLOCK_STATUS, offset: END, length: 1024 },
    { contexts: true },
  ),
  command('BLOCK_STATUS of length 0', { command: BLOCK_STATUS }, { contexts: true }),
  command('RESIZE', { command: 8 }),
  command('unknown command', { command: 99 }),
  command('unknown command', { command: 99 }, { structured: true }),
  command('wrong request magic', { command: READ, length: 512, magic: 0x12345678 }),
  command('extended request, not negotiated', { command: READ, length: 512, magic: 0x21e41c71 }),
  {
    title: 'DISC',
    ask: asked(async (client) => {
      await client.go()
      client.write(requestBytes(DISC, 0))
      return (await client.read(1)).length.toString()
    }),
  },
  eightReads('8 READs and DISC', (client) => client.write(requestBytes(DISC, 0))),
  eightReads('8 READs and half-close', (client) => client.socket.end()),
  ...[
    ['WRITE', WRITE, 512],
    ['TRIM', TRIM, 0],
    ['WRITE_ZEROES', WRITE_ZEROES, 0],
    ['FLUSH', FLUSH, 0],
  ].map(([name, code, bytes]) => {
    const payload = Buffer.alloc(Number(bytes))
    const fields = { command: Number(code), length: code === FLUSH ? 0 : 512, payload }
    return command(`read-only: ${name}`, fields, { isReadOnly: true })
  }),
]

export const QUESTIONS: readonly Question[] = [
  ...HANDSHAKE,
  ...OPTIONS,
  ...READS,
  ...CHANGES,
  ...REST,
]
