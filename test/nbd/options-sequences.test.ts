/** All short sequences of options, against a model of what the specification says about each. */
import test from 'ava'
import type { TlsMode } from '../../nbd/negotiation.ts'
import { ReplyStyle } from '../../nbd/reply-style.ts'
import { Conversation, DISK, Reply, tableOf } from '../helpers/conversation.ts'
import { infoData, metaData, option } from '../helpers/naive-codec.ts'

/** Longest sequence in each mode. */
const MODES: readonly (readonly [TlsMode, number])[] = [
  ['off', 4],
  ['on', 4],
  ['require', 3],
]
const BASE = ['base:allocation']
const OTHER = { ...DISK, name: 'other' }

/** What the client has reached, as the specification has it. */
interface Model {
  readonly mode: TlsMode
  isSecure: boolean
  style: ReplyStyle
  contextsOf: string | null
  end: 'disk' | 'other' | 'aborted' | 'violation' | null
}

interface Step {
  readonly bytes: Buffer
  /** Changes the model; returns the type of the final reply, 0 for none. */
  readonly effect: (model: Model) => number
}

function ends(end: Model['end'], reply: number): Step['effect'] {
  return (model) => {
    model.end = end
    return reply
  }
}

/** EXPORT_NAME. */
function attaches(end: Model['end']): Step['effect'] {
  return (model) => {
    model.end = model.style === ReplyStyle.EXTENDED ? 'violation' : end
    return 0
  }
}

function selects(name: string | null, reply: number): Step['effect'] {
  return (model) => {
    const mayAsk = model.style !== ReplyStyle.SIMPLE
    model.contextsOf = mayAsk ? name : null
    return mayAsk ? reply : Reply.INVALID
  }
}

/** Whatever was agreed before is forgotten. */
function startTls(model: Model): number {
  if (model.mode === 'off') return Reply.POLICY
  if (model.isSecure) return Reply.INVALID
  model.isSecure = true
  model.style = ReplyStyle.SIMPLE
  model.contextsOf = null
  return Reply.ACK
}

/** Where clients choose, there may be something with TLS. */
function enterNowhere({ mode, isSecure }: Model): number {
  return mode === 'on' && !isSecure ? Reply.TLS_REQD : Reply.UNKNOWN
}

/** What a server that demands TLS does before it: only STARTTLS and ABORT are carried out. */
function beforeTls(model: Model, step: Step): number {
  const code = step.bytes[11]
  if (code === 2 || code === 5) return step.effect(model)
  if (code !== 1) return Reply.TLS_REQD
  model.end = 'violation'
  return 0
}

const STEPS: readonly Step[] = [
  { bytes: option(1, Buffer.from('disk')), effect: attaches('disk') },
  { bytes: option(1, Buffer.from('nowhere')), effect: attaches('violation') },
  { bytes: option(2, Buffer.from('bye')), effect: ends('aborted', Reply.ACK) },
  { bytes: option(3), effect: () => Reply.ACK },
  { bytes: option(5), effect: startTls },
  { bytes: option(6, infoData('disk', [0, 1, 2, 3])), effect: () => Reply.ACK },
  { bytes: option(7, infoData('other', [3])), effect: ends('other', Reply.ACK) },
  { bytes: option(7, infoData('nowhere')), effect: enterNowhere },
  { bytes: option(7, Buffer.alloc(5, 0xff)), effect: () => Reply.INVALID },
  {
    bytes: option(8),
    effect: (model) => {
      if (model.style === ReplyStyle.EXTENDED) return Reply.EXT_HEADER_REQD
      model.style = ReplyStyle.STRUCTURED
      return Reply.ACK
    },
  },
  {
    bytes: option(11),
    effect: (model) => {
      model.style = ReplyStyle.EXTENDED
      return Reply.ACK
    },
  },
  { bytes: option(9, metaData('disk')), effect: () => Reply.ACK },
  { bytes: option(10, metaData('disk', BASE)), effect: selects('disk', Reply.ACK) },
  { bytes: option(10, metaData('nowhere', BASE)), effect: selects(null, Reply.UNKNOWN) },
  { bytes: option(77, Buffer.alloc(9)), effect: () => Reply.UNSUP },
]

function run(mode: TlsMode, sequence: readonly Step[]): string {
  const conversation = Conversation.greeted(TABLE, 3, mode)
  const style = ReplyStyle.SIMPLE
  const model: Model = { mode, isSecure: false, style, contextsOf: null, end: null }
  for (const step of sequence) {
    if (model.end !== null) break
    conversation.say(step.bytes)
    const heard = conversation.handshake.outcome?.kind === 'transmission'
    const wasSecure = model.isSecure
    const isRefused = mode === 'require' && !wasSecure
    const final = isRefused ? beforeTls(model, step) : step.effect(model)
    if (final === 0) {
      const size = model.end === 'violation' ? 0 : 10
      if (conversation.heard().length !== size) return 'EXPORT_NAME answer'
    } else if (conversation.heardReplies().at(-1)?.type !== final) return `reply, not ${final}`
    if (model.isSecure !== wasSecure) conversation.secure()
    if (heard !== (model.end === 'disk' || model.end === 'other')) return 'transmission'
  }
  return compare(conversation, model)
}

function compare(conversation: Conversation, model: Model): string {
  const { outcome } = conversation
  if (model.end === null) return outcome === null ? '' : 'ended too early'
  if (outcome === null) return 'not ended'
  if (outcome.kind !== 'transmission') return outcome.kind === model.end ? '' : 'wrong end'
  const { agreement } = outcome
  if (agreement.export.name !== model.end) return 'wrong export'
  if (agreement.replyStyle !== model.style) return 'style of replies'
  const selected = model.contextsOf === model.end ? 1 : 0
  if (agreement.contexts.length !== selected) return 'contexts'
  const flags = agreement.transmissionFlags
  if (((flags & 128) !== 0) !== (model.style !== ReplyStyle.SIMPLE)) return 'DF'
  const mayChoose = model.style === ReplyStyle.EXTENDED && selected === 1
  return ((flags & 4096) !== 0) === mayChoose ? '' : 'BLOCK_STATUS_PAYLOAD'
}

const TABLE = tableOf(DISK, OTHER)

for (const [mode, lengthMax] of MODES) {
  test(`all sequences of up to ${lengthMax} options end in the right state, TLS ${mode}`, (t) => {
    let count = 0
    const visit = (sequence: readonly Step[]): void => {
      const problem = run(mode, sequence)
      const names = sequence.map((step) => STEPS.indexOf(step)).join()
      if (problem !== '') t.fail(`sequence ${names}: ${problem}`)
      count++
      if (sequence.length === lengthMax) return
      for (const step of STEPS) visit([...sequence, step])
    }
    visit([])
    t.is(count, (15 ** (lengthMax + 1) - 1) / 14)
  })
}
