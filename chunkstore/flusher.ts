/**
 * Makes writes durable: the data of the chunk files first, then the names in the directories where
 * files appeared. One round serves every flush that waits for it; a flush that arrives during
 * a round waits for the next, because the round may have passed what it must cover.
 *
 * A server that was killed may have answered writes that nobody synced, and its clients come back:
 * so every chunk file that is there when a disk is opened counts as written, until it is synced.
 *
 * A failed sync is final. The kernel may have dropped the pages and will report success the next
 * time, so from then on every write and flush fails until the disk is opened again.
 */
import fs from 'node:fs'
import { FlushedSums } from './checksums/flushed-sums.ts'
import { type Chunk, ChunkState } from './chunk.ts'
import { AwaitedOperation } from './awaited-operation.ts'
import { FLUSH_PARALLEL } from './limits.ts'
import type { Part } from './part.ts'
import type { Store } from './store.ts'

const EIO = 5
const { O_RDONLY } = fs.constants

export interface FlushWaiter {
  /** @param status 0 or an errno */
  flushed(status: number): void
}

export class Flusher {
  readonly #store: Store
  /** The errno every write and flush gets since a sync failed; 0 while all is well. */
  failure = 0
  #dirtyChunks = new Set<Chunk>()
  #dirtyParts = new Set<Part>()
  #waiters: FlushWaiter[] = []
  #running = false

  constructor(store: Store) {
    this.#store = store
  }

  /**
   * When a disk is opened for writing: begins to sync the data that an earlier process may have
   * left. The names are durable by now (`Layer.settleNames`).
   */
  inherit(): void {
    const { cache, top } = this.#store
    if (!cache.syncs || top.chunks.size === 0) return
    for (const chunk of top.chunks.values()) {
      if (chunk.state === ChunkState.DAMAGED) continue
      this.chunkModified(chunk)
      chunk.inherited = chunk.modified
    }
    void this.flushAll()
  }

  /** A write, punch or truncation of the chunk's file is complete. */
  chunkModified(chunk: Chunk): void {
    chunk.modified++
    this.#markDirty(chunk)
  }

  #markDirty(chunk: Chunk): void {
    if (chunk.inDirtySet) return
    chunk.inDirtySet = true
    this.#dirtyChunks.add(chunk)
  }

  /** Chunks that a flush now would sync. */
  get dirtyCount(): number {
    return this.#dirtyChunks.size
  }

  /** A flush is under way. */
  get running(): boolean {
    return this.#running
  }

  /** A name in the directory appeared. */
  partModified(part: Part): void {
    part.modified++
    this.#dirtyParts.add(part)
  }

  /** @returns true: nothing to do; false: `waiter.flushed` will be called */
  flush(waiter: FlushWaiter): boolean {
    const clean = this.#dirtyChunks.size === 0 && this.#dirtyParts.size === 0
    if (!this.#store.cache.syncs) return true
    if (clean && !this.#running) return true
    this.#waiters.push(waiter)
    if (!this.#running) void this.#runRounds()
    return false
  }

  async #runRounds(): Promise<void> {
    this.#running = true
    while (this.#waiters.length > 0) {
      const waiters = this.#waiters
      this.#waiters = []
      const errno = await this.#round()
      for (const waiter of waiters) waiter.flushed(this.failure || errno)
    }
    this.#running = false
  }

  /** @returns an errno if something could not be synced now, but perhaps next time */
  async #round(): Promise<number> {
    const chunks = [...this.#dirtyChunks]
    this.#dirtyChunks.clear()
    for (const chunk of chunks) chunk.inDirtySet = false
    const { keeper } = this.#store
    const sums = keeper === null ? null : new FlushedSums(this.#store, chunks)
    const errno = await this.#syncChunks(chunks)
    await sums?.saved
    const parts = [...this.#dirtyParts]
    this.#dirtyParts.clear()
    for (const part of parts) await this.syncPart(part)
    await sums?.finish()
    return errno
  }

  /** @returns as `#round` */
  async #syncChunks(chunks: readonly Chunk[]): Promise<number> {
    let next = 0
    let errno = 0
    const work = async (): Promise<void> => {
      while (next < chunks.length) {
        const outcome = await this.syncChunk(chunks[next++])
        errno ||= outcome
      }
    }
    await Promise.all(Array.from({ length: Math.min(FLUSH_PARALLEL, chunks.length) }, work))
    return errno
  }

  /**
   * Makes what was written to the chunk's file until now durable. A failed sync is final.
   * @returns as `#round`
   */
  async syncChunk(chunk: Chunk): Promise<number> {
    const covered = chunk.modified
    if (covered <= chunk.synced) return 0
    if (chunk.fd < 0) return this.#syncClosed(chunk, covered)
    await this.#syncOpen(chunk, covered)
    return 0
  }

  /** What an earlier process wrote. On a descriptor of our own: the chunk may be opened now. */
  async #syncClosed(chunk: Chunk, covered: number): Promise<number> {
    const { faults, files, openFiles } = this.#store
    const operation = new AwaitedOperation()
    try {
      operation.fd = await openFiles.openFile(chunk, chunk.path, O_RDONLY)
    } catch (error) {
      const { code } = error as NodeJS.ErrnoException
      // Deleted by somebody: that is told to those who use it.
      if (code === 'ENOENT') return 0
      faults.report(chunk.path, EIO, 'chunk file cannot be opened to be synced', { code })
      this.#markDirty(chunk)
      return EIO
    }
    const result = await operation.run((each) => files.sync(each))
    if (result < 0) this.fail(chunk.path, -result, 'sync failed')
    else chunk.synced = Math.max(chunk.synced, covered)
    // Nothing was written through it.
    await files.close(operation.fd).catch(() => {})
    return 0
  }

  async #syncOpen(chunk: Chunk, covered: number): Promise<void> {
    const operation = new AwaitedOperation()
    operation.fd = chunk.fd
    chunk.pins++
    const result = await operation.run((each) => this.#store.files.sync(each))
    // What somebody deleted of an earlier process's writes is told to those who use it.
    const isOurs = covered > chunk.inherited
    const isThere = result < 0 || !isOurs || (await this.#isThere(chunk))
    chunk.pins--
    if (result < 0) this.fail(chunk.path, -result, 'sync failed')
    else if (!isThere) this.fail(chunk.path, EIO, 'somebody deleted or cut the chunk file')
    else chunk.synced = Math.max(chunk.synced, covered)
  }

  /** What was synced is lost all the same if the file has no name or is not whole. */
  async #isThere(chunk: Chunk): Promise<boolean> {
    const { files, geometry } = this.#store
    const { modified } = chunk
    const status = await files.statusOf(chunk.fd).catch(() => null)
    if (status === null) return true
    const mustBeWhole = chunk.state === ChunkState.FULL && !chunk.exclusive
    // A truncation of our own counts as a change.
    if (mustBeWhole && chunk.modified === modified && status.size !== geometry.chunkSize)
      return false
    return status.links > 0
  }

  /** The same for names in a part. */
  async syncPart(part: Part): Promise<void> {
    const covered = part.modified
    if (covered <= part.synced) return
    const operation = new AwaitedOperation()
    operation.fd = part.fd
    const result = await operation.run((each) => this.#store.files.syncDirectory(each))
    if (result < 0) this.fail(part.directory, -result, 'sync failed')
    else part.synced = Math.max(part.synced, covered)
  }

  /**
   * What was to be made durable is not, or nobody knows: the end of all changes.
   * @param what happened, for the log
   */
  fail(file: string, errno: number, what: string): void {
    this.failure = EIO
    const then = 'the disk refuses writes and flushes until it is opened again'
    this.#store.options.log.error({ file, errno }, `${what}: ${then}`)
  }

  /**
   * Makes the chunks `first` to `last` of the written layer durable (FUA).
   * @returns true: they are; false: `waiter.flushed` will be called
   */
  syncRange(first: number, last: number, waiter: FlushWaiter): boolean {
    if (!this.#store.cache.syncs) return true
    const chunks: Chunk[] = []
    const parts = new Set<Part>()
    for (const chunk of this.#chunksBetween(first, last)) {
      if (chunk.modified > chunk.synced) chunks.push(chunk)
      if (chunk.part.modified > chunk.part.synced) parts.add(chunk.part)
    }
    if (chunks.length === 0 && parts.size === 0) return true
    void this.#syncThese(chunks, parts, waiter)
    return false
  }

  /** Walks what is fewer: the range, or the chunks there are. */
  *#chunksBetween(first: number, last: number): Generator<Chunk> {
    const { chunks } = this.#store.top
    if (last - first < chunks.size) {
      for (let index = first; index <= last; index++) {
        const chunk = chunks.get(index)
        if (chunk !== undefined) yield chunk
      }
      return
    }
    for (const chunk of chunks.values()) {
      if (chunk.index >= first && chunk.index <= last) yield chunk
    }
  }

  async #syncThese(chunks: Chunk[], parts: Set<Part>, waiter: FlushWaiter): Promise<void> {
    const errno = await this.#syncChunks(chunks)
    for (const part of parts) await this.syncPart(part)
    waiter.flushed(this.failure || errno)
  }

  /** For files that are about to be closed: errors must be seen now. Waits for its own round. */
  flushAll(): Promise<void> {
    return new Promise((resolve) => {
      this.#waiters.push({ flushed: () => resolve() })
      if (!this.#running) void this.#runRounds()
    })
  }
}
