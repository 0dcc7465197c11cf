/**
 * What the operations of one disk share: its layers, its open files, its flusher, and the rules
 * for waiting on a chunk. Knows nothing of requests.
 */
import fs from 'node:fs'
import type { Files } from '../io/io.ts'
import { Checksums } from './checksums/checksums.ts'
import { Keeper } from './checksums/keeper.ts'
import { type Chunk, ChunkState, type Waiter } from './chunk.ts'
import { ChunkCreator } from './chunk-creator.ts'
import { FaultLog } from './fault-log.ts'
import { Flusher } from './flusher.ts'
import type { Geometry } from './geometry.ts'
import type { Layer } from './layer.ts'
import { STEP_BYTES } from './limits.ts'
import { Movable } from './movable.ts'
import { OpenFiles } from './open-files.ts'
import { CACHE_TRAITS, type CacheTraits, type DiskOptions } from './options.ts'

/** Errnos for those who wait to read and to change a chunk; 0: they go on. */
export interface Failure {
  readonly read: number
  readonly change: number
}

const NO_FAILURE: Failure = { read: 0, change: 0 }

export class Store {
  readonly files: Files
  readonly layers: readonly Layer[]
  readonly top: Layer
  /** Of the first layer; another one after a resize. */
  geometry: Geometry
  readonly options: DiskOptions
  readonly cache: CacheTraits
  /** Flags every chunk file is opened with, besides those of its use. */
  readonly openFlags: number
  readonly openFiles: OpenFiles
  readonly flusher: Flusher
  readonly creator: ChunkCreator
  /** Null: nobody moves chunk files while the disk is open. */
  readonly movable: Movable | null
  readonly checksums: Checksums
  /** Null: the written layer has no checksums. */
  readonly keeper: Keeper | null
  /** Something was asked since the last sweep for what is idle. */
  touched = false
  readonly faults: FaultLog
  #woken: { waiter: Waiter; errno: number }[] = []
  #wakeScheduled = false
  #zeros: Uint8Array | null = null

  constructor(files: Files, layers: readonly Layer[], options: DiskOptions) {
    this.files = files
    this.layers = layers
    this.top = layers[0]
    this.geometry = this.top.descriptor.geometry
    this.options = options
    this.faults = new FaultLog(options.log)
    this.cache = CACHE_TRAITS[options.cacheMode]
    this.openFlags = this.cache.direct ? fs.constants.O_DIRECT : 0
    this.flusher = new Flusher(this)
    this.openFiles = new OpenFiles(this)
    this.creator = new ChunkCreator(this)
    this.movable = options.movable ? new Movable(files, this.top, options.log) : null
    this.checksums = new Checksums(this)
    const written = this.top.checksums?.writable === true ? this.top.checksums : null
    this.keeper = written === null ? null : new Keeper(this, this.checksums, written)
    if (written !== null) {
      written.onFailed = (file, errno) => this.flusher.fail(file, errno, 'sync failed')
    }
  }

  /** What zeros are written from, `STEP_BYTES` of them; made at the first use, never written to. */
  get zeros(): Uint8Array {
    this.#zeros ??= this.files.memory(STEP_BYTES).fill(0)
    return this.#zeros
  }

  /** @returns the chunk that decides what is read, or null: nobody has it, it reads as zeros */
  find(index: number): Chunk | null {
    for (const layer of this.layers) {
      const chunk = layer.chunks.get(index)
      if (chunk !== undefined && chunk.state !== ChunkState.ABSENT) return chunk
    }
    return null
  }

  /** @returns which layer a chunk that was found is of: 1 is the first, 2 its parent */
  depthOf(chunk: Chunk): number {
    let depth = 1
    while (this.layers[depth - 1].chunks.get(chunk.index) !== chunk) depth++
    return depth
  }

  /** @returns a parent's chunk with data that shows through where the first layer has none */
  findBelow(index: number): Chunk | null {
    for (let depth = 1; depth < this.layers.length; depth++) {
      const chunk = this.layers[depth].chunks.get(index)
      if (chunk !== undefined) return chunk.state === ChunkState.EMPTY ? null : chunk
    }
    return null
  }

  /**
   * Takes part in using the chunk's file, opening it if need be; a mutation needs it writable.
   * @returns false: the waiter was parked and will be woken
   */
  use(chunk: Chunk, waiter: Waiter): boolean {
    if (chunk.exclusive || chunk.opening || chunk.waiting.length > 0) {
      chunk.waiting.push(waiter)
      return false
    }
    if (chunk.fd < 0 || (chunk.cannotWrite && waiter.mutates)) {
      chunk.waiting.push(waiter)
      // Who still reads it lets it go, and wakes us.
      if (chunk.users === 0) this.openFiles.open(chunk)
      return false
    }
    chunk.users++
    chunk.referenced = true
    return true
  }

  release(chunk: Chunk): void {
    chunk.users--
    if (chunk.users === 0 && chunk.waiting.length > 0) this.wakeAll(chunk, NO_FAILURE)
  }

  /** @returns true: nobody else uses the chunk until `endExclusive`; false: parked */
  beginExclusive(chunk: Chunk, waiter: Waiter): boolean {
    if (chunk.users > 0 || chunk.exclusive || chunk.opening || chunk.waiting.length > 0) {
      chunk.waiting.push(waiter)
      return false
    }
    chunk.exclusive = true
    return true
  }

  /** @param errno above 0 fails the waiting mutations; readers just go on */
  endExclusive(chunk: Chunk, errno: number): void {
    chunk.exclusive = false
    this.wakeAll(chunk, { read: 0, change: errno })
  }

  /** Wakes in order, from a microtask: never inside the call that frees the chunk. */
  wakeAll(chunk: Chunk, failure: Failure): void {
    for (const waiter of chunk.waiting) {
      this.#woken.push({ waiter, errno: waiter.mutates ? failure.change : failure.read })
    }
    chunk.waiting.length = 0
    if (this.#wakeScheduled || this.#woken.length === 0) return
    this.#wakeScheduled = true
    queueMicrotask(this.#wake)
  }

  readonly #wake = (): void => {
    this.#wakeScheduled = false
    const woken = this.#woken
    this.#woken = []
    for (const { waiter, errno } of woken) waiter.wake(errno)
  }
}
