import { constants } from 'node:os'
import test from 'ava'
import { DONE, RequestFlag } from '../../device/device.ts'
import { ExtentFlag, ExtentList } from '../../device/extents.ts'
import { isFilledWith, sameBytes } from '../helpers/bytes.ts'
import { cached, cacheOver } from '../helpers/cached.ts'
import { ModelDevice } from '../helpers/model-device.ts'
import { Random } from '../helpers/random.ts'
import { TestDevice, TestRequest } from '../helpers/test-device.ts'

const { EPERM, EIO } = constants.errno
const { FUA } = RequestFlag
const random = new Random(1)

test('a write inside a page reads the page once and writes it whole each time', async (t) => {
  const { lower, subject } = cached()
  await subject.write(4100, random.bytes(10))
  t.deepEqual(lower.takeCalls(), ['read 4096 4096', 'write 4096 4096'])
  await subject.write(4200, random.bytes(10))
  t.deepEqual(lower.takeCalls(), ['write 4096 4096'])
  await subject.read(4100, 200)
  t.deepEqual(lower.takeCalls(), [])
})

test('an unaligned write goes head, body, tail, and each part is passed its flags', async (t) => {
  const { lower, subject } = cached()
  await subject.write(4000, random.bytes(13000), FUA)
  t.deepEqual(lower.takeCalls(), [
    'read 0 4096',
    'write 0 4096 flags 1',
    'write 4096 12288 flags 1',
    'read 16384 4096',
    'write 16384 4096 flags 1',
  ])
})

test('an unaligned read goes head, body, tail', async (t) => {
  const { lower, subject } = cached()
  await subject.read(4000, 13000)
  t.deepEqual(lower.takeCalls(), ['read 0 4096', 'read 4096 12288', 'read 16384 4096'])
})

test('an aligned request is one request below, with the same memory', async (t) => {
  const { lower, device, subject } = cached()
  const buffers: [string, number, boolean][] = []
  const request = new TestRequest()
  for (const method of ['read', 'write'] as const) {
    const original = lower[method].bind(lower)
    lower[method] = (own) => {
      buffers.push([method, own.bufferOffset, own.buffer === request.buffer])
      return original(own)
    }
  }
  request.start(device, 'read', 8192, 8192)
  t.deepEqual(buffers, [['read', request.bufferOffset, true]])
  request.start(device, 'write', 4096, 4096)
  t.deepEqual(buffers[1], ['write', request.bufferOffset, true])
  await subject.trim(0, 65536, FUA)
  await subject.zero(0, 65536, RequestFlag.NO_HOLE)
  t.deepEqual(lower.takeCalls(), [
    'read 8192 8192',
    'write 4096 4096',
    'trim 0 65536 flags 1',
    'zero 0 65536 flags 2',
  ])
})

test('an aligned read of pages that are all cached asks nobody', async (t) => {
  const { lower, device, subject } = cached()
  lower.image.set(random.bytes(lower.size))
  await subject.read(1, 8190)
  lower.takeCalls()
  sameBytes(t, await subject.read(0, 8192), lower.image.slice(0, 8192))
  sameBytes(t, await subject.read(4096, 4096), lower.image.slice(4096, 8192))
  t.deepEqual(lower.takeCalls(), [])
  t.is(device.statistics.hits, 3)
  await subject.read(4096, 8192)
  t.deepEqual(lower.takeCalls(), ['read 4096 8192'])
})

test('a cached aligned read is told to be data', async (t) => {
  const { subject } = cached()
  await subject.read(0, 1)
  const extents = new ExtentList(4)
  const { status, content } = await subject.perform('read', 0, 4096, { extents })
  t.is(status, DONE)
  t.deepEqual([extents.count, extents.total, extents.flagsAt(0)], [1, 4096, ExtentFlag.DATA])
  t.true(isFilledWith(content, 0))
})

test('a large aligned read is never looked up', async (t) => {
  const { lower, subject } = cached()
  for (let page = 0; page < 17; page++) await subject.read(page * 4096, 1)
  lower.takeCalls()
  await subject.read(0, 65536)
  t.deepEqual(lower.takeCalls(), [])
  await subject.read(0, 65536 + 4096)
  t.deepEqual(lower.takeCalls(), ['read 0 69632'])
})

for (const method of ['write', 'trim', 'zero'] as const) {
  test(`an aligned ${method} is seen by reads of pages that were cached`, async (t) => {
    const { lower, subject } = cached()
    await subject.write(0, random.bytes(16384))
    for (let page = 0; page < 4; page++) await subject.read(page * 4096, 1)
    const data = random.bytes(8192)
    if (method === 'write') await subject.write(4096, data)
    else await subject[method](4096, 8192)
    lower.takeCalls()
    const seen = await subject.read(1, 16380)
    sameBytes(t, seen, lower.image.slice(1, 16381))
    t.deepEqual(lower.takeCalls(), ['read 4096 8192'])
  })
}

test('a cache that keeps nothing reads the page each time', async (t) => {
  const { lower, device, subject } = cached({ retain: false })
  await subject.write(10, random.bytes(10))
  await subject.write(20, random.bytes(10))
  t.deepEqual(lower.takeCalls(), ['read 0 4096', 'write 0 4096', 'read 0 4096', 'write 0 4096'])
  t.deepEqual(device.statistics, { hits: 0, misses: 2, evictions: 0 })
})

test('hits, misses and evictions are counted', async (t) => {
  const { device, subject } = cached({ pages: 2 })
  for (const page of [0, 0, 1, 2, 2]) await subject.read(page * 4096 + 1, 5)
  t.deepEqual(device.statistics, { hits: 2, misses: 3, evictions: 1 })
})

test('a page that could not be written is read again', async (t) => {
  const { lower, subject } = cached()
  await subject.write(0, random.bytes(4096))
  await subject.read(0, 1)
  const original = lower.write.bind(lower)
  lower.write = () => EIO
  const { status, errorOffset } = await subject.perform('write', 100, 50, {
    data: random.bytes(50),
  })
  lower.write = original
  t.is(status, EIO)
  t.is(errorOffset, 100)
  sameBytes(t, await subject.read(1, 4000), lower.image.slice(1, 4001))
})

test('mutations of a read-only device fail before anything is read', async (t) => {
  const { lower, subject } = cached({ features: { readOnly: true } })
  for (const method of ['write', 'trim', 'zero'] as const) {
    for (const offset of [0, 5]) {
      const { status, errorOffset } = await subject.perform(method, offset, 4096)
      t.is(status, EPERM)
      t.is(errorOffset, offset)
    }
  }
  t.deepEqual(lower.takeCalls(), [])
})

test('an unaligned blockStatus asks for the range rounded outward', async (t) => {
  const { lower, subject } = cached()
  await subject.write(4096, random.bytes(4096))
  lower.takeCalls()
  const extents = new ExtentList(8)
  await subject.perform('blockStatus', 4000, 4200, { extents })
  t.deepEqual(lower.takeCalls(), ['blockStatus 0 12288'])
  const lengths = [0, 1, 2].map((index) => extents.lengthAt(index))
  t.deepEqual([extents.count, ...lengths], [3, 96, 4096, 8])
})

test('an aligned blockStatus is passed on, whatever the page size', async (t) => {
  const lower = new ModelDevice(65536, 512)
  lower.recording = true
  const subject = new TestDevice({ device: cacheOver(lower, 2, true) })
  await subject.perform('blockStatus', 512, 1024, { extents: new ExtentList(8) })
  t.deepEqual(lower.takeCalls(), ['blockStatus 512 1024'])
})

test('flush, submit and close are passed on', async (t) => {
  const { lower, device, subject } = cached()
  await subject.flush()
  t.deepEqual(lower.takeCalls(), ['flush 0 0'])
  t.is(lower.submits, 1)
  await device.close()
  t.true(lower.closed)
})

test('a lower device that cannot take single pages is refused', (t) => {
  t.throws(() => cacheOver(new ModelDevice(65536, 8192), 4, true))
  t.throws(() => cacheOver(new ModelDevice(65536 + 512, 512), 4, true))
})
