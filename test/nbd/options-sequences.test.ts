/** All short sequences of options, against a model of what the specification says about each. */
import test from 'ava'
import { Conversation, DISK, Reply, tableOf } from '../helpers/conversation.ts'
import { infoData, metaData, option } from '../helpers/naive-codec.ts'

const SEQUENCE_LENGTH_MAX = 4
const BASE = ['base:allocation']
const OTHER = { ...DISK, name: 'other' }

/** What the client has reached, as the specification has it. */
interface Model {
  structured: boolean
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

function selects(name: string | null, reply: number): Step['effect'] {
  return (model) => {
    model.contextsOf = model.structured ? name : null
    return model.structured ? reply : Reply.INVALID
  }
}

const STEPS: readonly Step[] = [
  { bytes: option(1, Buffer.from('disk')), effect: ends('disk', 0) },
  { bytes: option(1, Buffer.from('nowhere')), effect: ends('violation', 0) },
  { bytes: option(2, Buffer.from('bye')), effect: ends('aborted', Reply.ACK) },
  { bytes: option(3), effect: () => Reply.ACK },
  { bytes: option(5), effect: () => Reply.POLICY },
  { bytes: option(6, infoData('disk', [0, 1, 2, 3])), effect: () => Reply.ACK },
  { bytes: option(7, infoData('other', [3])), effect: ends('other', Reply.ACK) },
  { bytes: option(7, infoData('nowhere')), effect: () => Reply.UNKNOWN },
  { bytes: option(7, Buffer.alloc(5, 0xff)), effect: () => Reply.INVALID },
  {
    bytes: option(8),
    effect: (model) => {
      model.structured = true
      return Reply.ACK
    },
  },
  { bytes: option(9, metaData('disk')), effect: () => Reply.ACK },
  { bytes: option(10, metaData('disk', BASE)), effect: selects('disk', Reply.ACK) },
  { bytes: option(10, metaData('nowhere', BASE)), effect: selects(null, Reply.UNKNOWN) },
  { bytes: option(77, Buffer.alloc(9)), effect: () => Reply.UNSUP },
]

function run(conversation: Conversation, sequence: readonly Step[]): string {
  const model: Model = { structured: false, contextsOf: null, end: null }
  for (const step of sequence) {
    if (model.end !== null) break
    conversation.say(step.bytes)
    const heard = conversation.handshake.outcome?.kind === 'transmission'
    const final = step.effect(model)
    if (final === 0) {
      const size = model.end === 'violation' ? 0 : 10
      if (conversation.heard().length !== size) return 'EXPORT_NAME answer'
    } else if (conversation.heardReplies().at(-1)?.type !== final) return `reply, not ${final}`
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
  if (agreement.structuredReplies !== model.structured) return 'structured replies'
  if (((agreement.transmissionFlags & 128) !== 0) !== model.structured) return 'DF'
  const selected = model.contextsOf === model.end ? 1 : 0
  return agreement.contexts.length === selected ? '' : 'contexts'
}

test(`all sequences of up to ${SEQUENCE_LENGTH_MAX} options end in the right state`, (t) => {
  const table = tableOf(DISK, OTHER)
  let count = 0
  const visit = (sequence: readonly Step[]): void => {
    const problem = run(Conversation.greeted(table), sequence)
    const names = sequence.map((step) => STEPS.indexOf(step)).join()
    if (problem !== '') t.fail(`sequence ${names}: ${problem}`)
    count++
    if (sequence.length === SEQUENCE_LENGTH_MAX) return
    for (const step of STEPS) visit([...sequence, step])
  }
  visit([])
  t.is(count, 1 + 14 + 14 ** 2 + 14 ** 3 + 14 ** 4)
})
