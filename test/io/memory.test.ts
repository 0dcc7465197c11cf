import test from 'ava'
import { Addresses, alignedMemory } from '../../io/memory.ts'
import { SystemCalls, loadSystemCalls } from '../../io/syscalls.ts'

const loaded = loadSystemCalls()

test('aligned memory has the size that was asked for', (t) => {
  for (const bytes of [1, 4095, 4096, 4097, 2 ** 20]) {
    t.is(alignedMemory(bytes).length, bytes)
  }
})

test('aligned memory begins on a page border where addresses are known', (t) => {
  // Pretends that buffers begin at odd addresses.
  const address = (view: Uint8Array): number => 8192 * view.length + 24 + view.byteOffset
  const memory = alignedMemory(5000, address)
  t.is((8192 * 9096 + 24 + memory.byteOffset) % 4096, 0)
  t.is(memory.length, 5000)
})

test('an address is asked for once for each buffer, and counts from its beginning', (t) => {
  let asked = 0
  const ask = (view: Uint8Array): number => {
    asked++
    t.is(view.byteOffset, 0)
    return view.length * 1000
  }
  const addresses = new Addresses(ask)
  const one = new ArrayBuffer(100)
  const two = new ArrayBuffer(200)
  for (let round = 0; round < 3; round++) {
    t.is(addresses.of(new Uint8Array(one, 10, 5)), 100_010)
    t.is(addresses.of(new Uint8Array(one)), 100_000)
    t.is(addresses.of(new Uint8Array(two, 7)), 200_007)
  }
  t.is(asked, 2)
})

const withCalls = loaded instanceof SystemCalls ? test : test.skip

withCalls('addresses stay right while memory comes and goes', (t) => {
  if (!(loaded instanceof SystemCalls)) return
  const { addresses } = loaded
  const kept = Array.from({ length: 50 }, (_, index) => new Uint8Array(8 + index))
  const before = kept.map((view) => addresses.of(view))
  for (let round = 0; round < 2000; round++) addresses.of(new Uint8Array(1 + (round % 5000)))
  t.deepEqual(
    kept.map((view) => addresses.of(view)),
    before,
  )
  t.is(new Set(before).size, 50)
})
