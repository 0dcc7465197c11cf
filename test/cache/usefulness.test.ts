import test from 'ava'
import { PAGE_SIZE, TRIAL_READS_PER_PAGE } from '../../cache/limits.ts'
import { Usefulness } from '../../cache/usefulness.ts'
import { sameBytes } from '../helpers/bytes.ts'
import { cached } from '../helpers/cached.ts'
import { Random, seedFor } from '../helpers/random.ts'

const PAGES = 8
const TRIAL = 2 * PAGES * TRIAL_READS_PER_PAGE

/** @returns how many reads of a rest, or -1 if it went on */
function trial(subject: Usefulness, isHit: (index: number) => boolean): number {
  for (let index = 0; index < TRIAL; index++) {
    subject.count()
    if (isHit(index) && subject.isOn) subject.hit()
    if (!subject.isOn && index < TRIAL - 1) throw new Error('it has ended early')
  }
  if (subject.isOn) return -1
  let rest = 0
  for (; !subject.isOn; rest++) subject.count()
  return rest
}

test('a trial with enough hits is followed by another one', (t) => {
  const subject = new Usefulness(PAGES)
  t.is(
    trial(subject, (index) => index % 4 === 0),
    -1,
  )
  t.is(
    trial(subject, () => true),
    -1,
  )
})

test('rests get longer, up to a limit, and short again after a success', (t) => {
  const subject = new Usefulness(PAGES)
  const rests = Array.from({ length: 7 }, () => trial(subject, (index) => index % 8 === 0))
  t.deepEqual(
    rests.map((rest) => rest / TRIAL),
    [1, 2, 4, 8, 16, 16, 16],
  )
  t.is(
    trial(subject, () => true),
    -1,
  )
  t.is(
    trial(subject, () => false),
    TRIAL,
  )
})

test('hits while the cache gets filled do not count', (t) => {
  const subject = new Usefulness(PAGES)
  t.is(
    trial(subject, (index) => index < TRIAL / 2 - 1),
    TRIAL,
  )
})

test('a device whose reads spread widely stops looking, for a while', async (t) => {
  const random = new Random(seedFor(t))
  const { device, subject, lower } = cached({ pages: 8 })
  const pages = device.size / PAGE_SIZE
  const { slots } = device.arena
  const trialReads = 2 * slots * TRIAL_READS_PER_PAGE
  t.true(pages > 8 * slots)
  for (let page = 0; page < pages; page++)
    await subject.write(page * PAGE_SIZE, random.bytes(PAGE_SIZE))
  const read = async (page: number): Promise<void> => {
    await subject.read(page * PAGE_SIZE, PAGE_SIZE)
  }
  for (let count = 0; count < trialReads; count++) await read(random.between(0, pages - 1))
  for (let count = 0; count < 3; count++) await read(1)
  lower.takeCalls()
  await read(1)
  t.is(lower.takeCalls().length, 1)
  for (let count = 0; count < trialReads; count++) await read(1)
  lower.takeCalls()
  const expected = random.bytes(PAGE_SIZE)
  await subject.write(PAGE_SIZE, expected)
  for (let count = 0; count < 2; count++) await read(1)
  lower.takeCalls()
  sameBytes(t, await subject.read(PAGE_SIZE, PAGE_SIZE), expected)
  t.deepEqual(lower.takeCalls(), [])
})
