import test from 'ava'
import { CachedDevice } from '../../cache/cached-device.ts'
import { PAGE_SIZE } from '../../cache/limits.ts'
import type { Device } from '../../device/device.ts'
import { FaultDevice } from '../../device/fault-device.ts'
import { MemoryDevice } from '../../device/memory.ts'
import { deviceContract } from '../device-contract.ts'
import { ModelDevice } from '../helpers/model-device.ts'
import { Random, seedFor } from '../helpers/random.ts'

const SIZE = 512 * 1024

function cacheOver(lower: Device, pages: number, retain: boolean): CachedDevice {
  return new CachedDevice(lower, { arena: new Uint8Array(pages * PAGE_SIZE), retain })
}

function late(seed: number, share: number): FaultDevice {
  const random = new Random(seed).next
  const lower = new ModelDevice(SIZE, PAGE_SIZE)
  return new FaultDevice(lower, { random, late: share, errors: 0, errnos: [] })
}

deviceContract(test, 'cache over memory', {
  make: () => ({ device: cacheOver(new MemoryDevice(SIZE), 32, true) }),
})

deviceContract(test, 'cache over whole pages', {
  make: () => ({ device: cacheOver(new ModelDevice(SIZE, PAGE_SIZE), 256, true) }),
})

deviceContract(test, 'cache over sectors', {
  make: () => ({ device: cacheOver(new ModelDevice(SIZE, 512), 3, true) }),
})

deviceContract(test, 'cache that keeps nothing, over a late device', {
  make(t) {
    const lower = late(seedFor(t), 1)
    return { device: cacheOver(lower, 64, false), run: () => lower.run() }
  },
})

deviceContract(test, 'cache of one page over a sometimes late device', {
  make(t) {
    const lower = late(seedFor(t), 0.5)
    return { device: cacheOver(lower, 1, true), run: () => lower.run() }
  },
})

deviceContract(test, 'cache without fast zero', {
  make: () => ({
    device: cacheOver(new ModelDevice(SIZE, PAGE_SIZE, { fastZero: false }), 9, true),
  }),
})

deviceContract(test, 'cache over a cache', {
  make(t) {
    const lower = late(seedFor(t), 0.7)
    const device = cacheOver(cacheOver(lower, 4, true), 16, true)
    return { device, run: () => lower.run() }
  },
})
