/** Refused exports in the log: once in a while each, whatever is asked. */
import test from 'ava'
import type { Export } from '../../nbd/export.ts'
import { RefusalLog } from '../../nbd/refusal-log.ts'
import { silentDevice } from '../helpers/conversation.ts'
import { silentLog } from '../helpers/memory-session.ts'

const named = (name: string): Export => ({ name, description: '', device: silentDevice() })

test.serial('each export and reason is told once in ten seconds, with how many there were', (t) => {
  const lines: unknown[] = []
  const log = { ...silentLog, info: (fields: object) => void lines.push(fields) }
  const refusals = new RefusalLog(log)
  const { now } = performance
  let time = 0
  performance.now = () => time
  try {
    for (let count = 0; count < 5; count++) refusals.report(named('a'), 'no', 'one:1')
    refusals.report(named('b'), 'no', 'two:2')
    refusals.report(named('a'), 'never', 'two:2')
    t.is(lines.length, 3)
    time = 10_000
    refusals.report(named('a'), 'no', 'three:3')
    t.deepEqual(lines.at(-1), { remote: 'three:3', export: 'a', reason: 'no', moreBefore: 4 })
    for (let count = 0; count < 5000; count++) refusals.report(named('a'), `${count}`, '')
    t.is(lines.length, 5004)
  } finally {
    performance.now = now
  }
})
