/** A session that ends at any byte: the client vanishes, or the server is told to stop. */
import test, { type ExecutionContext } from 'ava'
import { MemoryDevice } from '../../device/memory.ts'
import type { FakeStream } from '../helpers/fake-stream.ts'
import { MemorySession } from '../helpers/memory-session.ts'
import { infoData, metaData, option, request, u32 } from '../helpers/naive-codec.ts'

const SIZE = 64 * 1024

/** All kinds of options and commands, some of them refused, with payloads. */
function session(): Buffer {
  const write = (cookie: bigint, offset: number, length: number): Buffer =>
    Buffer.concat([request({ command: 1, cookie, offset, length }), Buffer.alloc(length, 7)])
  return Buffer.concat([
    u32(3),
    option(3),
    option(99, Buffer.alloc(20)),
    option(8),
    option(9, metaData('')),
    option(10, metaData('', ['base:allocation'])),
    option(6, infoData('nobody', [1, 2, 3])),
    option(7, infoData('', [0, 3])),
    write(1n, 0, 40),
    request({ command: 0, cookie: 2n, length: 40 }),
    request({ command: 7, cookie: 3n, length: SIZE }),
    request({ command: 6, cookie: 4n, offset: 10, length: 4096 }),
    write(5n, SIZE - 10, 20),
    request({ command: 4, cookie: 6n, length: SIZE }),
    request({ command: 0, cookie: 7n, offset: SIZE, length: 1 }),
    request({ command: 77, cookie: 8n }),
    request({ command: 3, cookie: 9n }),
    request({ command: 2, cookie: 10n }),
  ])
}

const BYTES = session()

/** A client that has said so much, in pieces; the server has done what it can with it. */
async function saidUpTo(position: number, pieceBytes: number) {
  const memory = await MemorySession.start(new MemoryDevice(SIZE))
  const stream = memory.connectRaw()
  stream.pieceBytes = pieceBytes
  stream.push(BYTES.subarray(0, position))
  return { memory, stream }
}

/** @param stepsMax events, or fewer if nothing is left to happen */
async function happen(stream: FakeStream, stepsMax: number): Promise<void> {
  for (let steps = 0; steps < stepsMax && stream.step(); steps++)
    await new Promise((resolve) => setImmediate(resolve))
}

function isEmpty(t: ExecutionContext, { server }: MemorySession, where: string): void {
  const nothing = { connections: 0, requestsInFlight: 0, memoryBytes: 0, slabsInUse: 0 }
  t.like(server.statistics(), nothing, where)
}

test('the session is one: every byte of it is needed, and all of it is answered', async (t) => {
  const { memory, stream } = await saidUpTo(BYTES.length, Infinity)
  await happen(stream, 1000)
  t.true(stream.isFinished)
  const bytes = stream.take()
  for (let cookie = 1; cookie <= 9; cookie++) {
    const text = `000000000000000${cookie}`
    t.true(bytes.includes(Buffer.from(text, 'hex')), text)
  }
  stream.break(null)
  isEmpty(t, memory, 'the end')
})

test('a client that vanishes at any byte leaves nothing behind', async (t) => {
  for (let position = 0; position <= BYTES.length; position++) {
    for (const reason of [null, new Error('read ECONNRESET')]) {
      const { memory, stream } = await saidUpTo(position, Infinity)
      await happen(stream, 1000)
      stream.break(reason)
      await new Promise((resolve) => setImmediate(resolve))
      isEmpty(t, memory, `byte ${position}`)
    }
  }
})

test('a client that vanishes at any moment of a session leaves nothing behind', async (t) => {
  for (const pieceBytes of [1, 16, 100])
    for (let steps = 0, isOver = false; !isOver; steps += pieceBytes === 1 ? 7 : 1) {
      const { memory, stream } = await saidUpTo(BYTES.length, pieceBytes)
      stream.isHolding = steps % 2 === 1
      await happen(stream, steps)
      isOver = steps > 2 * (BYTES.length / pieceBytes) + 100
      stream.break()
      await new Promise((resolve) => setImmediate(resolve))
      isEmpty(t, memory, `${steps} steps with ${pieceBytes} bytes each`)
    }
})

test('a server may stop at any byte of a session, and ends though the client stays', async (t) => {
  const positions = Array.from({ length: BYTES.length + 1 }, (_, position) => position)
  await Promise.all(
    positions.map(async (position) => {
      const { memory, stream } = await saidUpTo(position, Infinity)
      await happen(stream, 1000)
      const timer = setInterval(() => void happen(stream, 10), 20)
      await memory.server.stop()
      clearInterval(timer)
      isEmpty(t, memory, `byte ${position}`)
    }),
  )
})
