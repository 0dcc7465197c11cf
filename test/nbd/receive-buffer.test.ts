import test from 'ava'
import { RECEIVE_BYTES } from '../../nbd/limits.ts'
import { MemoryUse } from '../../nbd/memory-use.ts'
import { ReceiveBuffer } from '../../nbd/receive-buffer.ts'
import { SlabPool } from '../../nbd/slab.ts'
import type { Slab } from '../../nbd/slab.ts'
import { Random, seedFor } from '../helpers/random.ts'

interface Pin {
  readonly slab: Slab
  readonly start: number
  readonly expected: Buffer
}

/** Receives, parses and lends at random; the naive side is one string of bytes. */
function play(random: Random, sizeMax: number): { moved: boolean; taken: number } {
  const slabs = new SlabPool()
  const receive = new ReceiveBuffer(slabs, new MemoryUse())
  const first = receive.slab
  receive.enlarge(RECEIVE_BYTES)
  let unparsed = Buffer.alloc(0)
  const pins: Pin[] = []
  let needed = 1
  let next = 0
  for (let step = 0; step < 400; step++) {
    const room = receive.room(needed)
    if (room.length === 0) throw new Error('no room')
    const count = random.logarithmic(1, Math.min(room.length, 30 * sizeMax))
    for (let index = 0; index < count; index++) room[index] = next++ % 251
    unparsed = Buffer.concat([unparsed, room.subarray(0, count)])
    receive.received(count)
    while (unparsed.length >= needed) {
      const { slab, start, end } = receive
      if (Buffer.compare(slab.bytes.subarray(start, end), unparsed) !== 0) throw new Error('lost')
      if (random.chance(0.3)) {
        slab.references++
        pins.push({ slab, start, expected: Buffer.from(unparsed.subarray(0, needed)) })
      }
      receive.start += needed
      unparsed = unparsed.subarray(needed)
      needed = random.logarithmic(1, sizeMax)
    }
    for (const { slab, start, expected } of pins) {
      const seen = slab.bytes.subarray(start, start + expected.length)
      if (expected.compare(seen) !== 0) throw new Error('lent memory changed')
    }
    while (pins.length > 0 && random.chance(0.4)) pins.shift()?.slab.release()
  }
  for (const { slab } of pins) slab.release()
  receive.release()
  return { moved: receive.slab !== first, taken: slabs.taken }
}

for (const sizeMax of [100, 10_000, RECEIVE_BYTES, 3 * RECEIVE_BYTES]) {
  test(`requests of up to ${sizeMax} bytes: nothing is lost, what is lent stays`, (t) => {
    const random = new Random(seedFor(t))
    const { moved, taken } = play(random, sizeMax)
    t.true(moved)
    t.is(taken, 0)
  })
}

test('a full buffer that cannot be parsed yet grows by a second one, not without end', (t) => {
  const slabs = new SlabPool()
  const receive = new ReceiveBuffer(slabs, new MemoryUse())
  receive.received(receive.room(1).length)
  const before = receive.slab.bytes.length
  t.true(receive.room(1).length >= before)
  t.is(slabs.taken, 1)
})

test('an empty buffer begins again at its start', (t) => {
  const receive = new ReceiveBuffer(new SlabPool(), new MemoryUse())
  const first = receive.room(1)
  receive.received(100)
  receive.start = receive.end
  t.is(receive.room(1).byteOffset, first.byteOffset)
})
