import { constants } from 'node:os'
import test from 'ava'
import { DONE } from '../../device/device.ts'
import type { Device } from '../../device/device.ts'
import { isFilledWith, sameBytes } from '../helpers/bytes.ts'
import { cachedHeld } from '../helpers/cached.ts'
import { Random } from '../helpers/random.ts'
import { TestRequest } from '../helpers/test-device.ts'
import type { Method } from '../helpers/test-device.ts'

const { EIO, ENOSPC } = constants.errno

function start(device: Device, method: Method, offset: number, length: number, value = 1) {
  const request = new TestRequest()
  const data = new Uint8Array(length).fill(value)
  request.start(device, method, offset, length, method === 'write' ? { data } : {})
  return request
}

test('writes to one page take effect one after the other, in order, with one read', (t) => {
  const { model, lower, device } = cachedHeld()
  const order: number[] = []
  const requests = [0, 1, 2, 3].map((index) => {
    const request = start(device, 'write', 100 * index, 100, index + 1)
    request.finished = () => order.push(index)
    return request
  })
  t.deepEqual(lower.names, ['read 0 4096'])
  lower.release('read 0 4096')
  for (let index = 0; index < 4; index++) {
    t.deepEqual(lower.names, ['write 0 4096'])
    lower.release('write 0 4096')
    t.deepEqual(order, [0, 1, 2, 3].slice(0, index + 1))
  }
  t.deepEqual(lower.names, [])
  t.true(requests.every((request) => request.status === DONE))
  const expected = [1, 2, 3, 4].flatMap((value) => Array.from({ length: 100 }, () => value))
  sameBytes(t, model.image.subarray(0, 400), Uint8Array.from(expected))
})

test('readers of a page that is being read share what comes', (t) => {
  const { model, lower, device } = cachedHeld()
  model.image.fill(6)
  const requests = [10, 20, 30].map((offset) => start(device, 'read', offset, 500))
  lower.release('read 0 4096')
  t.deepEqual(lower.names, [])
  for (const request of requests) t.true(request.idle && isFilledWith(request.content, 6))
})

test('ten thousand waiters on one page are answered without recursion', (t) => {
  const { lower, device } = cachedHeld()
  let answered = 0
  for (let index = 0; index < 10_000; index++) {
    const request = start(device, 'read', index % 4000, 10)
    request.finished = () => answered++
  }
  lower.release('read 0 4096')
  t.is(answered, 10_000)
})

test('a page filled while an aligned write is under way is not kept', (t) => {
  const { lower, device } = cachedHeld()
  const write = start(device, 'write', 4096, 4096, 9)
  start(device, 'read', 4100, 10)
  // The reader is served the old bytes: it runs beside the write.
  lower.release('read 4096 4096')
  lower.release('write 4096 4096')
  t.is(write.status, DONE)
  const read = start(device, 'read', 4100, 10)
  lower.release('read 4096 4096')
  t.true(isFilledWith(read.content, 9))
})

test('a page being filled when an aligned write comes and goes serves its own reader only', (t) => {
  const { lower, device } = cachedHeld()
  const early = start(device, 'read', 4100, 10)
  lower.execute('read 4096 4096')
  start(device, 'write', 4096, 4096, 9)
  lower.release('write 4096 4096')
  const late = start(device, 'read', 4200, 10)
  lower.release('read 4096 4096')
  t.true(early.idle && isFilledWith(early.content, 0))
  t.false(late.idle)
  lower.release('read 4096 4096')
  t.true(isFilledWith(late.content, 9))
})

test('a large trim over more pages than the cache has forgets them all the same', (t) => {
  const { model, lower, device } = cachedHeld({ pages: 4 })
  model.image.fill(5)
  for (const page of [3, 20, 200]) {
    start(device, 'read', page * 4096 + 1, 5)
    lower.releaseAll()
  }
  start(device, 'trim', 4096, 100 * 4096)
  lower.releaseAll()
  t.true(start(device, 'read', 200 * 4096, 7).idle)
  for (const page of [3, 20]) {
    const read = start(device, 'read', page * 4096, 7)
    lower.release(`read ${page * 4096} 4096`)
    t.true(isFilledWith(read.content, 0))
  }
})

test('an aligned read of a page that is being changed goes below', (t) => {
  const { lower, device } = cachedHeld()
  start(device, 'read', 0, 1)
  lower.releaseAll()
  start(device, 'write', 0, 1)
  start(device, 'read', 0, 4096)
  t.deepEqual(lower.names, ['write 0 4096', 'read 0 4096'])
})

test('while all pages are locked, requests wait for one, first come first served', (t) => {
  const { lower, device } = cachedHeld({ pages: 2 })
  const requests = [0, 1, 2, 3].map((page) => start(device, 'write', page * 4096 + 5, 5))
  t.deepEqual(lower.names, ['read 0 4096', 'read 4096 4096'])
  lower.release('read 4096 4096')
  lower.release('write 4096 4096')
  t.deepEqual(lower.names, ['read 0 4096', 'read 8192 4096'])
  const late = start(device, 'read', 4096, 5)
  lower.releaseAll()
  t.true(late.idle)
  t.true(requests.every((request) => request.idle && request.status === DONE))
})

test('one page of memory is enough for any number of requests', (t) => {
  const { model, lower, device } = cachedHeld({ pages: 1 })
  const random = new Random(1)
  const image = random.bytes(20 * 4096)
  for (let offset = 0; offset < image.length; offset += 1024) {
    const data = image.subarray(offset, offset + 1024)
    new TestRequest().start(device, 'write', offset, 1024, { data })
  }
  lower.releaseAll()
  sameBytes(t, model.image.subarray(0, image.length), image)
})

test('the first error stops the parts that have not begun', (t) => {
  const { lower, device } = cachedHeld()
  const write = start(device, 'write', 4000, 9000)
  lower.release('read 0 4096')
  lower.release('write 0 4096')
  lower.fail('write 4096 8192', ENOSPC, 8192)
  t.is(write.status, ENOSPC)
  t.is(write.errorOffset, 8192)
  t.deepEqual(lower.names, [])
})

for (const [where, failing, at] of [
  ['head', 'read 0 4096', 4000],
  ['tail', 'read 12288 4096', 12288],
] as const) {
  test(`an unreadable page of the ${where} fails at the first byte of that part`, (t) => {
    const { lower, device } = cachedHeld()
    const read = start(device, 'read', 4000, 9000)
    while (lower.names[0] !== failing) lower.release(lower.names[0])
    lower.fail(failing, EIO, 512)
    t.is(read.status, EIO)
    t.is(read.errorOffset, at)
    t.deepEqual(lower.names, [])
  })
}

test('whoever waits for a page that could not be read tries for itself', (t) => {
  const { lower, device } = cachedHeld()
  const [first, second] = [start(device, 'read', 0, 10), start(device, 'write', 20, 10)]
  lower.fail('read 0 4096', EIO, 0)
  t.is(first.status, EIO)
  lower.release('read 0 4096')
  lower.release('write 0 4096')
  t.is(second.status, DONE)
})

test('a page whose write failed is not served to the next in line', (t) => {
  const { lower, device } = cachedHeld()
  const [write, read] = [start(device, 'write', 0, 10, 8), start(device, 'read', 0, 10)]
  lower.release('read 0 4096')
  lower.fail('write 0 4096', EIO, 0)
  t.is(write.status, EIO)
  lower.release('read 0 4096')
  t.true(isFilledWith(read.content, 0))
})

test('what is started below because something completed is submitted', (t) => {
  const { lower, device } = cachedHeld()
  start(device, 'write', 0, 10)
  device.submit()
  t.is(lower.submits, 1)
  lower.release('read 0 4096')
  t.is(lower.submits, 2)
  lower.release('write 0 4096')
  t.is(lower.submits, 2)
})

test('a completion may start the next request for the same page', (t) => {
  const { lower, device } = cachedHeld()
  const first = start(device, 'write', 0, 10)
  let second: TestRequest | null = null
  first.finished = () => (second = start(device, 'write', 10, 10))
  lower.releaseAll()
  t.is((second as TestRequest | null)?.status, DONE)
})

test('close waits for requests that still have parts to do', async (t) => {
  const { model, lower, device } = cachedHeld()
  const write = start(device, 'write', 4000, 9000)
  const closing = device.close()
  lower.releaseAll()
  await closing
  t.is(write.status, DONE)
  t.true(model.closed)
})

test('a late blockStatus is clipped, and its error told inside the range', (t) => {
  const { lower, device } = cachedHeld()
  const status = start(device, 'blockStatus', 4100, 10)
  lower.fail('blockStatus 4096 4096', EIO, 4096)
  t.is(status.status, EIO)
  t.is(status.errorOffset, 4100)
})

test('what completes from inside a call to the cache waits for the next submit', (t) => {
  const { lower, device } = cachedHeld()
  const first = start(device, 'read', 10, 10)
  const read = lower.read.bind(lower)
  lower.read = (request) => {
    const status = read(request)
    lower.release('read 0 4096')
    return status
  }
  const second = start(device, 'read', 65536 + 1, 10)
  t.false(first.idle)
  device.submit()
  t.true(first.idle)
  t.false(second.idle)
})
