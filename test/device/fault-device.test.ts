import { constants } from 'node:os'
import test from 'ava'
import { DONE, PENDING } from '../../device/device.ts'
import { FaultDevice } from '../../device/fault-device.ts'
import type { FaultOptions } from '../../device/fault-device.ts'
import { deviceContract } from '../device-contract.ts'
import { isFilledWith, sameBytes } from '../helpers/bytes.ts'
import { ModelDevice } from '../helpers/model-device.ts'
import { Random, seedFor } from '../helpers/random.ts'
import { TestDevice, TestRequest } from '../helpers/test-device.ts'

const { EIO, ENOSPC } = constants.errno
const SIZE = 512 * 1024

function make(seed: number, faults: Partial<FaultOptions>, lower = new ModelDevice(SIZE)) {
  const random = new Random(seed).next
  const device = new FaultDevice(lower, { random, late: 0, errors: 0, errnos: [], ...faults })
  return { lower, device, run: () => device.run() }
}

deviceContract(test, 'all late', { make: (t) => make(seedFor(t), { late: 1 }) })

deviceContract(test, 'some late, over some late', {
  make(t) {
    const seed = seedFor(t)
    const inner = make(seed, { late: 0.5 })
    const random = new Random(seed + 1).next
    const device = new FaultDevice(inner.device, { random, late: 0.5, errors: 0, errnos: [] })
    return { device, run: () => [device.run(), inner.run()].includes(true) }
  },
})

test('without shares of faults everything passes straight through', async (t) => {
  const { lower, device } = make(1, {})
  const data = new Random(1).bytes(100)
  const request = new TestRequest()
  t.is(request.start(device, 'write', 10, 100, { data }), DONE)
  sameBytes(t, lower.image.subarray(10, 110), data)
  t.false(device.run())
  await device.close()
  t.true(lower.closed)
})

test('late requests are executed and completed in random order', (t) => {
  const { device } = make(2, { late: 1 })
  const order: number[] = []
  for (let index = 0; index < 30; index++) {
    const request = new TestRequest()
    request.finished = () => order.push(index)
    t.is(request.start(device, 'write', index, 1, { data: new Uint8Array([1]) }), PENDING)
  }
  t.deepEqual(order, [])
  while (device.run());
  t.is(order.length, 30)
  t.notDeepEqual(
    order,
    [...order].sort((a, b) => a - b),
  )
})

test('one seed gives one order', (t) => {
  const orders = [7, 7, 8].map((seed) => {
    const { device } = make(seed, { late: 0.5, errors: 0.3, errnos: [EIO, ENOSPC] })
    const order: string[] = []
    for (let index = 0; index < 50; index++) {
      const request = new TestRequest()
      request.finished = ({ status }) => order.push(`${index}: ${status}`)
      request.start(device, 'write', 0, 50)
    }
    while (device.run());
    return order.join()
  })
  t.is(orders[0], orders[1])
  t.not(orders[0], orders[2])
})

test('a write that fails has done what lies before its error, and nothing behind', async (t) => {
  const { lower, device, run } = make(3, { late: 0.5, errors: 1, errnos: [EIO, ENOSPC] })
  const subject = new TestDevice({ device, run })
  const seen = new Set<number>()
  for (let index = 0; index < 40; index++) {
    lower.image.fill(0)
    const data = new Uint8Array(1000).fill(7)
    const { status, errorOffset } = await subject.perform('write', 5000, 1000, { data })
    seen.add(status)
    t.true(isFilledWith(lower.image.subarray(5000, errorOffset), 7))
    t.true(isFilledWith(lower.image.subarray(errorOffset), 0))
  }
  t.deepEqual(seen, new Set([EIO, ENOSPC]))
})

test('a read that fails has filled in what lies before its error', async (t) => {
  const { lower, device, run } = make(4, { late: 0.5, errors: 1, errnos: [EIO] })
  const subject = new TestDevice({ device, run })
  lower.image.fill(9)
  for (let index = 0; index < 40; index++) {
    const { status, errorOffset, content } = await subject.perform('read', 3000, 500)
    t.is(status, EIO)
    t.true(isFilledWith(content.subarray(0, errorOffset - 3000), 9))
    t.false(content.subarray(errorOffset - 3000).includes(9))
  }
})

test('errors stay on the alignment of the device', async (t) => {
  const { device, run } = make(5, { errors: 1, errnos: [EIO] }, new ModelDevice(SIZE, 4096))
  const subject = new TestDevice({ device, run })
  for (let index = 0; index < 40; index++) {
    const { errorOffset } = await subject.perform('zero', 8192, 65536)
    t.is(errorOffset % 4096, 0)
  }
})

test('a flush that fails has not flushed', async (t) => {
  const { lower, device, run } = make(6, { errors: 1, errnos: [EIO] })
  lower.image.fill(1)
  const { status } = await new TestDevice({ device, run }).perform('flush', 0, 0)
  t.is(status, EIO)
  t.true(isFilledWith(lower.durable, 0))
})

test('close waits for what is late', async (t) => {
  const inner = make(7, { late: 1 })
  const { lower, device } = inner
  const requests = Array.from({ length: 10 }, () => new TestRequest())
  for (const request of requests) request.start(device, 'write', 0, 1)
  await device.close()
  t.true(requests.every((request) => request.idle))
  t.true(lower.closed)
})

test('a schedule is told whenever a request begins to wait', (t) => {
  let told = 0
  const { device } = make(8, { late: 1, schedule: () => told++ })
  for (let index = 0; index < 3; index++) new TestRequest().start(device, 'read', 0, 1)
  t.is(told, 3)
  for (let index = 0; index < 3; index++) device.run()
  // Those that were executed wait again for their completion.
  while (device.run());
  t.is(told, 6)
})
