import { constants } from 'node:os'
import test from 'ava'
import { DONE, RequestFlag } from '../../device/device.ts'
import { isFilledWith, sameBytes } from '../helpers/bytes.ts'
import { cached } from '../helpers/cached.ts'
import { Random } from '../helpers/random.ts'

const { ENOTSUP } = constants.errno
const { FUA, NO_HOLE, FAST_ZERO } = RequestFlag
const random = new Random(1)

test('small trims that cover a page between them give it back', async (t) => {
  const { lower, subject } = cached()
  await subject.write(0, random.bytes(16384))
  for (const piece of [3, 0, 7, 1, 5, 2, 6]) await subject.trim(4096 + piece * 512, 512)
  t.is(lower.allocatedBytes, 16384)
  lower.takeCalls()
  await subject.trim(4096 + 4 * 512, 512)
  t.deepEqual(lower.takeCalls(), ['trim 4096 4096'])
  t.is(lower.allocatedBytes, 12288)
})

test('the edges of an unaligned trim are given back if nothing else is in there', async (t) => {
  const { lower, subject } = cached()
  await subject.write(4096, random.bytes(100))
  await subject.write(8192, random.bytes(8192))
  await subject.write(16384, random.bytes(200))
  await subject.trim(4096, 12288 + 200)
  t.is(lower.allocatedBytes, 0)
})

test('a partial trim does nothing where trims below need not zero', async (t) => {
  const { lower, subject } = cached({ features: { trimZeroes: false } })
  await subject.write(0, new Uint8Array(16384).fill(7))
  lower.takeCalls()
  await subject.trim(100, 50, FUA)
  await subject.trim(4000, 9000)
  t.deepEqual(lower.takeCalls(), ['trim 4096 8192'])
  t.true(isFilledWith(await subject.read(0, 4096), 7))
  t.true(isFilledWith(await subject.read(12288, 4096), 7))
})

test('a partial zero that leaves only zeros zeroes the page below', async (t) => {
  const { lower, subject } = cached()
  await subject.write(100, random.bytes(50))
  lower.takeCalls()
  await subject.zero(90, 100, FUA)
  t.deepEqual(lower.takeCalls(), ['zero 0 4096 flags 1'])
  await subject.write(100, random.bytes(50))
  await subject.zero(100, 49, NO_HOLE | FUA)
  t.deepEqual(lower.takeCalls().slice(1), ['write 0 4096 flags 1'])
})

test('a partial zero of zeros writes nothing', async (t) => {
  const { lower, subject } = cached()
  await subject.zero(10, 4000)
  t.deepEqual(lower.takeCalls(), ['read 0 4096'])
  await subject.write(0, random.bytes(5))
  lower.takeCalls()
  await subject.zero(10, 4000)
  await subject.trim(10, 4000)
  t.deepEqual(lower.takeCalls(), [])
})

test('with FUA it is made durable nevertheless', async (t) => {
  for (const method of ['zero', 'trim'] as const) {
    const { lower, subject } = cached()
    lower.durable.fill(7)
    await subject[method](10, 4000, FUA)
    t.true(isFilledWith(lower.durable.subarray(0, 4096), 0))
    await subject.write(8192, new Uint8Array(5).fill(1))
    await subject[method](8200, 100, FUA)
    sameBytes(t, lower.durable.subarray(8192, 12288), lower.image.subarray(8192, 12288))
  }
})

test('with NO_HOLE it is allocated nevertheless', async (t) => {
  const { lower, subject } = cached()
  await subject.zero(10, 4000, NO_HOLE)
  t.is(lower.allocatedBytes, 4096)
})

test('FAST_ZERO is refused untouched where the device below has none', async (t) => {
  const { lower, subject } = cached({ features: { fastZero: false } })
  for (const [offset, length] of [
    [0, 4096],
    [5, 10],
    [5, 20000],
  ]) {
    const { status, errorOffset } = await subject.perform('zero', offset, length, {
      flags: FAST_ZERO,
    })
    t.is(status, ENOTSUP)
    t.is(errorOffset, offset)
  }
  t.deepEqual(lower.takeCalls(), [])
})

test('FAST_ZERO asks for the body first, and for the edges without it', async (t) => {
  const { lower, subject } = cached()
  await subject.write(0, random.bytes(16384))
  lower.takeCalls()
  const flags = FAST_ZERO | FUA
  t.is((await subject.perform('zero', 4000, 8400, { flags })).status, DONE)
  t.deepEqual(lower.takeCalls(), [
    `zero 4096 8192 flags ${flags}`,
    'read 0 4096',
    'write 0 4096 flags 1',
    'read 12288 4096',
    'write 12288 4096 flags 1',
  ])
  t.true(isFilledWith(lower.image.subarray(4000, 12400), 0))
  t.false(lower.image.subarray(0, 4000).includes(0))
  t.false(lower.image.subarray(12400, 16384).includes(0))
})

test('FAST_ZERO whose body is not fast changes nothing', async (t) => {
  const { lower, subject } = cached()
  const data = random.bytes(16384)
  await subject.write(0, data)
  lower.zero = (request) => {
    request.errorOffset = request.offset
    return ENOTSUP
  }
  const { status } = await subject.perform('zero', 4000, 8400, { flags: FAST_ZERO })
  t.is(status, ENOTSUP)
  sameBytes(t, lower.image.subarray(0, 16384), data)
})
