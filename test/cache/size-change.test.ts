import test from 'ava'
import { PAGE_SIZE } from '../../cache/limits.ts'
import { cached, cachedHeld } from '../helpers/cached.ts'
import { TestDevice } from '../helpers/test-device.ts'

const filled = (length: number, value: number): Uint8Array => new Uint8Array(length).fill(value)

test('a lower device that changes its size: nothing cached behind the end counts', async (t) => {
  const { lower, device, subject } = cached()
  await subject.write(PAGE_SIZE + 10, filled(5, 1))
  await subject.write(2 * PAGE_SIZE + 10, filled(5, 2))
  lower.takeCalls()
  // Below, all of it is gone.
  lower.image.fill(0)
  device.dropBehind(2 * PAGE_SIZE)
  t.deepEqual([...(await subject.read(PAGE_SIZE + 10, 5))], [1, 1, 1, 1, 1])
  t.deepEqual([...(await subject.read(2 * PAGE_SIZE + 10, 5))], [0, 0, 0, 0, 0])
  t.deepEqual(lower.takeCalls(), ['read 8192 4096'])
})

test('a page that is being read while the size changes is not kept', async (t) => {
  const { model, lower, device } = cachedHeld()
  const subject = new TestDevice({ device })
  model.image.fill(7)
  const reading = subject.read(PAGE_SIZE + 10, 5)
  t.deepEqual(lower.names, ['read 4096 4096'])
  device.dropBehind(0)
  lower.releaseAll()
  await reading
  model.image.fill(0)
  const again = subject.read(PAGE_SIZE + 10, 5)
  lower.releaseAll()
  t.deepEqual([...(await again)], [0, 0, 0, 0, 0])
})

test('the size is always that of the lower device', (t) => {
  const { lower, device } = cached()
  const { size } = lower
  t.is(device.size, size)
  Object.defineProperty(lower, 'size', { value: size / 2 })
  t.is(device.size, size / 2)
})
