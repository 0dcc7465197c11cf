/** An export is taken away while clients are attached. */
import test from 'ava'
import { MemoryDevice } from '../../device/memory.ts'
import type { Export } from '../../nbd/export.ts'
import { ManualDevice } from '../helpers/manual-device.ts'
import { Command, MemorySession } from '../helpers/memory-session.ts'
import { request } from '../helpers/naive-codec.ts'

const MIB = 1024 * 1024

const entryOf = (device: Export['device']): Export => ({ name: '', description: '', device })

test('detach: what was received is answered, then flushed, then closed', async (t) => {
  const device = new ManualDevice(MIB)
  const session = await MemorySession.start(device)
  const [one, two] = [await session.connect(MIB), await session.connect(MIB)]
  one.write(0, Buffer.alloc(10, 1))
  one.write(5, Buffer.alloc(10, 2))
  await session.settle()
  let isOver = false
  const detached = session.server.detach(entryOf(device)).then(() => (isOver = true))
  await session.settle()
  // Too late: it is not taken any more.
  one.stream.push(request({ command: Command.READ, cookie: 5n, length: 1 }))
  await session.settle()
  device.completeAll()
  await session.settle()
  t.false(one.stream.isFinished)
  t.false(isOver)
  while (!one.stream.isFinished || !two.stream.isFinished) {
    device.completeAll()
    await session.step()
  }
  t.is(one.outstanding, 0)
  for (const client of [one, two]) client.finish()
  t.deepEqual(
    device.history.filter((call) => !call.startsWith('write')),
    ['flush'],
  )
  t.is(device.history.at(-1), 'flush')
  t.false(isOver, 'the clients have not closed yet')
  for (const client of [one, two]) client.stream.break(null)
  await session.settle()
  await detached
  t.true(isOver)
  t.is(session.server.statistics().connections, 0)
})

test('detach: clients of another export, and those who have none yet, go on', async (t) => {
  const device = new MemoryDevice(MIB)
  const session = await MemorySession.start(device)
  const client = await session.connect(MIB)
  await session.server.detach(entryOf(new MemoryDevice(MIB)))
  const read = client.read(0, 10)
  await session.until(() => client.outstanding === 0)
  t.is(client.answerTo(read)?.error, 0)
  t.false(client.stream.isFinished)
  // Nobody is attached to this one.
  const again = await session.connect(MIB)
  await session.server.detach(entryOf(new MemoryDevice(MIB)))
  t.is(session.server.statistics().connections, 2)
  for (const each of [client, again]) {
    each.send({ command: Command.DISC })
    await session.until(() => each.stream.isFinished)
    each.finish()
    each.stream.break(null)
  }
})
