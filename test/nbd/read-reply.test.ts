import test from 'ava'
import { constants } from 'node:os'
import { DONE } from '../../device/device.ts'
import type { Request, Status } from '../../device/device.ts'
import { ExtentFlag } from '../../device/extents.ts'
import type { ExtentList } from '../../device/extents.ts'
import { MemoryDevice } from '../../device/memory.ts'
import { sameBytes } from '../helpers/bytes.ts'
import { Command, Flag, MemorySession } from '../helpers/memory-session.ts'
import { Random, seedFor } from '../helpers/random.ts'
import { STYLES } from '../helpers/wire-style.ts'

const KIB = 1024
const PAGE = 64 * KIB
const SIZE = 8 * 1024 * KIB
const HOLE = ExtentFlag.HOLE | ExtentFlag.ZERO

/** Its extents are what the test says; data is the low byte of the offset's block of 512. */
class ExtentDevice extends MemoryDevice {
  /** Length and flags, from offset 0 on. */
  readonly layout: (readonly [number, number])[] = []
  reads = 0
  #image: Uint8Array | null = null

  /** What a client must see. */
  image(offset: number, length: number): Uint8Array {
    if (this.#image === null) {
      this.#image = Uint8Array.from({ length: this.size }, (_, at) => 1 + ((at >> 9) % 255))
      this.#each(0, this.size, (at, bytes, flags) => {
        if ((flags & ExtentFlag.ZERO) !== 0) this.#image?.fill(0, at, at + bytes)
        return true
      })
    }
    return this.#image.subarray(offset, offset + length)
  }

  override read(request: Request): Status {
    this.reads++
    const { offset, length, buffer, bufferOffset, extents } = request
    const whole = this.image(offset, length)
    if (extents === null) {
      buffer.set(whole, bufferOffset)
      return DONE
    }
    this.#each(offset, length, (at, bytes, flags) => {
      const isZero = (flags & ExtentFlag.ZERO) !== 0
      const from = at - offset
      if (!isZero) buffer.set(whole.subarray(from, from + bytes), bufferOffset + from)
      return extents.append(bytes, flags)
    })
    return DONE
  }

  override blockStatus(request: Request, extents: ExtentList): Status {
    this.#each(request.offset, request.length, (_at, bytes, flags) => extents.append(bytes, flags))
    return DONE
  }

  #each(
    offset: number,
    length: number,
    visit: (at: number, bytes: number, flags: number) => boolean,
  ): void {
    let start = 0
    for (const [bytes, flags] of this.layout) {
      const from = Math.max(start, offset)
      const to = Math.min(start + bytes, offset + length)
      start += bytes
      if (to > from && !visit(from, to - from, flags)) return
    }
  }
}

test('holes are sent as holes, data as data', async (t) => {
  const session = await MemorySession.start(new MemoryDevice(SIZE))
  const client = await session.connect(SIZE)
  client.write(PAGE, Buffer.alloc(PAGE, 1))
  client.write(3 * PAGE, Buffer.alloc(PAGE, 2))
  const cookie = client.read(PAGE / 2, 4 * PAGE)
  await session.until(() => client.outstanding === 0)
  const answer = client.answerTo(cookie)
  t.deepEqual(answer?.dataChunks, [
    { offset: PAGE, length: PAGE },
    { offset: 3 * PAGE, length: PAGE },
  ])
  t.deepEqual(answer?.holeChunks, [
    { offset: PAGE / 2, length: PAGE / 2 },
    { offset: 2 * PAGE, length: PAGE },
    { offset: 4 * PAGE, length: PAGE / 2 },
  ])
})

test('a hole of less than 4 KiB is sent as zeros', async (t) => {
  const session = await MemorySession.start(new MemoryDevice(SIZE))
  const client = await session.connect(SIZE)
  const small = client.read(0, 4095)
  const large = client.read(0, 4096)
  await session.until(() => client.outstanding === 0)
  t.deepEqual(client.answerTo(small)?.chunkTypes, [1])
  t.deepEqual(client.answerTo(large)?.chunkTypes, [2])
})

test('a read of all holes in several slices needs no data chunk', async (t) => {
  const session = await MemorySession.start(new MemoryDevice(SIZE))
  const client = await session.connect(SIZE)
  const cookie = client.read(1, SIZE - 1)
  await session.until(() => client.outstanding === 0)
  t.true(client.answerTo(cookie)?.chunkTypes.every((type) => type === 2))
})

test('DF and simple replies have the zeros in the data', async (t) => {
  for (const style of STYLES) {
    const session = await MemorySession.start(new MemoryDevice(SIZE))
    const client = await session.connect(SIZE, style)
    client.write(PAGE, Buffer.alloc(10, 1))
    const cookie = client.read(0, 3 * PAGE, style === 'simple' ? 0 : Flag.DF)
    await session.until(() => client.outstanding === 0)
    const expected = Buffer.alloc(3 * PAGE)
    expected.fill(1, PAGE, PAGE + 10)
    sameBytes(t, client.answerTo(cookie)?.data ?? Buffer.alloc(0), expected)
  }
})

test('more extents than fit: the slice is read again with the zeros filled in', async (t) => {
  const device = new ExtentDevice(SIZE)
  for (let at = 0; at < SIZE; at += 1024) device.layout.push([512, ExtentFlag.DATA], [512, HOLE])
  const session = await MemorySession.start(device)
  const client = await session.connect(SIZE)
  const cookie = client.read(0, 1024 * KIB)
  await session.until(() => client.outstanding === 0)
  const answer = client.answerTo(cookie)
  t.is(device.reads, 2)
  t.deepEqual(answer?.chunkTypes, [1])
  sameBytes(t, answer?.data ?? Buffer.alloc(0), device.image(0, 1024 * KIB))
})

test('random extents: what arrives is what is there', async (t) => {
  const random = new Random(seedFor(t))
  const kinds = [ExtentFlag.DATA, HOLE, ExtentFlag.ZERO, ExtentFlag.HOLE]
  for (let round = 0; round < 40; round++) {
    const device = new ExtentDevice(512 * KIB)
    for (let at = 0; at < device.size;) {
      const length = Math.min(device.size - at, random.logarithmic(1, 40_000))
      device.layout.push([length, random.pick(kinds)])
      at += length
    }
    const session = await MemorySession.start(device)
    const client = await session.connect(device.size, STYLES[round % 3])
    for (let count = 0; count < 20; count++) {
      const offset = random.between(0, device.size - 1)
      client.read(offset, random.logarithmic(1, device.size - offset))
    }
    await session.until(() => client.outstanding === 0)
    for (const { request, data, error } of client.answers) {
      t.is(error, 0)
      sameBytes(t, data, device.image(Number(request.offset), request.length), `${round}`)
    }
  }
})

test('block status tells extents from the offset on, at most those of the request', async (t) => {
  const session = await MemorySession.start(new MemoryDevice(SIZE))
  const client = await session.connect(SIZE)
  client.write(PAGE, Buffer.alloc(PAGE))
  const fields = { command: Command.BLOCK_STATUS, offset: 100, length: 4 * PAGE }
  const all = client.send(fields)
  const one = client.send({ ...fields, flags: Flag.REQ_ONE })
  const whole = client.send({ ...fields, offset: PAGE, length: 1, flags: Flag.REQ_ONE })
  await session.until(() => client.outstanding === 0)
  const extentsOf = (cookie: bigint) => [...(client.answerTo(cookie)?.extents.values() ?? [])]
  t.deepEqual(extentsOf(all), [
    [
      { length: PAGE - 100, flags: 3 },
      { length: PAGE, flags: 0 },
      { length: 2 * PAGE + 100, flags: 3 },
    ],
  ])
  t.deepEqual(extentsOf(one), [[{ length: PAGE - 100, flags: 3 }]])
  t.deepEqual(extentsOf(whole), [[{ length: 1, flags: 0 }]])
})

test('block status of 4 GiB - 1 on an empty terabyte is one extent', async (t) => {
  const session = await MemorySession.start(new MemoryDevice(2 ** 40))
  const client = await session.connect(2 ** 40)
  client.send({ command: Command.BLOCK_STATUS, offset: 2 ** 39, length: 2 ** 32 - 1 })
  await session.until(() => client.outstanding === 0)
  t.deepEqual([...client.answers[0].extents.values()], [[{ length: 2 ** 32 - 1, flags: 3 }]])
})

test('block status with more extents than fit tells the first of them', async (t) => {
  const device = new ExtentDevice(SIZE)
  for (let at = 0; at < SIZE; at += 1024) device.layout.push([512, ExtentFlag.DATA], [512, HOLE])
  const session = await MemorySession.start(device)
  const client = await session.connect(SIZE)
  client.send({ command: Command.BLOCK_STATUS, offset: 0, length: SIZE })
  await session.until(() => client.outstanding === 0)
  const [extents] = [...client.answers[0].extents.values()]
  t.true(extents.length >= 2)
  t.deepEqual(extents[0], { length: 512, flags: 0 })
})

test('an error of block status is told', async (t) => {
  const device = new MemoryDevice(SIZE)
  device.blockStatus = () => constants.errno.EBADF
  const session = await MemorySession.start(device)
  const client = await session.connect(SIZE)
  client.send({ command: Command.BLOCK_STATUS, offset: 9, length: 10 })
  await session.until(() => client.outstanding === 0)
  t.is(client.answers[0].error, 5)
  t.is(client.answers[0].errorOffset, 9)
})
