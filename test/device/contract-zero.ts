/** Cases of the device contract: trim and zero. */
import { constants } from 'node:os'
import { DONE, RequestFlag } from '../../device/device.ts'
import { ExtentFlag, ExtentList } from '../../device/extents.ts'
import type { ContractCase } from '../device-contract.ts'
import { sameBytes } from '../helpers/bytes.ts'
import { Random } from '../helpers/random.ts'
import type { TestDevice } from '../helpers/test-device.ts'
import { fill, rangesOf } from './contract-data.ts'

const { ENOTSUP } = constants.errno

async function testClearing(
  subject: TestDevice,
  method: 'trim' | 'zero',
  flags: number,
): Promise<readonly [Uint8Array, Uint8Array]> {
  const image = await fill(subject)
  const random = new Random(5)
  for (const [offset, length] of rangesOf(subject)) {
    if (length === image.length) continue
    await subject[method](offset, length, flags)
    image.fill(0, offset, offset + length)
    if (!random.chance(0.5)) continue
    const data = random.bytes(length)
    await subject.write(offset, data)
    image.set(data, offset)
  }
  return [await subject.read(0, image.length), image]
}

export const zeroCases: readonly ContractCase[] = [
  {
    title: 'a trim makes its range, and nothing else, read as zeros',
    async run(t, subject) {
      const [seen, expected] = await testClearing(subject, 'trim', 0)
      sameBytes(t, seen, expected)
    },
  },
  {
    title: 'a zero makes its range, and nothing else, read as zeros',
    async run(t, subject) {
      const [seen, expected] = await testClearing(subject, 'zero', 0)
      sameBytes(t, seen, expected)
    },
  },
  {
    title: 'a zero with NO_HOLE does too',
    async run(t, subject) {
      const [seen, expected] = await testClearing(subject, 'zero', RequestFlag.NO_HOLE)
      sameBytes(t, seen, expected)
    },
  },
  {
    title: 'the whole device can be trimmed and zeroed',
    async run(t, subject) {
      const image = await fill(subject)
      await subject.trim(0, image.length)
      sameBytes(t, await subject.read(0, image.length), new Uint8Array(image.length))
      await fill(subject)
      await subject.zero(0, image.length)
      sameBytes(t, await subject.read(0, image.length), new Uint8Array(image.length))
    },
  },
  {
    title: 'a range zeroed with NO_HOLE is no hole',
    async run(t, subject) {
      for (const [offset, length] of rangesOf(subject)) {
        await subject.trim(0, subject.device.size)
        await subject.zero(offset, length, RequestFlag.NO_HOLE)
        const end = offset + length
        for (let start = offset; start < end;) {
          const extents = new ExtentList(1)
          const { status } = await subject.perform('blockStatus', start, end - start, { extents })
          t.is(status, DONE)
          t.is(extents.flagsAt(0) & ExtentFlag.HOLE, 0, `${offset} ${length} at ${start}`)
          start += extents.total
        }
      }
    },
  },
  {
    title: 'a zero with FAST_ZERO succeeds, or fails with ENOTSUP and has changed nothing',
    async run(t, subject) {
      const image = await fill(subject)
      const flags = RequestFlag.FAST_ZERO
      const { fastZero } = subject.device.features
      for (const [offset, length] of rangesOf(subject)) {
        const { status } = await subject.perform('zero', offset, length, { flags })
        if (status === DONE) image.fill(0, offset, offset + length)
        else t.is(status, ENOTSUP)
        t.true(fastZero || status === ENOTSUP, 'the device says it has no fast zero')
        sameBytes(t, await subject.read(0, image.length), image, `${offset} ${length}`)
        await subject.write(
          offset,
          image.fill(9, offset, offset + length).slice(offset, offset + length),
        )
      }
    },
  },
  {
    title: 'many small trims in any order add up',
    async run(t, subject) {
      const { alignment: unit } = subject.device
      const image = await fill(subject)
      const step = Math.max(unit, 512)
      const pieces = Array.from({ length: 64 }, (_, index) => index * step)
      const random = new Random(6)
      while (pieces.length > 0) {
        const [offset] = pieces.splice(random.between(0, pieces.length - 1), 1)
        await subject.trim(offset, step)
      }
      image.fill(0, 0, 64 * step)
      sameBytes(t, await subject.read(0, image.length), image)
    },
  },
]
