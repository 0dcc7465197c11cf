/** An export that a client may not have is the same as one that does not exist. */
import test from 'ava'
import type { AccessPolicy } from '../../nbd/access.ts'
import type { TlsMode } from '../../nbd/negotiation.ts'
import type { Export, ExportTable } from '../../nbd/export.ts'
import type { Peer } from '../../nbd/peer.ts'
import {
  Conversation,
  DISK,
  Reply,
  silentDevice,
  STRANGER,
  tableOf,
  types,
} from '../helpers/conversation.ts'
import { infoData, metaData, option } from '../helpers/naive-codec.ts'
import { Random, seedFor } from '../helpers/random.ts'

const [EXPORT_NAME, LIST, STARTTLS, INFO, GO] = [1, 3, 5, 6, 7]
const [STRUCTURED_REPLY, LIST_META, SET_META] = [8, 9, 10]

const SECRET: Export = { name: 'secret', description: 'of others', device: silentDevice() }
const HIDDEN: Export = { name: 'hidden', description: 'not listed', device: silentDevice() }

/** What is refused to whom. */
function refuse(entry: Export, refusal: (peer: Peer) => string | null): AccessPolicy {
  return {
    refusal: (each, peer) => (each === entry ? refusal(peer) : null),
    isListed: (each) => each !== HIDDEN,
  }
}

const NOBODY = refuse(SECRET, () => 'no')
const WITH_TLS = refuse(SECRET, ({ tls }) => (tls === null ? 'only with TLS' : null))

/** With another one as the default export, or with none. */
function tableWithDefault(entry: Export | null, ...exports: readonly Export[]): ExportTable {
  const table = tableOf(...exports)
  return { find: (name) => (name === '' ? entry : table.find(name)), list: table.list }
}

/** A client that asks for whatever comes to its mind. */
function someOption(random: Random): Buffer {
  const name = random.pick(['secret', 'secret', 'disk', '', 'secre', 'Secret', 'hidden'])
  const queries = random.pick([[], ['base:'], ['base:allocation'], ['x:y', 'base:allocation']])
  switch (random.between(0, 6)) {
    case 0:
      return option(LIST)
    case 1:
      return option(INFO, infoData(name, random.pick([[], [0, 1, 2, 3]])))
    case 2:
      return option(random.pick([LIST_META, SET_META]), metaData(name, queries))
    case 3:
      return option(STRUCTURED_REPLY)
    case 4:
      return option(GO, infoData(name))
    case 5:
      return option(EXPORT_NAME, Buffer.from(name))
    default:
      return option(random.pick([LIST, INFO, GO, LIST_META, 99]), Buffer.from(random.bytes(3)))
  }
}

/** @returns what the server says, and how it ends, when somebody talks to it by this seed */
function talk(seed: number, table: ExportTable, mode: TlsMode, policy: AccessPolicy): unknown[] {
  const random = new Random(seed)
  const conversation = Conversation.greeted(table, 3, mode, policy)
  const heard: unknown[] = []
  const secureAt = mode === 'off' ? -1 : random.between(0, 8)
  for (let count = 0; count < 8 && conversation.outcome === null; count++) {
    if (count === secureAt && policy !== WITH_TLS) {
      conversation.say(option(STARTTLS))
      heard.push(conversation.heard().toString('hex'))
      conversation.secure(STRANGER)
    }
    conversation.say(someOption(random))
    heard.push(conversation.heard().toString('hex'))
  }
  const { outcome } = conversation
  heard.push(outcome?.kind === 'transmission' ? outcome.agreement.export.name : outcome)
  return heard
}

for (const mode of ['off', 'on', 'require'] as const) {
  test(`TLS ${mode}: whatever is asked, a refused export and none are told alike`, (t) => {
    const first = seedFor(t)
    for (let seed = first; seed < first + 2000; seed++) {
      const policy = mode === 'on' && seed % 2 === 0 ? WITH_TLS : NOBODY
      const there = talk(seed, tableWithDefault(SECRET, SECRET, DISK, HIDDEN), mode, policy)
      const missing = talk(seed, tableWithDefault(null, DISK, HIDDEN), mode, policy)
      if (JSON.stringify(there) === JSON.stringify(missing)) continue
      t.deepEqual(there, missing, `SEED=${seed}`)
      return
    }
    t.pass()
  })
}

test('a refused export: the words that are said of one that is not there', (t) => {
  const told: string[] = []
  const conversation = Conversation.greeted(tableOf(SECRET, DISK), 3, 'off', NOBODY)
  conversation.ask(option(STRUCTURED_REPLY))
  for (const asked of ['secret', 'nothere', '']) {
    for (const [code, data] of [
      [INFO, infoData(asked)],
      [GO, infoData(asked)],
      [LIST_META, metaData(asked)],
      [SET_META, metaData(asked, ['base:allocation'])],
    ] as const) {
      const [reply, ...rest] = conversation.ask(option(code, data))
      t.deepEqual([reply.type, rest.length], [Reply.UNKNOWN, 0])
      told.push(reply.data.toString())
    }
  }
  t.deepEqual(
    [...new Set(told)],
    ['there is no export "secret"', 'there is no export "nothere"', 'there is no default export'],
  )
  t.deepEqual(types(conversation.ask(option(LIST))), [Reply.SERVER, Reply.ACK])
  conversation.say(option(EXPORT_NAME, Buffer.from('secret')))
  t.is(conversation.outcome?.kind, 'violation')
  t.is(conversation.heard().length, 0)
})

test('who may have it has it; a hidden one is there for those who know its name', (t) => {
  const table = tableOf(SECRET, DISK, HIDDEN)
  const conversation = Conversation.greeted(table, 3, 'on', WITH_TLS)
  t.deepEqual(types(conversation.ask(option(GO, infoData('secret')))), [Reply.TLS_REQD])
  // Where that is a reason, what does not exist could be there with TLS too.
  t.deepEqual(types(conversation.ask(option(INFO, infoData('nothere')))), [Reply.TLS_REQD])
  t.deepEqual(types(conversation.ask(option(LIST_META, metaData('secret')))), [Reply.UNKNOWN])
  t.deepEqual(types(conversation.ask(option(LIST))), [Reply.SERVER, Reply.ACK])
  conversation.ask(option(STARTTLS))
  conversation.secure()
  t.deepEqual(types(conversation.ask(option(INFO, infoData('nothere')))), [Reply.UNKNOWN])
  const listed = types(conversation.ask(option(LIST)))
  t.deepEqual(listed, [Reply.SERVER, Reply.SERVER, Reply.ACK])
  t.deepEqual(types(conversation.ask(option(INFO, infoData('hidden')))), [Reply.INFO, Reply.ACK])
  conversation.ask(option(GO, infoData('secret')))
  t.is(conversation.agreement().export, SECRET)
})
