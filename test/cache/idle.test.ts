import test from 'ava'
import { CachedDevice } from '../../cache/cached-device.ts'
import { PAGE_SIZE } from '../../cache/limits.ts'
import type { Device } from '../../device/device.ts'
import { isFilledWith } from '../helpers/bytes.ts'
import { HeldDevice } from '../helpers/held-device.ts'
import { ModelDevice } from '../helpers/model-device.ts'
import { TestDevice, TestRequest } from '../helpers/test-device.ts'

/** A cache whose memory is spoilt when it is given back, as the system may do. */
function cacheOver(lower: Device) {
  const given: number[] = []
  const giveBack = (memory: Uint8Array): void => {
    given.push(memory.length)
    memory.fill(0xdd)
  }
  const arena = new Uint8Array(16 * PAGE_SIZE)
  return { device: new CachedDevice(lower, { arena, retain: true, giveBack }), given }
}

function scene() {
  const model = new ModelDevice(64 * PAGE_SIZE, PAGE_SIZE)
  model.recording = true
  const { device, given } = cacheOver(model)
  return { model, device, given, subject: new TestDevice({ device }) }
}

test('a cache that nobody used between two sweeps gives its memory back, once', async (t) => {
  const { device, given, subject } = scene()
  await subject.write(100, new Uint8Array(50).fill(7))
  device.sweep()
  t.deepEqual(given, [])
  device.sweep()
  t.deepEqual(given, [16 * PAGE_SIZE])
  device.sweep()
  t.is(given.length, 1)
})

test('afterwards pages are read again from below', async (t) => {
  const { model, device, subject } = scene()
  await subject.write(100, new Uint8Array(50).fill(7))
  device.sweep()
  device.sweep()
  model.takeCalls()
  t.true(isFilledWith(await subject.read(100, 50), 7))
  t.deepEqual(model.takeCalls(), ['read 0 4096'])
  t.true(isFilledWith(await subject.read(110, 20), 7))
  t.deepEqual(model.takeCalls(), [])
})

test('a cache in use keeps its pages', async (t) => {
  const { model, device, given, subject } = scene()
  for (let round = 0; round < 3; round++) {
    await subject.write(100, new Uint8Array(50).fill(7))
    device.sweep()
  }
  model.takeCalls()
  t.true(isFilledWith(await subject.read(100, 50), 7))
  t.deepEqual(model.takeCalls(), [])
  t.deepEqual(given, [])
})

test('a page that is being worked on is not taken away', (t) => {
  const lower = new HeldDevice(new ModelDevice(64 * PAGE_SIZE, PAGE_SIZE))
  const { device, given } = cacheOver(lower)
  const write = new TestRequest()
  write.start(device, 'write', 100, 50, { data: new Uint8Array(50).fill(7) })
  device.submit()
  for (let round = 0; round < 3; round++) device.sweep()
  t.deepEqual(given, [])
  while (!write.idle) lower.releaseAll()
  t.is(write.status, 0)
})
