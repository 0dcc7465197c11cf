import test from 'ava'
import { ABSENT, PageLocks, PARKED } from '../../cache/page-locks.ts'
import { PageWaiter } from '../../cache/page-waiter.ts'
import { Random, seedFor } from '../helpers/random.ts'

class Waiter extends PageWaiter {
  readonly name: string
  readonly #granted: string[]

  constructor(name: string, granted: string[]) {
    super()
    this.name = name
    this.#granted = granted
  }

  override granted(): void {
    this.#granted.push(this.name)
  }
}

/** Locks of `slots` slots, and a maker of waiters that note down when they are granted a page. */
function setUp(slots: number, retain = true) {
  const granted: string[] = []
  return {
    locks: new PageLocks(slots, retain),
    granted,
    waiter: (name = '') => new Waiter(name, granted),
  }
}

test('a page must be claimed, made valid and freed before it can be looked at', (t) => {
  const { locks, waiter } = setUp(4)
  t.is(locks.peek(9), -1)
  t.is(locks.lock(9, waiter()), ABSENT)
  const slot = locks.claim(9, waiter())
  t.true(slot >= 0)
  t.false(locks.isValid(slot))
  locks.setValid(slot, true)
  t.is(locks.peek(9), -1)
  locks.free(slot)
  t.is(locks.peek(9), slot)
})

test('a page that was looked at stays longer than one that was not', (t) => {
  const { locks, waiter } = setUp(3)
  const claim = (page: number): void => {
    const slot = locks.claim(page, waiter())
    locks.setValid(slot, true)
    locks.free(slot)
  }
  for (const page of [0, 1, 2]) claim(page)
  t.true(locks.peek(0) >= 0)
  claim(3)
  t.deepEqual(
    [0, 1, 2, 3].map((page) => locks.peek(page) >= 0),
    [true, false, true, true],
  )
})

test('a page that is freed without being valid is forgotten', (t) => {
  const { locks, waiter } = setUp(4)
  locks.free(locks.claim(9, waiter()))
  t.is(locks.lock(9, waiter()), ABSENT)
  t.is(locks.table.count, 0)
})

test('nothing is retained where nothing shall be', (t) => {
  const { locks, waiter } = setUp(4, false)
  const slot = locks.claim(9, waiter())
  locks.setValid(slot, true)
  locks.free(slot)
  t.is(locks.peek(9), -1)
  t.is(locks.table.count, 0)
})

test('those who find a page locked get it one after the other, in order', (t) => {
  const { locks, granted, waiter } = setUp(4)
  const slot = locks.claim(9, waiter())
  for (const name of ['a', 'b', 'c']) t.is(locks.lock(9, waiter(name)), PARKED)
  t.deepEqual(granted, [])
  locks.setValid(slot, true)
  locks.free(slot)
  t.deepEqual(granted, ['a'])
  t.is(locks.lock(9, waiter('late')), PARKED)
  t.true(locks.isValid(slot))
  locks.free(slot)
  locks.free(slot)
  locks.free(slot)
  t.deepEqual(granted, ['a', 'b', 'c', 'late'])
  locks.free(slot)
  t.is(locks.peek(9), slot)
})

test('a page handed on after a failure is not valid', (t) => {
  const { locks, granted, waiter } = setUp(4)
  const slot = locks.claim(9, waiter())
  locks.lock(9, waiter('a'))
  locks.free(slot)
  t.deepEqual(granted, ['a'])
  t.false(locks.isValid(slot))
})

test('when all slots are locked, those who need one wait in order', (t) => {
  const { locks, granted, waiter } = setUp(2)
  const first = locks.claim(1, waiter())
  const second = locks.claim(2, waiter())
  for (const page of [3, 4, 3]) t.is(locks.claim(page, waiter(`page ${page}`)), PARKED)
  locks.free(first)
  t.deepEqual(granted, ['page 3'])
  locks.free(second)
  // The second waiter for page 3 has found it locked by the first, and needs no slot.
  t.deepEqual(granted, ['page 3', 'page 4'])
  locks.free(first)
  t.deepEqual(granted, ['page 3', 'page 4', 'page 3'])
  t.is(locks.table.count, 2)
})

test('one freed slot lets everyone go on who waits for the page that gets it', (t) => {
  const { locks, granted, waiter } = setUp(1)
  const slot = locks.claim(1, waiter())
  for (const name of ['a', 'b']) locks.claim(2, waiter(name))
  locks.free(slot)
  locks.setValid(slot, true)
  locks.free(slot)
  t.deepEqual(granted, ['a', 'b'])
  t.true(locks.isValid(slot))
})

test('drop forgets pages that nobody owns', (t) => {
  const { locks, waiter } = setUp(8)
  for (let page = 0; page < 6; page++) {
    const slot = locks.claim(page, waiter())
    locks.setValid(slot, true)
    locks.free(slot)
  }
  locks.drop(1, 2)
  const kept = (): boolean[] => [0, 1, 2, 3, 4, 5].map((page) => locks.peek(page) >= 0)
  t.deepEqual(kept(), [true, false, false, true, true, true])
  // More pages than there are slots: the slots are walked.
  locks.drop(4, 2 ** 40)
  t.deepEqual(kept(), [true, false, false, true, false, false])
})

test('a locked page that is dropped stays with its owner, and is not kept', (t) => {
  const { locks, waiter } = setUp(4)
  const slot = locks.claim(9, waiter())
  locks.drop(9, 1)
  locks.setValid(slot, true)
  t.is(locks.lock(9, waiter()), PARKED)
  locks.free(slot)
  t.false(locks.isValid(slot))
  locks.setValid(slot, true)
  locks.free(slot)
  t.is(locks.peek(9), slot)
})

test('a page dropped between two owners reaches the second one not valid', (t) => {
  const { locks, waiter } = setUp(4)
  const slot = locks.claim(9, waiter())
  locks.lock(9, waiter('a'))
  locks.setValid(slot, true)
  locks.free(slot)
  locks.drop(0, 100)
  t.false(locks.isValid(slot))
})

test('under random use every waiter is granted its page once, and each page has one owner', (t) => {
  const random = new Random(seedFor(t))
  const { locks, granted, waiter } = setUp(3)
  const owners = new Map<number, Waiter>()
  const parked = new Map<string, Waiter>()
  const own = (owner: Waiter, page: number, slot: number): void => {
    t.false(owners.has(slot))
    t.is(locks.table.pageIn(slot), page)
    owners.set(slot, owner)
  }
  for (let step = 0; step < 20_000; step++) {
    if (random.chance(0.5) && parked.size < 20) {
      const page = random.between(0, 6)
      const one = waiter(`${step}`)
      let slot = locks.lock(page, one)
      if (slot === ABSENT) slot = locks.claim(page, one)
      if (slot === PARKED) parked.set(one.name, one)
      else own(one, page, slot)
    } else if (owners.size > 0) {
      const slot = random.pick([...owners.keys()])
      owners.delete(slot)
      locks.setValid(slot, random.chance(0.7))
      if (random.chance(0.2)) locks.drop(random.between(0, 6), random.between(1, 9))
      locks.free(slot)
    }
    for (const name of granted.splice(0)) {
      const one = parked.get(name)
      parked.delete(name)
      if (one !== undefined) own(one, one.page, one.slot)
      else t.fail('granted twice, or to one who did not wait')
    }
    t.true(parked.size === 0 || owners.size > 0, 'somebody waits, but nobody owns a page')
  }
})
