/** docs/websocket.md says what is so. */
import { readFileSync } from 'node:fs'
import { join } from 'node:path'
import test from 'ava'
import { serveCommandLine } from '../../cli/serve-options.ts'
import * as limits from '../../io/ws-limits.ts'
import { DOCS } from './test-links.ts'

const PAGE = readFileSync(join(DOCS, 'websocket.md'), 'utf8')

const UNITS: Readonly<Record<string, number>> = { '': 1, KiB: 2 ** 10, MiB: 2 ** 20, s: 1000 }

test('the limits are those of io/ws-limits.ts, all of them', (t) => {
  const rows = PAGE.matchAll(/^\| `(WS_\w+)` +\| ([\d,]+) ?([A-Za-z]*) +\| (\S.*) \|$/gm)
  const told = [...rows].map(([, name, number, unit]) => {
    return [name, Number(number.replaceAll(',', '')) * UNITS[unit]]
  })
  t.deepEqual(Object.fromEntries(told), { ...limits })
})

test('every option of serve about WebSockets is told, and no other', (t) => {
  const flags = serveCommandLine().options.map((each) => each.long ?? '')
  const ours = flags.filter((flag) => /^--(?:ws|connect)/.test(flag))
  t.true(ours.length >= 6)
  const told = [...PAGE.matchAll(/^\| `(--[a-z-]+)/gm)].map((match) => match[1])
  t.deepEqual([...new Set(told)].toSorted(), [...ours, '--listen'].toSorted())
})
