/** The last replies of a handshake leave before the connection ends, however slow the client. */
import test from 'ava'
import { MemoryDevice } from '../../device/memory.ts'
import { MemorySession } from '../helpers/memory-session.ts'
import { option, parseOptionReplies, u32 } from '../helpers/naive-codec.ts'

const GREETING_BYTES = 18
const [ABORT, LIST] = [2, 3]

/** A reply is on its way when `last` happens. */
async function slow(last: 'abort' | 'end') {
  const session = await MemorySession.start(new MemoryDevice(1024))
  const stream = session.connectRaw()
  while (stream.step());
  stream.take()
  stream.isHolding = true
  stream.push(Buffer.concat([u32(3), option(LIST)]))
  while (stream.step());
  stream.push(option(last === 'abort' ? ABORT : LIST))
  while (stream.step());
  if (last === 'end') stream.end()
  while (stream.step());
  return { session, stream }
}

for (const [last, code] of [
  ['abort', ABORT],
  ['end', LIST],
] as const) {
  test(`a reply that waits for an earlier one is not lost: ${last}`, async (t) => {
    const { session, stream } = await slow(last)
    t.false(stream.isFinished)
    stream.isHolding = false
    while (stream.step());
    const replies = parseOptionReplies(stream.take())
    t.deepEqual([replies.at(-1)?.option, replies.at(-1)?.type], [code, 1])
    t.true(stream.isFinished)
    stream.break(null)
    t.is(session.server.statistics().connections, 0)
  })
}

test('the greeting is all that a client hears which ends at once', async (t) => {
  const session = await MemorySession.start(new MemoryDevice(1024))
  const stream = session.connectRaw()
  stream.isHolding = true
  stream.end()
  while (stream.step());
  t.false(stream.isFinished)
  stream.isHolding = false
  while (stream.step());
  t.is(stream.take().length, GREETING_BYTES)
  t.true(stream.isFinished)
})
