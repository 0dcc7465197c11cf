/** Clients with whom nothing happens: cut off after a time, if the server was told so. */
import { mock } from 'node:test'
import test from 'ava'
import type { Device } from '../../device/device.ts'
import { MemoryDevice } from '../../device/memory.ts'
import { Server } from '../../nbd/server.ts'
import { FakeIo } from '../helpers/fake-stream.ts'
import { ManualDevice } from '../helpers/manual-device.ts'
import { silentLog } from '../helpers/memory-session.ts'
import { infoData, option, request, u32 } from '../helpers/naive-codec.ts'

const IDLE_MS = 8000
/** As often as the server looks, and how much later than asked it may notice. */
const LOOK_MS = 1000

test.before(() => mock.timers.enable({ apis: ['setInterval'] }))
test.after.always(() => mock.timers.reset())

async function attach(device: Device = new MemoryDevice(65_536)) {
  const entry = { name: '', description: '', device }
  const fake = new FakeIo()
  const exports = { find: () => entry, list: () => [entry] }
  const warnings: string[] = []
  const log = { ...silentLog, warn: (_: object, message: string) => void warnings.push(message) }
  const server = new Server({ io: fake.io, exports, log, limits: { idleMs: IDLE_MS } })
  await server.listen({ kind: 'unix', path: 'fake' })
  const stream = fake.connect()
  stream.push(Buffer.concat([u32(3), option(7, infoData(''))]))
  const settle = async (): Promise<void> => {
    for (let turn = 0; turn < 3; turn++) {
      while (stream.step());
      await new Promise((resolve) => setImmediate(resolve))
    }
  }
  await settle()
  // What was said by now is seen by the first look.
  mock.timers.tick(LOOK_MS)
  return { server, stream, settle, warnings }
}

test.serial('a client that says nothing is told to go, in good order', async (t) => {
  const { stream, settle, warnings } = await attach()
  mock.timers.tick(IDLE_MS - 1)
  await settle()
  t.false(stream.isFinished)
  mock.timers.tick(LOOK_MS)
  await settle()
  t.true(stream.isFinished)
  t.false(stream.isDestroyed)
  t.is(warnings.length, 1)
  t.regex(warnings[0], /--idle-timeout/)
})

test.serial('half a request now and then is something', async (t) => {
  const { stream, settle } = await attach()
  const read = request({ command: 0, cookie: 1n, length: 512 })
  for (const byte of read) {
    mock.timers.tick(IDLE_MS - LOOK_MS)
    stream.push(Uint8Array.of(byte))
    await settle()
  }
  t.false(stream.isFinished)
  mock.timers.tick(IDLE_MS + LOOK_MS)
  await settle()
  t.true(stream.isFinished)
})

test.serial('who waits for the disk is not idle', async (t) => {
  const device = new ManualDevice(65_536)
  const { stream, settle } = await attach(device)
  stream.push(request({ command: 0, cookie: 1n, length: 512 }))
  await settle()
  mock.timers.tick(10 * IDLE_MS)
  await settle()
  t.false(stream.isFinished)
  device.completeAll()
  await settle()
  mock.timers.tick(IDLE_MS + LOOK_MS)
  await settle()
  t.true(stream.isFinished)
})

test.serial('who does not take the replies is idle, and cut off', async (t) => {
  const { server, stream, settle } = await attach()
  stream.isHolding = true
  stream.push(request({ command: 0, cookie: 1n, length: 512 }))
  await settle()
  mock.timers.tick(IDLE_MS + 2 * LOOK_MS)
  t.true(stream.isDestroyed)
  await settle()
  t.is(server.statistics().connections, 0)
})
