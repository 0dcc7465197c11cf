/** Extended headers: what differs from compact ones. All that is sent is checked strictly. */
import test from 'ava'
import type { ExecutionContext } from 'ava'
import { MemoryDevice } from '../../device/memory.ts'
import { ManualDevice } from '../helpers/manual-device.ts'
import { Command, Flag, MemorySession } from '../helpers/memory-session.ts'
import type { Fields, MemoryClient } from '../helpers/memory-session.ts'
import { extendedRequest, request } from '../helpers/naive-codec.ts'
import type { WireRequest } from '../helpers/naive-codec.ts'
import { PAYLOAD_LEN, STYLES } from '../helpers/wire-style.ts'

const MIB = 2 ** 20
const GIB = 2 ** 30
const SIZE = 12 * GIB
const [NONE, ERROR, STATUS_EXT] = [0, 0x8001, 6]
const [EPERM, EINVAL, ENOSPC] = [1, 22, 28]
const { READ, WRITE, DISC, FLUSH, TRIM, CACHE, WRITE_ZEROES, BLOCK_STATUS } = Command

interface Attached {
  readonly session: MemorySession
  readonly client: MemoryClient
}

async function attach(device = new MemoryDevice(SIZE)): Promise<Attached> {
  const session = await MemorySession.start(device)
  return { session, client: await session.connect(device.size, 'extended') }
}

/** Sends a request and, behind it, a READ: the connection must be in step for that one. */
async function ask({ session, client }: Attached, fields: Fields, payload?: Uint8Array) {
  const cookies = [client.send(fields, payload), client.read(0, 1)]
  await session.until(() => client.outstanding === 0)
  const [answer, after] = cookies.map((cookie) => client.answerTo(cookie))
  if (answer === undefined || after?.error !== 0) throw new Error('no answer')
  return answer
}

test('every reply is made of extended chunks, with the offset of the request', async (t) => {
  const attached = await attach()
  const offset = 5 * GIB + 77
  const payload = Buffer.from('extended')
  const { length } = payload
  const written = await ask(attached, { command: WRITE, offset, length }, payload)
  t.deepEqual([written.simple, written.chunkTypes], [false, [NONE]])
  const read = await ask(attached, { command: READ, offset: offset - 1, length: length + 2 })
  t.is(read.data.toString(), '\0extended\0')
  for (const command of [FLUSH, TRIM, CACHE, WRITE_ZEROES]) {
    const answer = await ask(attached, { command, offset, length })
    t.deepEqual([answer.error, answer.chunkTypes], [0, [NONE]])
  }
  t.deepEqual((await ask(attached, { command: READ, offset, length: 0 })).chunkTypes, [NONE])
  const status = await ask(attached, { command: BLOCK_STATUS, offset, length })
  t.deepEqual(status.chunkTypes, [STATUS_EXT])
})

test('an offset above 2^53 comes back exactly', async (t) => {
  const attached = await attach()
  for (const offset of [2n ** 53n + 1n, 2n ** 64n - 1n, 0x0123_4567_89ab_cdefn]) {
    t.is((await ask(attached, { command: READ, offset, length: 1 })).error, EINVAL)
    t.is((await ask(attached, { command: FLUSH, offset })).error, 0)
  }
})

test('TRIM, WRITE_ZEROES, CACHE and BLOCK_STATUS may be longer than 4 GiB', async (t) => {
  const attached = await attach()
  const range = { offset: GIB, length: 9 * GIB }
  const inside = GIB + 6 * GIB
  for (const command of [TRIM, WRITE_ZEROES]) {
    for (const offset of [0, inside])
      await ask(attached, { command: WRITE, offset, length: 4 }, Buffer.from('data'))
    t.is((await ask(attached, { command, ...range })).error, 0)
    t.is((await ask(attached, { command: READ, offset: 0, length: 4 })).data.toString(), 'data')
    const zeros = await ask(attached, { command: READ, offset: inside, length: 4 })
    t.deepEqual(zeros.data, Buffer.alloc(4))
  }
  t.is((await ask(attached, { command: CACHE, ...range })).error, 0)
  const status = await ask(attached, { command: BLOCK_STATUS, offset: MIB, length: 11 * GIB })
  const [[first]] = status.extents.values()
  t.deepEqual(first, { length: 4 * GIB, flags: 3 })
})

test('an effect of more than 4 GiB is done in slices, and others pass', async (t) => {
  const device = new ManualDevice(SIZE)
  const session = await MemorySession.start(device)
  const client = await session.connect(SIZE, 'extended')
  client.send({ command: TRIM, offset: 512, length: 10 * GIB })
  const passing = client.read(11 * GIB, 512)
  await session.until(() => device.pending.length === 2)
  device.complete(`read ${11 * GIB}+512`)
  await session.until(() => client.answerTo(passing) !== undefined)
  while (client.outstanding > 0) {
    device.completeAll()
    await session.step()
  }
  const trims = device.history.filter((call) => call.startsWith('trim'))
  t.deepEqual(
    trims,
    Array.from({ length: 10 }, (_, index) => `trim ${512 + index * GIB}+${GIB}`),
  )
})

test('one extent may be longer than 4 GiB, and REQ_ONE tells one', async (t) => {
  const device = new MemoryDevice(SIZE)
  device.blockStatus = ({ length }, extents) => {
    extents.append(length - 512, 3)
    extents.append(512, 0)
    return 0
  }
  const attached = await attach(device)
  const fields = { command: BLOCK_STATUS, offset: 0, length: SIZE }
  const [all] = (await ask(attached, fields)).extents.values()
  t.deepEqual(all, [
    { length: SIZE - 512, flags: 3 },
    { length: 512, flags: 0 },
  ])
  const [one] = (await ask(attached, { ...fields, flags: Flag.REQ_ONE })).extents.values()
  t.deepEqual(one, [{ length: SIZE - 512, flags: 3 }])
})

const REFUSALS: readonly (readonly [string, Fields, number])[] = [
  // Were the upper half of the length lost, these would be inside.
  ['READ of 2^32 + 512', { command: READ, offset: 0, length: 2 ** 32 + 512 }, EINVAL],
  ['READ of 2^64 - 1', { command: READ, offset: 0, length: 2n ** 64n - 1n }, EINVAL],
  ['TRIM of 2^53 + 2', { command: TRIM, offset: 0, length: 2n ** 53n + 2n }, EINVAL],
  ['TRIM that wraps around', { command: TRIM, offset: 512, length: 2n ** 64n - 512n }, EINVAL],
  ['CACHE of 2^63', { command: CACHE, offset: 0, length: 2n ** 63n }, EINVAL],
  ['WRITE_ZEROES of 2^40', { command: WRITE_ZEROES, offset: 0, length: 2 ** 40 }, ENOSPC],
  ['BLOCK_STATUS of 2^40', { command: BLOCK_STATUS, offset: 0, length: 2 ** 40 }, EINVAL],
  ['BLOCK_STATUS of nothing', { command: BLOCK_STATUS, offset: 0, length: 0 }, EINVAL],
  ['WRITE beyond the end', { command: WRITE, offset: SIZE, length: 1 }, ENOSPC],
  ['RESIZE', { command: 8, offset: 0, length: 2 ** 40 }, EINVAL],
  ['an unknown command', { command: 99, offset: 0, length: 2 ** 40 }, EINVAL],
]

for (const [what, fields, error] of REFUSALS) {
  test(`extended: ${what} is refused with ${error}`, async (t) => {
    const payload = fields.command === WRITE ? Buffer.alloc(1) : undefined
    const answer = await ask(await attach(), fields, payload)
    t.deepEqual([answer.error, answer.chunkTypes], [error, [ERROR]])
  })
}

/** Sends a request whose header is all the test's own. */
function sendRaw(client: MemoryClient, fields: WireRequest, payload: Uint8Array): void {
  client.expect({ flags: 0, ...fields, offset: BigInt(fields.offset ?? 0), length: 0 })
  client.stream.push(Buffer.concat([extendedRequest(fields), payload]))
}

test('a payload that does not belong there is consumed and refused with EINVAL', async (t) => {
  const { session, client } = await attach()
  // Taken for requests these bytes would be answered.
  const payload = Buffer.concat(
    Array.from({ length: 64 }, () => extendedRequest({ command: READ, cookie: 7777n, length: 1 })),
  )
  let cookie = 1000n
  for (const command of [READ, FLUSH, TRIM, CACHE, WRITE_ZEROES, BLOCK_STATUS, 8, 99])
    for (const length of [1, 8, 12, 33, payload.length]) {
      const fields = { command, flags: PAYLOAD_LEN, offset: 0, length, cookie: cookie++ }
      sendRaw(client, fields, payload.subarray(0, length))
    }
  const after = client.read(0, 1)
  await session.until(() => client.outstanding === 0)
  t.is(client.answerTo(after)?.error, 0)
  const wrong = client.answers.filter(
    ({ request: { command }, error }) => command !== READ && error !== EINVAL,
  )
  // A BLOCK_STATUS that asks for context 0 or so is no exception.
  t.deepEqual(wrong, [])
  t.is(client.answers.length, 41)
})

test('PAYLOAD_LEN with a length of 0 is EINVAL but for WRITE', async (t) => {
  const { session, client } = await attach()
  let cookie = 1000n
  for (const command of [READ, FLUSH, TRIM, CACHE, WRITE_ZEROES, BLOCK_STATUS])
    sendRaw(client, { command, flags: PAYLOAD_LEN, cookie: cookie++ }, Buffer.alloc(0))
  const nothing = client.write(0, Buffer.alloc(0))
  await session.until(() => client.outstanding === 0)
  t.is(client.answerTo(nothing)?.error, 0)
  t.true(client.answers.slice(0, 6).every(({ error }) => error === EINVAL))
})

test('the payload of a refused extended WRITE is consumed', async (t) => {
  const features = { readOnly: true, trim: true, trimZeroes: true, fastZero: true }
  const attached = await attach(Object.assign(new MemoryDevice(SIZE), { features }))
  for (const length of [1, 32, 65_536, MIB + 1]) {
    const payload = Buffer.alloc(length, extendedRequest({ command: READ, cookie: 7777n }))
    t.is((await ask(attached, { command: WRITE, offset: 0, length }, payload)).error, EPERM)
  }
})

test('the data of a WRITE follow it without PAYLOAD_LEN as well, as from QEMU', async (t) => {
  const { session, client } = await attach()
  // Taken for requests these bytes would be answered.
  const payload = extendedRequest({ command: READ, cookie: 7777n, length: 1 })
  const { length } = payload
  const fields = { command: WRITE, flags: 0, cookie: 1000n, offset: 512n, length }
  client.expect(fields)
  client.stream.push(Buffer.concat([extendedRequest(fields), payload]))
  const read = client.read(512, length)
  await session.until(() => client.outstanding === 0)
  t.is(client.answerTo(1000n)?.error, 0)
  t.deepEqual(client.answerTo(read)?.data, payload)
})

test('32 MiB may be written, and a READ of more is refused', async (t) => {
  const attached = await attach()
  const length = 32 * MIB
  const payload = Buffer.alloc(length, 'data')
  t.is((await ask(attached, { command: WRITE, offset: 1, length }, payload)).error, 0)
  t.is((await ask(attached, { command: READ, offset: 0, length: length + 1 })).error, EINVAL)
})

const VIOLATIONS: readonly (readonly [string, Buffer])[] = [
  ['a compact request', request({ command: READ, cookie: 9n, length: 512 })],
  ['a wrong magic', extendedRequest({ magic: 0x21e41c72, command: READ, cookie: 9n, length: 1 })],
  [
    'a WRITE of more than 32 MiB',
    extendedRequest({ command: WRITE, flags: PAYLOAD_LEN, cookie: 9n, length: 2 ** 25 + 1 }),
  ],
  [
    'a payload of more than 32 MiB with another command',
    extendedRequest({ command: TRIM, flags: PAYLOAD_LEN, cookie: 9n, length: 2 ** 25 + 1 }),
  ],
  [
    // Were the upper half of the length lost, it would be a payload of 16 bytes.
    'a payload of 2^32 + 16',
    extendedRequest({ command: WRITE, flags: PAYLOAD_LEN, cookie: 9n, length: 2 ** 32 + 16 }),
  ],
]

for (const [what, bytes] of VIOLATIONS) {
  test(`extended: ${what} ends the connection after what came before`, async (t) => {
    const { session, client } = await attach()
    const before = client.read(0, 5)
    client.stream.push(bytes)
    client.stream.push(extendedRequest({ command: READ, cookie: 7777n, length: 512 }))
    await session.until(() => client.stream.isDestroyed)
    t.is(client.answerTo(before)?.error, 0)
    client.finish()
    await session.settle()
    const { connections, requestsInFlight, slabsInUse } = session.server.statistics()
    t.deepEqual([connections, requestsInFlight, slabsInUse], [0, 0, 0])
  })
}

test('extended: DISC ends the connection in order, whatever its flags say', async (t) => {
  for (const flags of [0, PAYLOAD_LEN]) {
    const { session, client } = await attach()
    client.write(0, Buffer.alloc(10))
    client.stream.push(extendedRequest({ command: DISC, flags, cookie: 9n, length: 100 }))
    await session.until(() => client.stream.isFinished)
    client.finish()
    t.is(client.answers[0].error, 0)
  }
})

test('with compact headers PAYLOAD_LEN is EINVAL, and WRITE has its payload', async (t) => {
  for (const style of STYLES.slice(0, 2)) {
    const session = await MemorySession.start(new MemoryDevice(SIZE))
    const client = await session.connect(SIZE, style)
    for (const command of [READ, WRITE, FLUSH, TRIM, CACHE, WRITE_ZEROES, BLOCK_STATUS]) {
      const payload = command === WRITE ? Buffer.alloc(28) : undefined
      client.send({ command, flags: PAYLOAD_LEN, offset: 0, length: 28 }, payload)
    }
    await session.until(() => client.outstanding === 0)
    t.true(client.answers.every(({ error }) => error === EINVAL))
    t.is(client.answers.length, 7)
  }
})

/** Flags and answers, whatever the style; the styles must not differ in what they do. */
async function outcome(t: ExecutionContext, flags: number, command: number): Promise<number[]> {
  const errors: number[] = []
  for (const style of STYLES.slice(1)) {
    const session = await MemorySession.start(new MemoryDevice(SIZE))
    const client = await session.connect(SIZE, style)
    const payload = command === WRITE ? Buffer.alloc(1) : undefined
    client.send({ command, flags, offset: 0, length: 1 }, payload)
    await session.until(() => client.outstanding === 0)
    errors.push(client.answers[0].error)
  }
  t.is(errors.length, 2)
  return errors
}

test('each flag of each command means the same with either header', async (t) => {
  for (const command of [READ, WRITE, FLUSH, TRIM, CACHE, WRITE_ZEROES, BLOCK_STATUS])
    for (let bit = 0; bit < 16; bit++) {
      if (1 << bit === PAYLOAD_LEN) continue
      const [compact, extended] = await outcome(t, 1 << bit, command)
      t.is(compact, extended, `command ${command} with bit ${bit}`)
    }
})
