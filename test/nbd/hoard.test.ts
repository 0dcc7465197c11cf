/** Clients that hold memory and stand still: bearable while there is enough, cut off when not. */
import { mock } from 'node:test'
import test from 'ava'
import { MemoryDevice } from '../../device/memory.ts'
import { Command, type MemoryClient, MemorySession } from '../helpers/memory-session.ts'

const MIB = 1 << 20
const SIZE = 64 * MIB
const LARGE = 32 * MIB
const ENOMEM = 12
const LOOK_MS = 5000
/** The first look finds something new, three more find it unchanged. */
const LOOKS = 4

test.before(() => mock.timers.enable({ apis: ['setInterval'] }))
test.after.always(() => mock.timers.reset())

/** Clients that have sent a bit of a large payload. */
async function hoard(session: MemorySession, count: number): Promise<MemoryClient[]> {
  const clients: MemoryClient[] = []
  for (let index = 0; index < count; index++) {
    const client = await session.connect(SIZE)
    const payload = new Uint8Array(LARGE)
    const { bytes } = client.prepare({ command: Command.WRITE, offset: 0, length: LARGE }, payload)
    client.stream.push(bytes.subarray(0, 100))
    clients.push(client)
  }
  await session.settle()
  return clients
}

async function look(session: MemorySession, count: number): Promise<void> {
  for (let times = 0; times < count; times++) {
    mock.timers.tick(LOOK_MS)
    await session.settle()
  }
}

const isGone = ({ stream }: MemoryClient): boolean => stream.isClosed

test.serial('memory is short: who stands still is cut off, the others go on', async (t) => {
  const session = await MemorySession.start(new MemoryDevice(SIZE))
  const good = await session.connect(SIZE)
  const hoarders = await hoard(session, 8)
  await look(session, LOOKS - 1)
  t.false(hoarders.some(isGone))
  await look(session, 1)
  t.true(hoarders.every(isGone))
  t.is(session.server.statistics().memoryBytes, 0)
  t.is(session.server.statistics().refused, 8)
  good.write(0, new Uint8Array(4096))
  await session.until(() => good.outstanding === 0)
  t.is(good.answers[0].error, 0)
})

test.serial('who does not read the replies stands still too, who is slow does not', async (t) => {
  const session = await MemorySession.start(new MemoryDevice(SIZE))
  const [deaf, slow] = [await session.connect(SIZE), await session.connect(SIZE)]
  // Zeros would be a short reply.
  deaf.write(8 * MIB, new Uint8Array(MIB).fill(1))
  await session.until(() => deaf.outstanding === 0)
  deaf.stream.isHolding = true
  deaf.read(8 * MIB, MIB)
  const hoarders = await hoard(session, 8)
  for (let turn = 0; turn < LOOKS; turn++) {
    slow.write(0, new Uint8Array(MIB))
    await session.until(() => slow.outstanding === 0)
    const { bytes } = slow.prepare(
      { command: Command.WRITE, offset: 0, length: MIB },
      new Uint8Array(MIB),
    )
    slow.stream.push(bytes.subarray(0, MIB / 2))
    await look(session, 1)
    slow.stream.push(bytes.subarray(MIB / 2))
    await session.until(() => slow.outstanding === 0)
  }
  t.true(hoarders.every(isGone))
  t.true(isGone(deaf))
  t.false(isGone(slow))
})

test.serial('while there is enough memory everybody may stand still', async (t) => {
  const session = await MemorySession.start(new MemoryDevice(SIZE))
  const hoarders = await hoard(session, 7)
  await look(session, 10 * LOOKS)
  t.false(hoarders.some(isGone))
  for (const { stream } of hoarders) stream.break()
  await session.settle()
})

test.serial('far over the limit long payloads are ENOMEM, for a while', async (t) => {
  const session = await MemorySession.start(new MemoryDevice(SIZE))
  const good = await session.connect(SIZE)
  const hoarders = await hoard(session, 15)
  const write = async (length: number): Promise<number> => {
    const cookie = good.write(4096, new Uint8Array(length).fill(7))
    await session.until(() => good.outstanding === 0)
    return good.answerTo(cookie)?.error ?? -1
  }
  t.is(await write(LARGE), ENOMEM)
  // Sixteen times 32 MiB, and receive memory: no more of these.
  const refused = (await hoard(session, 2)).at(-1)
  t.true(session.server.statistics().memoryBytes <= 512 * MIB)
  t.is(await write(4096), 0)
  t.is(await write(64 * 1024), 0)
  t.false(hoarders.some(isGone))
  await look(session, LOOKS)
  t.true(hoarders.every(isGone))
  t.is(refused?.answers.length, 0)
  t.is(await write(LARGE), 0)
})
