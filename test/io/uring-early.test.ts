/** What should begin soon is handed to the kernel while the batch that it belongs to goes on. */
import fs from 'node:fs'
import { join } from 'node:path'
import test from 'ava'
import type { ExecutionContext } from 'ava'
import { loadRingCalls, type RingCalls } from '../../io/ring-calls.ts'
import { Opcode } from '../../io/uring-abi.ts'
import type { Entry, RingUser } from '../../io/uring-entry.ts'
import { Ring } from '../../io/uring-ring.ts'
import { setUpRing } from '../../io/uring-setup.ts'
import { tempDirectory } from '../helpers/temp.ts'

/** A sync of a file: nothing is lent to the kernel. */
class Sync implements RingUser {
  readonly done: Promise<number>
  completed: (result: number) => void = () => {}
  readonly #fd: number

  constructor(fd: number) {
    this.#fd = fd
    this.done = new Promise((resolve) => (this.completed = resolve))
  }

  prepare(entry: Entry): void {
    entry.set(Opcode.FSYNC, this.#fd, 0, 0, 0, 0)
  }
}

/** @returns a ring, and the number of entries the kernel has taken so far; null: there is none */
function makeRing(answer = 0): { ring: Ring; taken(): number } | null {
  const calls = loadRingCalls()
  if (typeof calls === 'string') return null
  const memory = setUpRing(calls)
  if (typeof memory === 'string') return null
  let taken = 0
  const enter = (fd: number, submit: number, flags: number): number => {
    if (flags === 0 && answer < 0) return answer
    const result = calls.enter(fd, submit, flags)
    if (result > 0) taken += result
    return result
  }
  const watched = new Proxy(calls, {
    get: (target, name) => {
      if (name === 'enter') return enter
      const value = Reflect.get(target, name, target) as unknown
      return typeof value === 'function' ? (value.bind(target) as unknown) : value
    },
  })
  return { ring: new Ring(watched as RingCalls, memory), taken: () => taken }
}

function check(
  title: string,
  answer: number,
  run: (t: ExecutionContext, ring: Ring, taken: () => number, fd: number) => Promise<void>,
): void {
  test(title, async (t) => {
    const made = makeRing(answer)
    if (made === null) {
      t.log('SKIPPED: no io_uring here')
      t.pass()
      return
    }
    const fd = fs.openSync(join(tempDirectory(t), 'file'), 'w')
    await run(t, made.ring, made.taken, fd)
    fs.closeSync(fd)
  })
}

check(
  'every four are handed over at once, the rest after the batch',
  0,
  async (t, ring, taken, fd) => {
    const syncs = Array.from({ length: 10 }, () => new Sync(fd))
    const counts: number[] = []
    for (const sync of syncs) {
      ring.startEarly(sync)
      counts.push(taken())
    }
    t.deepEqual(counts, [0, 0, 0, 4, 4, 4, 4, 8, 8, 8])
    const results = await Promise.all(syncs.map(({ done }) => done))
    t.true(results.every((result) => result === 0))
    t.is(taken(), 10)
  },
)

check('others wait for the end of the batch', 0, async (t, ring, taken, fd) => {
  const syncs = Array.from({ length: 10 }, () => new Sync(fd))
  for (const sync of syncs) ring.start(sync)
  t.is(taken(), 0)
  await Promise.all(syncs.map(({ done }) => done))
  t.is(taken(), 10)
})

check('what the kernel does not take at once it takes later', -11, async (t, ring, taken, fd) => {
  const syncs = Array.from({ length: 5000 }, () => new Sync(fd))
  for (const sync of syncs) ring.startEarly(sync)
  t.is(taken(), 0)
  await Promise.all(syncs.map(({ done }) => done))
  t.is(taken(), 5000)
})
