/** Cases of the device contract: what was written is read, and nothing else changed. */
import { RequestFlag } from '../../device/device.ts'
import type { ContractCase } from '../device-contract.ts'
import { isFilledWith, sameBytes } from '../helpers/bytes.ts'
import { Random } from '../helpers/random.ts'
import type { TestDevice } from '../helpers/test-device.ts'

/** Fills the device with bytes that are nowhere zero. @returns what it holds */
export async function fill(subject: TestDevice): Promise<Uint8Array> {
  const image = new Random(1).bytes(subject.device.size)
  await subject.write(0, image)
  return image
}

/** Ranges with all kinds of borders, as offset and length; aligned for the device. */
export function rangesOf({ device }: TestDevice): readonly (readonly [number, number])[] {
  const { alignment: unit, size } = device
  const borders = [0, 1, 511, 512, 4095, 4096, 4097, 8192, 12288, 65535, 65536, 65537, 131072]
  const offsets = new Set(borders.map((border) => Math.ceil(border / unit) * unit))
  const lengths = [1, 2, 511, 4096, 4097, 8192, 12289, 65536, 70000, 100000]
  const ranges: [number, number][] = []
  for (const offset of offsets) {
    for (const bytes of lengths) {
      const length = Math.ceil(bytes / unit) * unit
      if (offset + length <= size) ranges.push([offset, length])
    }
  }
  ranges.push([size - unit, unit], [0, size])
  return ranges
}

export const dataCases: readonly ContractCase[] = [
  {
    title: 'a new device reads as zeros',
    async run(t, subject) {
      const image = await subject.read(0, subject.device.size)
      t.true(isFilledWith(image, 0))
    },
  },
  {
    title: 'what is written is read back',
    async run(t, subject) {
      const random = new Random(2)
      for (const [offset, length] of rangesOf(subject)) {
        const data = random.bytes(length)
        await subject.write(offset, data)
        sameBytes(t, await subject.read(offset, length), data, `${offset} ${length}`)
      }
    },
  },
  {
    title: 'a write changes nothing beside its range',
    async run(t, subject) {
      const random = new Random(3)
      const image = await fill(subject)
      for (const [offset, length] of rangesOf(subject)) {
        const data = random.bytes(length)
        image.set(data, offset)
        await subject.write(offset, data)
        const [start, end] = [Math.max(0, offset - 8192), offset + length + 8192]
        const from = start - (start % subject.device.alignment)
        const bytes = Math.min(end, subject.device.size) - from
        const whole = bytes - (bytes % subject.device.alignment)
        sameBytes(t, await subject.read(from, whole), image.slice(from, from + whole))
      }
      sameBytes(t, await subject.read(0, image.length), image)
    },
  },
  {
    title: 'writes, trims and zeros with FUA do what they do without',
    async run(t, subject) {
      const unit = subject.device.alignment
      const image = await fill(subject)
      const data = new Random(4).bytes(5 * unit)
      await subject.write(3 * unit, data, RequestFlag.FUA)
      await subject.trim(unit, unit, RequestFlag.FUA)
      await subject.zero(6 * unit, unit, RequestFlag.FUA)
      image.set(data, 3 * unit)
      image.fill(0, unit, 2 * unit)
      image.fill(0, 6 * unit, 7 * unit)
      sameBytes(t, await subject.read(0, image.length), image)
    },
  },
  {
    title: 'a flush keeps what was written, and may come when there is nothing to flush',
    async run(t, subject) {
      await subject.flush()
      const image = await fill(subject)
      await subject.flush()
      await subject.flush()
      sameBytes(t, await subject.read(0, image.length), image)
    },
  },
]
