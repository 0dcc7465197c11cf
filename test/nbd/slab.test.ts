import test from 'ava'
import { SlabPool } from '../../nbd/slab.ts'

test('what was in use at most since the last shrinking is kept, the rest is given back', (t) => {
  const pool = new SlabPool()
  const given: Uint8Array[] = []
  const shrink = (): number => {
    pool.shrink((memory) => given.push(memory))
    return given.splice(0).length
  }
  const use = (count: number): void => {
    const slabs = Array.from({ length: count }, () => pool.take(100_000))
    for (const slab of slabs) slab.release()
  }
  use(8)
  t.is(shrink(), 0, 'all eight were needed')
  use(3)
  t.is(shrink(), 5)
  use(3)
  t.is(shrink(), 0)
  t.is(shrink(), 3, 'nobody came')
  t.is(pool.freeBytes, 0)
  t.is(shrink(), 0)
  use(1)
  t.is(shrink(), 0)
  t.is(pool.freeBytes, 2 ** 17 + 4096)
})

test('sizes are looked at one by one', (t) => {
  const pool = new SlabPool()
  const [small, large] = [pool.take(4096), pool.take(2 ** 20)]
  small.release()
  large.release()
  pool.shrink(() => {})
  pool.take(4096).release()
  const given: number[] = []
  pool.shrink((memory) => given.push(memory.length))
  t.deepEqual(given, [2 ** 20 + 4096])
  t.is(pool.taken, 0)
})

test('memory in use is never given back', (t) => {
  const pool = new SlabPool()
  const held = pool.take(5000)
  for (let sweep = 0; sweep < 3; sweep++) pool.shrink(() => t.fail())
  held.release()
  t.is(pool.freeBytes, held.bytes.length)
})

test('cells do not overlap, and are used again', (t) => {
  const pool = new SlabPool()
  const cells = Array.from({ length: 600 }, () => pool.takeCell())
  for (const [index, { bytes }] of cells.entries()) bytes.fill(index % 251)
  t.true(cells.every(({ bytes }, index) => bytes.every((byte) => byte === index % 251)))
  t.is(cells[0].view.getUint8(255), 0)
  t.is(cells[9].view.getUint8(255), 9)
  t.is(pool.taken, 600)
  for (const cell of cells) cell.release()
  t.is(pool.taken, 0)
  pool.shrink(() => t.fail())
  t.true(new Set(cells).has(pool.takeCell()))
})
