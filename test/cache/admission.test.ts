import test from 'ava'
import { Admission } from '../../cache/admission.ts'
import { PAGE_SIZE } from '../../cache/limits.ts'
import { DONE } from '../../device/device.ts'
import { ExtentList } from '../../device/extents.ts'
import { sameBytes } from '../helpers/bytes.ts'
import { cached, cachedHeld } from '../helpers/cached.ts'
import { Random } from '../helpers/random.ts'
import { TestRequest } from '../helpers/test-device.ts'

const random = new Random(1)

test('the third aligned read of a page asks nobody', async (t) => {
  const { lower, subject } = cached()
  const bytes = random.bytes(PAGE_SIZE)
  await subject.write(PAGE_SIZE, bytes)
  await subject.read(PAGE_SIZE, PAGE_SIZE)
  await subject.read(PAGE_SIZE, PAGE_SIZE)
  lower.takeCalls()
  sameBytes(t, await subject.read(PAGE_SIZE, PAGE_SIZE), bytes)
  t.deepEqual(lower.takeCalls(), [])
})

test('nothing is kept without retention, nor from large reads', async (t) => {
  for (const [retain, length] of [
    [false, PAGE_SIZE],
    [true, 8 * PAGE_SIZE],
  ] as const) {
    const { device, subject } = cached({ retain })
    for (let count = 0; count < 4; count++) await subject.read(0, length)
    t.is(device.statistics.hits, 0)
  }
})

test('a long pass over the disk puts nothing into the cache and takes nothing out', async (t) => {
  const { device, subject } = cached()
  for (let count = 0; count < 2; count++) await subject.read(0, PAGE_SIZE)
  for (let page = 1; page < 200; page++) await subject.read(page * PAGE_SIZE, PAGE_SIZE)
  const { hits, evictions } = device.statistics
  t.is(evictions, 0)
  await subject.read(0, PAGE_SIZE)
  t.is(device.statistics.hits, hits + 1)
})

test('a kept page is dropped by a write, a trim and a zero of it', async (t) => {
  for (const change of ['write', 'trim', 'zero'] as const) {
    const { subject } = cached()
    await subject.write(0, random.bytes(PAGE_SIZE))
    for (let count = 0; count < 3; count++) await subject.read(0, PAGE_SIZE)
    const bytes = change === 'write' ? random.bytes(PAGE_SIZE) : new Uint8Array(PAGE_SIZE)
    if (change === 'write') await subject.write(0, bytes)
    else await subject[change](0, PAGE_SIZE)
    sameBytes(t, await subject.read(0, PAGE_SIZE), bytes, change)
  }
})

test('the unwritten bytes of a hole are never kept', async (t) => {
  const { device, subject } = cached()
  for (let count = 0; count < 3; count++) {
    const request = new TestRequest()
    request.extents = new ExtentList(8)
    t.is(request.start(device, 'read', 0, PAGE_SIZE), DONE)
  }
  sameBytes(t, await subject.read(0, PAGE_SIZE), new Uint8Array(PAGE_SIZE))
})

test('a read that had to wait is not kept', (t) => {
  const { lower, device } = cachedHeld()
  for (let count = 0; count < 3; count++) {
    new TestRequest().start(device, 'read', 0, PAGE_SIZE)
    lower.releaseAll()
  }
  t.is(device.locks.table.count, 0)
})

test('pages are remembered by their whole number', (t) => {
  const admission = new Admission(4)
  t.false(admission.isWanted(7))
  t.false(admission.isWanted(2 ** 40 + 7))
  t.true(admission.isWanted(2 ** 40 + 7))
  t.false(admission.isWanted(0))
  t.true(admission.isWanted(0))
})
