import test from 'ava'
import { compareWithBaseline, updateBaseline } from '../../scripts/bench/baseline.ts'
import { countRounds, summarize } from '../../scripts/bench/results.ts'
import { median, medianRatio } from '../../scripts/bench/statistics.ts'
import { results, row, visits } from './bench-results.ts'

test('the median is the value in the middle, whatever the order', (t) => {
  t.is(median([9, 1, 5]), 5)
  t.is(median([100, 20, 3]), 20)
})

test('the median of an even count is the mean of the two in the middle', (t) => {
  t.is(median([8, 1, 2, 100]), 5)
})

test('nothing has no median', (t) => {
  t.is(median([]), null)
})

test('the ratio is taken in each round, so a slow round of all changes nothing', (t) => {
  // The medians alone would say 100 / 50 = 2.
  t.is(medianRatio([300, 100, 3], [100, 50, 1]), 3)
})

test('a round in which one of the two failed has no ratio', (t) => {
  t.is(medianRatio([4, null, 6], [2, 1, null]), 2)
  t.is(medianRatio([null], [1]), null)
})

test('a summary holds medians, and ratios to the reference', (t) => {
  t.deepEqual(summarize(row(), 'chunknbd'), {
    operationsPerSecond: 2500,
    ratio: 2.5,
    cpuPerOperation: 400,
    cpuRatio: 0.4,
    memoryPeakBytes: 64 << 20,
    latency: { p50: 10, p99: 20, p999: 30 },
    latencyRatio: 1,
  })
})

test('without its reference a row has figures but no ratios', (t) => {
  const alone = row({ reference: null, visits: { chunknbd: visits(5) } })
  const summary = summarize(alone, 'chunknbd')
  t.is(summary?.operationsPerSecond, 5)
  t.is(summary?.ratio, null)
  t.is(summary?.cpuRatio, null)
})

test('a server whose visits all failed has no summary', (t) => {
  t.is(summarize(row({ visits: { chunknbd: visits(null, null) } }), 'chunknbd'), null)
  t.is(summarize(row(), 'nobody'), null)
})

test('rounds are counted also where a visit failed', (t) => {
  t.is(countRounds(row({ visits: { chunknbd: visits(null, 1) } })), 2)
})

test('the baseline keeps the ratios of our servers only, rounded', (t) => {
  const measured = results([row({ visits: { nbdkit: visits(3), chunknbd: visits(7) } })])
  t.deepEqual(updateBaseline({}, measured), {
    full: { read: { reference: 'nbdkit', ratios: { chunknbd: 2.33 } } },
  })
})

test('the baseline keeps the rows and forms that were not measured', (t) => {
  const old = { reference: 'nbdkit', ratios: { chunknbd: 1 } }
  const before = { quick: { read: old }, full: { read: old, write: old } }
  const after = updateBaseline(before, results([row()]))
  t.deepEqual(after, {
    quick: { read: old },
    full: { read: { reference: 'nbdkit', ratios: { chunknbd: 2.5 } }, write: old },
  })
})

/** What becomes of a ratio of 2.5 beside the committed one. */
const judges = test.macro((t, committed: number, isRegression: boolean) => {
  const baseline = { full: { read: { reference: 'nbdkit', ratios: { chunknbd: committed } } } }
  t.deepEqual(compareWithBaseline(results([row()]), baseline), [
    { title: 'Random read', server: 'chunknbd', ratio: 2.5, committed, isRegression },
  ])
})
test('a ratio above the committed one is fine', judges, 1, false)
test('a ratio a little below the committed one is noise', judges, 3.1, false)
test('a ratio far below the committed one is a regression', judges, 3.2, true)

test('rows of another form or reference are not compared', (t) => {
  const rows = { read: { reference: 'nbdkit', ratios: { chunknbd: 9 } } }
  t.deepEqual(compareWithBaseline(results([row()]), { quick: rows }), [])
  const other = { read: { reference: 'qemu-nbd', ratios: { chunknbd: 9 } } }
  t.deepEqual(compareWithBaseline(results([row()]), { full: other }), [])
  t.deepEqual(compareWithBaseline(results([row()]), {}), [])
})
