/** What the operations of one `CachedDevice` work on. */
import type { Device } from '../device/device.ts'
import type { CacheOperation } from './cache-operation.ts'
import type { PageArena } from './page-arena.ts'
import type { PageLocks } from './page-locks.ts'

export interface OperationContext {
  readonly lower: Device
  readonly arena: PageArena
  readonly locks: PageLocks
  /** Pages served or changed without reading the lower device. */
  hits: number
  /** Pages that had to be read from the lower device. */
  misses: number
  /** Answers an aligned read if every page is there. @returns false: nothing was copied */
  readCached(offset: number, length: number, buffer: Uint8Array, bufferOffset: number): boolean
  /** The operation can go on: calls its `resume`, but never from inside a call to the cache. */
  ready(operation: CacheOperation): void
}
