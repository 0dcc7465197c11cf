import test from 'ava'
import { MemoryUse } from '../../nbd/memory-use.ts'
import { ReplyQueue } from '../../nbd/reply-queue.ts'
import { SlabPool } from '../../nbd/slab.ts'
import type { Slab } from '../../nbd/slab.ts'
import { FakeStream } from '../helpers/fake-stream.ts'
import { Random, seedFor } from '../helpers/random.ts'

interface Place {
  readonly slab: Slab
  readonly start: number
  readonly end: number
}

function setUp() {
  const slabs = new SlabPool()
  const memory = new MemoryUse()
  const queue = new ReplyQueue(slabs, memory)
  const stream = new FakeStream()
  stream.start({
    receiveBuffer: () => new Uint8Array(1),
    received() {},
    sent() {
      queue.sent()
      queue.send(stream)
    },
    ended() {},
    closed() {},
  })
  const reserve = (length: number): Place => {
    const slab = queue.reserve(length)
    return { slab, start: queue.position, end: queue.position + length }
  }
  return { slabs, memory, queue, stream, reserve }
}

test('places that are filled in order leave as one piece', (t) => {
  const { queue, stream, reserve } = setUp()
  for (let count = 0; count < 100; count++) {
    const { slab, start, end } = reserve(16)
    slab.bytes.fill(count, start, end)
    queue.commit(slab, start, end)
  }
  const pieces: number[] = []
  stream.send = (sent) => {
    pieces.push(sent.length)
    return true
  }
  queue.send(stream)
  t.deepEqual(pieces, [1])
})

test('a cancelled place at the end is used again', (t) => {
  const { queue, reserve } = setUp()
  const first = reserve(100)
  queue.cancel(first.slab, first.start, first.end)
  t.is(reserve(10).start, first.start)
})

test('random places, filled late and in any order: what is committed is sent, once', (t) => {
  const random = new Random(seedFor(t))
  const { slabs, memory, queue, stream, reserve } = setUp()
  const open: Place[] = []
  const expected: Buffer[] = []
  const seen: Buffer[] = []
  for (let step = 0; step < 5000; step++) {
    const action = random.next()
    if (action < 0.4) open.push(reserve(random.logarithmic(1, 100_000)))
    else if (action < 0.8 && open.length > 0) {
      const [{ slab, start, end }] = open.splice(random.between(0, open.length - 1), 1)
      if (random.chance(0.2)) {
        queue.cancel(slab, start, end)
        continue
      }
      const used = random.between(start + 1, end)
      slab.bytes.fill(step % 256, start, used)
      expected.push(Buffer.alloc(used - start, step % 256))
      queue.giveBack(slab, used, end)
      queue.commit(slab, start, used)
    } else if (action < 0.9) queue.send(stream)
    else stream.step()
    seen.push(stream.take())
    t.is(memory.bytes, queue.bytes)
  }
  queue.send(stream)
  while (stream.step());
  seen.push(stream.take())
  t.is(Buffer.compare(Buffer.concat(seen), Buffer.concat(expected)), 0)
  for (const { slab, start, end } of open) queue.cancel(slab, start, end)
  queue.discard()
  t.is(slabs.taken, 0)
  t.is(memory.bytes, 0)
})

test('what was not sent is given back when the connection is gone', (t) => {
  const { slabs, memory, queue, stream, reserve } = setUp()
  const late = reserve(5)
  for (let count = 0; count < 3; count++) {
    const { slab, start, end } = reserve(200_000)
    queue.commit(slab, start, end)
    queue.send(stream)
  }
  queue.discard()
  t.is(memory.bytes, 0)
  t.is(slabs.taken, 1)
  queue.cancel(late.slab, late.start, late.end)
  t.is(slabs.taken, 0)
})
