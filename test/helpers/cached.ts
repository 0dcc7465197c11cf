/** A cache over a model of whole pages, with everything a test wants to look at. */
import { CachedDevice } from '../../cache/cached-device.ts'
import { PAGE_SIZE } from '../../cache/limits.ts'
import type { Device, Features } from '../../device/device.ts'
import { HeldDevice } from './held-device.ts'
import { ModelDevice } from './model-device.ts'
import { TestDevice } from './test-device.ts'

const SIZE = 256 * PAGE_SIZE

export interface CachedOptions {
  readonly pages?: number
  readonly retain?: boolean
  readonly features?: Partial<Features>
}

export function cached({ pages = 32, retain = true, features = {} }: CachedOptions = {}) {
  const lower = new ModelDevice(SIZE, PAGE_SIZE, features)
  lower.recording = true
  const device = cacheOver(lower, pages, retain)
  return { lower, device, subject: new TestDevice({ device }) }
}

/** The same, but the lower device completes nothing until told to. */
export function cachedHeld({ pages = 32, retain = true, features = {} }: CachedOptions = {}) {
  const model = new ModelDevice(SIZE, PAGE_SIZE, features)
  const lower = new HeldDevice(model)
  const device = cacheOver(lower, pages, retain)
  return { model, lower, device }
}

export function cacheOver(lower: Device, pages: number, retain: boolean): CachedDevice {
  return new CachedDevice(lower, { arena: new Uint8Array(pages * PAGE_SIZE), retain })
}
