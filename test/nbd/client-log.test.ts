/** Clients in the log: all of them, unless those of one address come all the time. */
import test, { type ExecutionContext } from 'ava'
import { MemoryDevice } from '../../device/memory.ts'
import { ClientLog } from '../../nbd/client-log.ts'
import { CLIENT_LINES_MAX, CLIENT_LINES_MS } from '../../nbd/limits.ts'
import { MemorySession, silentLog } from '../helpers/memory-session.ts'

interface Line {
  readonly fields: Readonly<Record<string, unknown>>
  readonly message: string
}

/** A log that keeps what it is told. */
function noting() {
  const lines: Line[] = []
  const levels = { isDebugging: false }
  const info = (fields: object, message: string): void =>
    void lines.push({ fields: { ...fields }, message })
  const log = { ...silentLog, info, isLevelEnabled: () => levels.isDebugging }
  return { lines, levels, log }
}

/** Lets the test say what time it is. */
function stopClock(t: ExecutionContext): { time: number } {
  const clock = { time: 0 }
  const { now } = performance
  performance.now = () => clock.time
  t.teardown(() => (performance.now = now))
  return clock
}

test.serial('of one address so many lines of a kind are told in a period, then a count', (t) => {
  const clock = stopClock(t)
  const { lines, log } = noting()
  const clients = new ClientLog(log)
  const come = (remote: string, message = 'came'): boolean => clients.tell(remote, {}, message)
  for (let count = 0; count < CLIENT_LINES_MAX; count++) t.true(come(`10.0.0.1:${count}`))
  for (let count = 0; count < 50; count++) t.false(come(`10.0.0.1:${count}`))
  t.is(lines.length, CLIENT_LINES_MAX + 1)
  const last = { fields: { remote: '10.0.0.1:0', what: 'came' }, message: 'more are not logged' }
  t.deepEqual(lines.at(-1), last)
  t.true(come('10.0.0.1:1', 'failed'), 'another kind')
  t.true(come('10.0.0.2:1'), 'another address')
  clock.time = CLIENT_LINES_MS
  t.true(come('10.0.0.1:2'))
  t.deepEqual(lines.at(-1)?.fields, { remote: '10.0.0.1:2', moreBefore: 50 })
  t.true(come('10.0.0.1:3'))
  t.deepEqual(lines.at(-1)?.fields, { remote: '10.0.0.1:3' })
})

test.serial('where connections are told of one by one anyway, all clients are', (t) => {
  stopClock(t)
  const { lines, levels, log } = noting()
  levels.isDebugging = true
  const clients = new ClientLog(log)
  for (let count = 0; count < 1000; count++) t.true(clients.tell('10.0.0.1:1', {}, 'came'))
  t.is(lines.length, 1000)
})

test.serial('who attaches and leaves all the time does not fill the log', async (t) => {
  stopClock(t)
  const { lines, log } = noting()
  const session = await MemorySession.start(new MemoryDevice(4096), log)
  for (let count = 0; count < CLIENT_LINES_MAX + 200; count++) {
    const client = await session.connect(4096)
    client.stream.break(null)
  }
  await session.until(() => session.server.statistics().connections === 0)
  const told = (message: string): number => lines.filter((line) => line.message === message).length
  t.is(told('client attached'), CLIENT_LINES_MAX)
  t.is(told('client left'), CLIENT_LINES_MAX)
  t.is(lines.length, 2 * CLIENT_LINES_MAX + 1)
})
