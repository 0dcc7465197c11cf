import { resolve } from 'node:path'
import test from 'ava'
import { parseArguments, UsageError } from '../../scripts/bench/arguments.ts'
import { parseFioReport } from '../../scripts/bench/client-visit.ts'
import { fileSystemOf } from '../../scripts/bench/environment.ts'
import { cpuSeconds, parsePeak, parseStat } from '../../scripts/bench/process-usage.ts'
import { listChoices } from '../../scripts/bench/servers.ts'
import { selectWorkloads, WORKLOADS, writes } from '../../scripts/bench/workloads.ts'

test('without arguments everything is measured and nothing written', (t) => {
  t.deepEqual(parseArguments([]), {
    help: false,
    list: false,
    quick: false,
    only: [],
    servers: [],
    rounds: null,
    also: [],
    directory: null,
    build: true,
    json: null,
    from: null,
    baseline: null,
    updateBaseline: false,
    updateDocs: false,
  })
})

test('servers are separated by commas, patterns are repeated', (t) => {
  const parsed = parseArguments(['--servers', 'a,b', '--only', 'x', '--only', 'y', '--rounds', '7'])
  t.deepEqual(parsed.servers, ['a', 'b'])
  t.deepEqual(parsed.only, ['x', 'y'])
  t.is(parsed.rounds, 7)
})

test('another build has a name and a path', (t) => {
  const { also } = parseArguments(['--also', 'before=old/dist/cli/main.js'])
  t.deepEqual(also, [{ name: 'before', main: resolve('old/dist/cli/main.js') }])
})

const refuses = test.macro((t, args: readonly string[], message: RegExp) => {
  t.throws(() => parseArguments(args), { instanceOf: UsageError, message })
})
test('an unknown option is refused', refuses, ['--fast'], /--fast/)
test('a value that is missing is refused', refuses, ['--json'], /--json/)
test('no rounds are refused', refuses, ['--rounds', '0'], /1 to 1000/)
test('half a round is refused', refuses, ['--rounds', '1.5'], /1 to 1000/)
test('a build without a name is refused', refuses, ['--also', 'main.js'], /NAME=PATH/)
test('a word that is no option is refused', refuses, ['quick'], /quick/)

test('names of workloads are unique', (t) => {
  t.is(new Set(WORKLOADS.map(({ name }) => name)).size, WORKLOADS.length)
})

test('workloads are selected by a part of name or title, in any case', (t) => {
  const names = (...patterns: string[]): string[] =>
    selectWorkloads(patterns).map(({ name }) => name)
  t.deepEqual(
    names(),
    WORKLOADS.map(({ name }) => name),
  )
  t.deepEqual(names('NBDCOPY-in', 'o_direct'), ['nbdcopy-in', 'cold-read-4k-qd32'])
  t.deepEqual(names('no such'), [])
})

test('a workload with a single write among its reads writes', (t) => {
  const [mixed] = selectWorkloads(['mixed'])
  t.true(writes(mixed))
  t.false(writes({ ...mixed, readPercent: 100 }))
})

const HELP = `
  --cache <MODE>       when a write is durable (choices: "writeback",
                       "none", default: "writeback")
  --page-cache <SIZE>  memory for pages (default: 64M)
  --engine <NAME>      how bytes move, or auto (if it can be had) (choices: "auto",
                       "uring", "node", default: "auto")
`

test('choices of an option are found in a help text, over a broken line too', (t) => {
  t.deepEqual(listChoices(HELP, '--cache'), ['writeback', 'none'])
  t.deepEqual(listChoices(HELP, '--engine'), ['auto', 'uring', 'node'])
})

test('an option that is absent or free has no choices', (t) => {
  t.deepEqual(listChoices(HELP, '--page-cache'), [])
  t.deepEqual(listChoices(HELP, '--absent'), [])
})

test('CPU time is read past any name of a process', (t) => {
  const fields = Array.from({ length: 49 }, (_, index) => index + 4)
  t.deepEqual(parseStat(`12 (a) b) S ${fields.join(' ')}`), { own: 14 + 15, reaped: 16 + 17 })
})

test('a process that has ended has used nothing more', (t) => {
  t.deepEqual(parseStat(''), { own: 0, reaped: 0 })
  t.is(parsePeak(''), 0)
})

test('the peak of memory is in bytes', (t) => {
  t.is(parsePeak('Name:\tx\nVmPeak:\t 9 kB\nVmHWM:\t  12345 kB\n'), 12345 * 1024)
})

test('CPU time of this very process advances with work', (t) => {
  const before = cpuSeconds(process.pid)
  const deadline = process.cpuUsage().user + 100_000
  while (process.cpuUsage().user < deadline) Math.sqrt(2)
  t.true(cpuSeconds(process.pid) > before)
})

test('the file system is that of the deepest mount, the last one if there are two', (t) => {
  const mounts = 'a / ext4 rw 0 0\nb /tmp tmpfs rw 0 0\nc /tmp xfs rw 0 0\nd /tmpfoo btrfs rw 0 0\n'
  t.is(fileSystemOf('/tmp/x', mounts), 'xfs')
  t.is(fileSystemOf('/tmp', mounts), 'xfs')
  t.is(fileSystemOf('/home', mounts), 'ext4')
})

test("fio's warnings before its report are passed over", (t) => {
  const report = { jobs: [] }
  t.deepEqual(parseFioReport(`fio: note: x\n${JSON.stringify(report)}`), report)
})
