/** A device that changes its size while clients are connected. */
import test from 'ava'
import { MemoryDevice } from '../../device/memory.ts'
import { Command, MemorySession } from '../helpers/memory-session.ts'
import type { Fields, MemoryClient } from '../helpers/memory-session.ts'

const KIB = 1024
const EINVAL = 22
const ENOSPC = 28
const { READ, WRITE, TRIM, WRITE_ZEROES, BLOCK_STATUS, CACHE } = Command

/** 64 KiB of memory, of which as much is the disk as the test says. */
function changingDevice(size: number) {
  const state = { size }
  const device = new MemoryDevice(64 * KIB)
  Object.defineProperty(device, 'size', { get: () => state.size })
  return { state, device }
}

/** What each kind of request ends with, for 4 KiB that end at `end`. */
async function outcomes(session: MemorySession, client: MemoryClient, end: number) {
  const cookies = [READ, WRITE, TRIM, WRITE_ZEROES, BLOCK_STATUS, CACHE].map((command) => {
    const fields: Fields = { command, offset: end - 4 * KIB, length: 4 * KIB }
    return client.send(fields, command === WRITE ? new Uint8Array(4 * KIB) : undefined)
  })
  await session.until(() => cookies.every((cookie) => client.answerTo(cookie) !== undefined))
  return cookies.map((cookie) => client.answerTo(cookie)?.error)
}

const DONE = [0, 0, 0, 0, 0, 0]
const OUTSIDE = [EINVAL, ENOSPC, EINVAL, ENOSPC, EINVAL, EINVAL]

test('a larger device: who was told of less is refused the rest', async (t) => {
  const { state, device } = changingDevice(32 * KIB)
  const session = await MemorySession.start(device)
  const old = await session.connect(32 * KIB)
  state.size = 64 * KIB
  // The strict reader of the replies knows the size each was told.
  const fresh = await session.connect(64 * KIB)
  t.deepEqual(await outcomes(session, old, 32 * KIB), DONE)
  t.deepEqual(await outcomes(session, old, 36 * KIB), OUTSIDE)
  t.deepEqual(await outcomes(session, old, 64 * KIB), OUTSIDE)
  t.deepEqual(await outcomes(session, fresh, 64 * KIB), DONE)
  t.deepEqual(await outcomes(session, fresh, 68 * KIB), OUTSIDE)
})

test('a smaller device: everybody is refused what is gone', async (t) => {
  const { state, device } = changingDevice(64 * KIB)
  const session = await MemorySession.start(device)
  const old = await session.connect(64 * KIB)
  t.deepEqual(await outcomes(session, old, 64 * KIB), DONE)
  state.size = 32 * KIB
  const fresh = await session.connect(32 * KIB)
  for (const client of [old, fresh]) {
    t.deepEqual(await outcomes(session, client, 32 * KIB), DONE)
    t.deepEqual(await outcomes(session, client, 36 * KIB), OUTSIDE)
    t.deepEqual(await outcomes(session, client, 64 * KIB), OUTSIDE)
  }
  state.size = 64 * KIB
  t.deepEqual(await outcomes(session, old, 64 * KIB), DONE)
  t.deepEqual(await outcomes(session, fresh, 64 * KIB), OUTSIDE)
})

test('the size is told that the device has when it is asked for', async (t) => {
  const { state, device } = changingDevice(32 * KIB)
  const session = await MemorySession.start(device)
  const told = async (): Promise<number> => {
    const client = await session.connect(0)
    return client.size
  }
  t.is(await told(), 32 * KIB)
  state.size = 48 * KIB
  t.is(await told(), 48 * KIB)
})
