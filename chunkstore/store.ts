/**
 * What the operations of one disk share: its layers, its open files, its flusher, and the rules
 * for waiting on a chunk. Knows nothing of requests.
 */
import type { Files } from '../io/io.ts'
import { type Chunk, ChunkState, type Waiter } from './chunk.ts'
import { ChunkCreator } from './chunk-creator.ts'
import { Flusher } from './flusher.ts'
import type { Geometry } from './geometry.ts'
import type { Layer } from './layer.ts'
import { OpenFiles } from './open-files.ts'
import type { DiskOptions } from './options.ts'

export class Store {
  readonly files: Files
  readonly layers: readonly Layer[]
  readonly top: Layer
  readonly geometry: Geometry
  readonly options: DiskOptions
  readonly openFiles: OpenFiles
  readonly flusher: Flusher
  readonly creator: ChunkCreator
  /** Something was asked since the last sweep for what is idle. */
  touched = false
  #woken: { waiter: Waiter; errno: number }[] = []
  #wakeScheduled = false

  constructor(files: Files, layers: readonly Layer[], options: DiskOptions) {
    this.files = files
    this.layers = layers
    this.top = layers[0]
    this.geometry = this.top.descriptor.geometry
    this.options = options
    this.flusher = new Flusher(this)
    this.openFiles = new OpenFiles(this)
    this.creator = new ChunkCreator(this)
  }

  /** @returns the chunk that decides what is read, or null: nobody has it, it reads as zeros */
  find(index: number): Chunk | null {
    for (const layer of this.layers) {
      const chunk = layer.chunks.get(index)
      if (chunk !== undefined && chunk.state !== ChunkState.ABSENT) return chunk
    }
    return null
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
   * Takes part in using the chunk's file, opening it if need be.
   * @returns false: the waiter was parked and will be woken
   */
  use(chunk: Chunk, waiter: Waiter): boolean {
    if (chunk.exclusive || chunk.opening || chunk.waiting.length > 0) {
      chunk.waiting.push(waiter)
      return false
    }
    if (chunk.fd < 0) {
      chunk.waiting.push(waiter)
      this.openFiles.open(chunk)
      return false
    }
    chunk.users++
    chunk.referenced = true
    return true
  }

  release(chunk: Chunk): void {
    chunk.users--
    if (chunk.users === 0 && chunk.waiting.length > 0) this.wakeAll(chunk, 0, false)
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
    this.wakeAll(chunk, errno, true)
  }

  /** Wakes in order, from a microtask: never inside the call that frees the chunk. */
  wakeAll(chunk: Chunk, errno: number, onlyMutationsFail: boolean): void {
    for (const waiter of chunk.waiting) {
      const fails = errno > 0 && (waiter.mutates || !onlyMutationsFail)
      this.#woken.push({ waiter, errno: fails ? errno : 0 })
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
