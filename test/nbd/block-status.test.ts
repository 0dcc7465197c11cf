/** BLOCK_STATUS with several contexts: each tells its own extents, and only those asked for. */
import test from 'ava'
import { DONE } from '../../device/device.ts'
import type { Request, Status } from '../../device/device.ts'
import { ExtentFlag, ExtentKind } from '../../device/extents.ts'
import type { ExtentList } from '../../device/extents.ts'
import { MemoryDevice } from '../../device/memory.ts'
import { Command, Flag, MemorySession } from '../helpers/memory-session.ts'
import type { MemoryClient } from '../helpers/memory-session.ts'
import { extendedRequest, statusPayload } from '../helpers/naive-codec.ts'
import { PAYLOAD_LEN } from '../helpers/wire-style.ts'

const SIZE = 2 ** 40
const CONTEXTS = ['base:allocation', 'qemu:allocation-depth', 'x-chunknbd:part', 'x-chunknbd:chunk']
const { BLOCK_STATUS, READ } = Command
const EINVAL = 22
const [DATA, HOLE] = [ExtentFlag.DATA, ExtentFlag.HOLE | ExtentFlag.ZERO]

/** Length, flags, depth, part, chunk; again and again over the whole disk. */
const LAYOUT: readonly (readonly [number, number, number, number, number])[] = [
  [1000, DATA, 1, 0, 7],
  [2000, HOLE, 1, 0, 7],
  [4096, HOLE, 2, 3, 8],
  [8192, DATA, 2, 3, 0xffff_ffff],
  [5000, HOLE, 0, 0, 0],
  [3000, DATA, 256, 1_048_575, 9],
]

class PlacedDevice extends MemoryDevice {
  /** What `blockStatus` was asked for. */
  kinds: number[] = []
  override readonly features = {
    readOnly: false,
    trim: true,
    trimZeroes: true,
    fastZero: true,
    extentKinds: ExtentKind.DEPTH | ExtentKind.PART | ExtentKind.CHUNK,
  }

  constructor() {
    super(SIZE)
  }

  /** The first layout only, wherever it is asked. */
  override blockStatus(request: Request, extents: ExtentList): Status {
    this.kinds.push(extents.kinds)
    let left = request.length
    for (const [length, flags, depth, part, chunk] of LAYOUT) {
      extents.appendPlaced(Math.min(length, left), flags, depth, part, chunk)
      left -= Math.min(length, left)
    }
    return DONE
  }
}

async function attach(style: 'structured' | 'extended' = 'extended') {
  const device = new PlacedDevice()
  const session = await MemorySession.start(device)
  const contexts = style === 'extended' ? CONTEXTS : CONTEXTS.slice(0, 3)
  const client = await session.connect(SIZE, style, contexts)
  return { device, session, client }
}

/** Of the only answer: by name of the context, rows of length and status. */
function toldBy(client: MemoryClient): Record<string, number[][]> {
  const [answer] = client.answers
  return Object.fromEntries(
    [...answer.extents].map(([id, extents]) => [
      client.contextIds.get(id) ?? '',
      extents.map(({ length, flags }) => [length, flags]),
    ]),
  )
}

const WIDE = 2 ** 32
const place = (depth: number, part: number): number => depth * 2 ** 20 + part

const EXPECTED: Readonly<Record<string, number[][]>> = {
  'base:allocation': [
    [1000, 0],
    [6096, 3],
    [8192, 0],
    [5000, 3],
    [3000, 0],
  ],
  'qemu:allocation-depth': [
    [3000, 1],
    [12_288, 2],
    [5000, 0],
    [3000, 256],
  ],
  'x-chunknbd:part': [
    [3000, place(1, 0)],
    [12_288, place(2, 3)],
    [5000, 0],
    [3000, place(256, 1_048_575)],
  ],
  'x-chunknbd:chunk': [
    [3000, 7 * WIDE + place(1, 0)],
    [4096, 8 * WIDE + place(2, 3)],
    // 2^64 - 2^32 is exact as a number, with what is added to it no more.
    [8192, Number(0xffff_ffffn * 2n ** 32n + BigInt(place(2, 3)))],
    [5000, 0],
    [3000, 9 * WIDE + place(256, 1_048_575)],
  ],
}

for (const style of ['structured', 'extended'] as const) {
  test(`every selected context tells its own extents, ${style} replies`, async (t) => {
    const { session, client } = await attach(style)
    client.send({ command: BLOCK_STATUS, offset: 4096, length: 100_000 })
    await session.until(() => client.outstanding === 0)
    const names = style === 'extended' ? CONTEXTS : CONTEXTS.slice(0, 3)
    t.deepEqual(toldBy(client), Object.fromEntries(names.map((name) => [name, EXPECTED[name]])))
  })

  test(`REQ_ONE: one extent of each context, inside the request, ${style} replies`, async (t) => {
    const { session, client } = await attach(style)
    client.send({ command: BLOCK_STATUS, offset: 0, length: 7000, flags: Flag.REQ_ONE })
    await session.until(() => client.outstanding === 0)
    const told = toldBy(client)
    t.deepEqual(told['base:allocation'], [[1000, 0]])
    t.deepEqual(told['qemu:allocation-depth'], [[3000, 1]])
    t.deepEqual(told['x-chunknbd:part'], [[3000, place(1, 0)]])
  })
}

test('a device is asked for what the contexts of the request are made of', async (t) => {
  const { device, session, client } = await attach()
  const idOf = (wanted: string): number =>
    [...client.contextIds].find(([, name]) => name === wanted)?.[0] ?? 0
  const { ALLOCATION, DEPTH, PART, CHUNK } = ExtentKind
  for (const name of CONTEXTS)
    client.send({ command: BLOCK_STATUS, offset: 0, length: 512, contextIds: [idOf(name)] })
  client.send({ command: BLOCK_STATUS, offset: 0, length: 512 })
  await session.until(() => client.outstanding === 0)
  const place = DEPTH | PART | CHUNK
  t.deepEqual(device.kinds, [ALLOCATION, DEPTH, DEPTH | PART, place, ALLOCATION | place])
})

test('a request may name its contexts: exactly those are told', async (t) => {
  for (let chosen = 1; chosen < 16; chosen++) {
    const { session, client } = await attach()
    const entries = [...client.contextIds].filter((_, index) => (chosen & (1 << index)) !== 0)
    const contextIds = entries.map(([id]) => id).toReversed()
    client.send({ command: BLOCK_STATUS, offset: 0, length: 100_000, contextIds })
    await session.until(() => client.outstanding === 0)
    const names = entries.map(([, name]) => name)
    t.deepEqual(toldBy(client), Object.fromEntries(names.map((name) => [name, EXPECTED[name]])))
  }
})

const [MANY, REPEATED, UNKNOWN] = [
  [1, 2, 3, 4, 1],
  [1, 1],
  [1, 99],
]

const PAYLOADS: readonly (readonly [string, Buffer])[] = [
  ['no context', statusPayload(512, [])],
  ['a context twice', statusPayload(512, REPEATED)],
  ['an unknown context', statusPayload(512, UNKNOWN)],
  ['context 0', statusPayload(512, [0])],
  ['context 2^32 - 1', statusPayload(512, [0xffff_ffff])],
  // 1 << 33 is 1 << 1.
  ['context 33', statusPayload(512, [33])],
  ['more ids than contexts', statusPayload(512, MANY)],
  ['hundreds of ids', statusPayload(512, Array(500).fill(1))],
  ['half an id', statusPayload(512, [1, 2]).subarray(0, 14)],
  ['half a length', statusPayload(512, []).subarray(0, 4)],
  ['a length of 0', statusPayload(0, [1])],
  ['a range beyond the end', statusPayload(SIZE + 1, [1])],
  ['a range of 2^64 - 1', statusPayload(2n ** 64n - 1n, [1])],
  // Were the upper half lost, it would be 512 bytes.
  ['a range of 2^63 + 512', statusPayload(2n ** 63n + 512n, [1])],
]

for (const [what, payload] of PAYLOADS) {
  test(`BLOCK_STATUS with a payload of ${what} is consumed and EINVAL`, async (t) => {
    const { device, session, client } = await attach()
    const { length } = payload
    const fields = { command: BLOCK_STATUS, flags: PAYLOAD_LEN, cookie: 1000n, offset: 0n, length }
    client.expect(fields)
    client.stream.push(Buffer.concat([extendedRequest(fields), payload]))
    const after = client.send({ command: BLOCK_STATUS, offset: 0, length: 512, contextIds: [1] })
    const read = client.read(0, 1)
    await session.until(() => client.outstanding === 0)
    t.is(client.answerTo(1000n)?.error, EINVAL)
    t.is(client.answerTo(after)?.error, 0)
    t.is(client.answerTo(read)?.error, 0)
    t.is(device.kinds.length, 1)
  })
}

test('the payload of a BLOCK_STATUS may arrive byte by byte', async (t) => {
  const { session, client } = await attach()
  client.stream.pieceBytes = 1
  for (let count = 0; count < 5; count++) {
    client.send({ command: BLOCK_STATUS, offset: 0, length: 100_000, contextIds: [2, 4] })
    client.send({ command: READ, offset: 5, length: 3 })
  }
  await session.until(() => client.outstanding === 0)
  t.true(client.answers.every(({ error }) => error === 0))
  t.deepEqual(toldBy(client)['qemu:allocation-depth'], EXPECTED['qemu:allocation-depth'])
})

test('a memory disk tells depth 1 where it has a page, 0 elsewhere', async (t) => {
  const session = await MemorySession.start(new MemoryDevice(SIZE))
  const client = await session.connect(SIZE, 'structured', ['qemu:allocation-depth'])
  client.write(65_536, Buffer.alloc(1))
  await session.until(() => client.outstanding === 0)
  client.answers.length = 0
  client.send({ command: BLOCK_STATUS, offset: 0, length: 4 * 65_536 })
  await session.until(() => client.outstanding === 0)
  t.deepEqual(toldBy(client)['qemu:allocation-depth'], [
    [65_536, 0],
    [65_536, 1],
    [131_072, 0],
  ])
})
