import test from 'ava'
import { shrink } from '../../scripts/simulate/shrink.ts'

const upTo = (count: number): number[] => Array.from({ length: count }, (_, index) => index)

test('what is left of a failing list is needed', async (t) => {
  const needed = [3, 17, 18, 39]
  let runs = 0
  const left = await shrink(upTo(40), async (steps) => {
    runs++
    return needed.every((step) => steps.includes(step))
  })
  t.deepEqual(left, needed)
  t.true(runs < 100, `${runs} runs`)
})

test('of several ways to fail one is left', async (t) => {
  const left = await shrink(upTo(20), async (steps) => steps.includes(4) || steps.includes(12))
  t.is(left.length, 1)
})

test('a step that may only go after another has gone is tried again', async (t) => {
  const fails = async (steps: readonly number[]): Promise<boolean> =>
    steps.includes(0) && (steps.includes(1) || !steps.includes(2))
  t.deepEqual(await shrink(upTo(3), fails), [0])
})

test('what fails without any step has none', async (t) => {
  t.deepEqual(await shrink(upTo(9), async () => true), [])
})
