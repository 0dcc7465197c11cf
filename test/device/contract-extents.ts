/** Cases of the device contract: the extents of reads and of blockStatus. */
import type { ExecutionContext } from 'ava'
import { DONE } from '../../device/device.ts'
import { ExtentFlag, ExtentList } from '../../device/extents.ts'
import type { ContractCase } from '../device-contract.ts'
import { isFilledWith, sameBytes } from '../helpers/bytes.ts'
import { Random } from '../helpers/random.ts'
import { UNWRITTEN } from '../helpers/test-device.ts'
import type { TestDevice, TestRequest } from '../helpers/test-device.ts'
import { rangesOf } from './contract-data.ts'

/** Data and holes in turn, with pieces of many sizes. @returns what the device holds */
export async function fillWithHoles(subject: TestDevice): Promise<Uint8Array> {
  const { size, alignment } = subject.device
  const unit = Math.max(alignment, 1024)
  const random = new Random(7)
  const image = random.bytes(size)
  await subject.write(0, image)
  for (let offset = 0; offset < size;) {
    const length = Math.min(size - offset, random.logarithmic(1, 64) * unit)
    if (random.chance(0.5)) {
      await subject.trim(offset, length)
      image.fill(0, offset, offset + length)
    }
    offset += length
  }
  return image
}

function checkRead(t: ExecutionContext, request: TestRequest, list: ExtentList, image: Uint8Array) {
  const { content, offset } = request
  for (let index = 0, at = 0; index < list.count; index++) {
    const length = list.lengthAt(index)
    const seen = content.subarray(at, at + length)
    const held = image.subarray(offset + at, offset + at + length)
    if ((list.flagsAt(index) & ExtentFlag.ZERO) === 0) {
      t.is(Buffer.compare(seen, held), 0, `data at ${offset + at}`)
    } else {
      t.true(isFilledWith(held, 0), `${offset + at} is told to be zero`)
      t.true(isFilledWith(seen, UNWRITTEN), `${offset + at} was written to`)
    }
    at += length
  }
}

/** One blockStatus of a range: it begins there, tells the truth and stops in time. */
async function checkStatus(
  t: ExecutionContext,
  subject: TestDevice,
  [offset, length]: readonly [number, number],
  extents: ExtentList,
  image: Uint8Array,
): Promise<void> {
  extents.clear()
  const { status } = await subject.perform('blockStatus', offset, length, { extents })
  t.is(status, DONE)
  t.true(extents.total >= 1, 'no extent')
  t.true(extents.total <= length, 'extents beyond the range')
  for (let index = 0, at = offset; index < extents.count; index++) {
    const end = at + extents.lengthAt(index)
    if ((extents.flagsAt(index) & ExtentFlag.ZERO) !== 0) {
      t.true(isFilledWith(image.subarray(at, end), 0), `zero told from ${at} to ${end}`)
    }
    at = end
  }
}

export const extentCases: readonly ContractCase[] = [
  {
    title: 'a read with extents is covered by them, and holes are left unwritten',
    async run(t, subject) {
      const image = await fillWithHoles(subject)
      const extents = new ExtentList(4 + image.length / 512)
      for (const [offset, length] of rangesOf(subject)) {
        extents.clear()
        const request = await subject.perform('read', offset, length, { extents })
        t.is(request.status, DONE)
        t.is(extents.total, length)
        checkRead(t, request, extents, image)
      }
    },
  },
  {
    title: 'a read whose extents do not fit says so by their total',
    async run(t, subject) {
      const image = await fillWithHoles(subject)
      for (const capacity of [1, 2, 3, 5]) {
        const extents = new ExtentList(capacity)
        for (const [offset, length] of rangesOf(subject)) {
          extents.clear()
          const request = await subject.perform('read', offset, length, { extents })
          t.is(request.status, DONE)
          t.true(extents.total <= length)
          if (extents.total === length) checkRead(t, request, extents, image)
        }
      }
    },
  },
  {
    title: 'a read without extents fills in the zeros',
    async run(t, subject) {
      const image = await fillWithHoles(subject)
      for (const [offset, length] of rangesOf(subject)) {
        sameBytes(t, await subject.read(offset, length), image.slice(offset, offset + length))
      }
    },
  },
  {
    title: 'blockStatus tells the truth about any range, with any room for it',
    async run(t, subject) {
      const image = await fillWithHoles(subject)
      for (const capacity of [1, 2, 1000]) {
        const extents = new ExtentList(capacity)
        for (const range of rangesOf(subject)) {
          await checkStatus(t, subject, range, extents, image)
        }
      }
    },
  },
  {
    title: 'blockStatus, asked on and on, walks over the whole device',
    async run(t, subject) {
      const image = await fillWithHoles(subject)
      const extents = new ExtentList(2)
      for (let offset = 0; offset < image.length; offset += extents.total) {
        await checkStatus(t, subject, [offset, image.length - offset], extents, image)
      }
      t.pass()
    },
  },
]
