/** The sums of one chunk: its regions, as far as somebody was interested, and its file. */
import type { Files } from '../../io/io.ts'
import type { Chunk, Waiter } from '../chunk.ts'
import type { Part } from '../part.ts'
import { removeChecksumFile } from './checksum-file.ts'
import type { LayerChecksums } from './layer-checksums.ts'
import { Region, REGION_BYTES } from './region.ts'

export class ChunkChecksums {
  readonly chunk: Chunk
  readonly layer: LayerChecksums
  readonly regions = new Map<number, Region>()
  /** Those changed since the last flush that began. */
  readonly changed = new Set<Region>()
  /** What the file holds is void: all sums are 0. It is cut to nothing before anything else. */
  mustEmpty = false
  /** Other parts with a void file, from when the chunk was to be made there. They go first. */
  readonly strays = new Set<Part>()
  /** Something was written to the file and not synced. */
  mustSync = false
  /** Counts when all sums became void, or true, at once. */
  epoch = 0
  /** A process that was killed changed the chunk; nobody knows whether it synced that. */
  isInherited = false
  /** Where the file is, if not beside the chunk. */
  elsewhere: Part | null = null
  #work: Promise<unknown> = Promise.resolve()
  #last: Region | null = null

  constructor(chunk: Chunk, layer: LayerChecksums) {
    this.chunk = chunk
    this.layer = layer
  }

  get chunkSize(): number {
    return this.layer.chunkSize
  }

  get now(): number {
    return this.layer.marks.now
  }

  get file(): string {
    return this.part.checksumPath(this.chunk.index)
  }

  /** Where the file is. */
  get part(): Part {
    return this.elsewhere ?? this.chunk.part
  }

  /** The number on the disk of the chunk's first region. */
  get firstMark(): number {
    return this.chunk.index * this.layer.regionsPerChunk
  }

  markOf(region: Region): number {
    return this.firstMark + region.number
  }

  /** @param position within the chunk */
  regionAt(position: number): Region {
    const number = Math.floor(position / REGION_BYTES)
    if (this.#last !== null && this.#last.number === number) return this.#last
    this.#last = this.region(number)
    return this.#last
  }

  region(number: number): Region {
    let region = this.regions.get(number)
    if (region === undefined) {
      region = new Region(this, number)
      this.regions.set(number, region)
    }
    return region
  }

  forget(region: Region): void {
    this.regions.delete(region.number)
    this.changed.delete(region)
    if (this.#last === region) this.#last = null
  }

  /** All marks are there; otherwise the waiter is woken when they are. */
  mayEmpty(waiter: Waiter): boolean {
    const { marks, regionsPerChunk } = this.layer
    if (marks.hasAll(this.firstMark, regionsPerChunk)) return true
    marks.want(this.firstMark, regionsPerChunk, waiter)
    return false
  }

  /** The chunk's data is gone: all zeros. */
  emptied(): void {
    this.epoch++
    this.mustEmpty = true
    for (const region of this.regions.values()) {
      region.believe()
      region.slot?.fill(0)
      region.isSuspect = false
      region.isUnsaved = false
      region.changes++
      region.touched = this.now
    }
  }

  /**
   * The chunk, which has no file, is about to get one with data: all its regions get marks.
   * @throws Error with `errno`
   */
  async beginFill(): Promise<void> {
    const { marks, regionsPerChunk } = this.layer
    this.epoch++
    this.mustEmpty = false
    // If this comes to nothing, whatever is in the checksum file is void.
    this.layer.leave(this.chunk.index, this.part)
    await this.layer.removing
    const errno = await marks.wantNow(this.firstMark, regionsPerChunk)
    if (errno > 0) throw marks.failure(errno)
  }

  /** Data and checksum file are there. */
  filled(): void {
    this.epoch++
    this.layer.leftovers.delete(this.chunk.index)
  }

  /** The chunk did not get its file, but may get one: it stays. */
  unfilled(): void {
    this.layer.claim(this)
  }

  /** The chunk did not get its file and is given up. */
  abandon(): void {
    if (this.mustEmpty) this.layer.leave(this.chunk.index, this.part)
    for (const part of this.strays) this.layer.leave(this.chunk.index, part)
  }

  /** Nobody knows what the chunk holds. */
  spoilt(): void {
    this.epoch++
    for (let number = 0; number < this.layer.regionsPerChunk; number++) {
      const region = this.region(number)
      region.doubtAll()
      region.changes++
      region.touched = this.now
    }
  }

  /**
   * Before somebody changes the chunk from `position` on who is no request: all regions there get
   * marks, and count as being changed until `endRewrite`.
   * @throws Error with `errno`
   */
  async beginRewrite(position: number): Promise<Region[]> {
    const regions: Region[] = []
    for (let at = position; at < this.chunkSize; at = regions[regions.length - 1].end) {
      regions.push(this.region(Math.floor(at / REGION_BYTES)))
    }
    for (const region of regions) region.beginChange()
    const first = this.markOf(regions[0])
    const { marks } = this.layer
    const errno = await marks.wantNow(first, regions.length)
    if (errno === 0) return regions
    for (const region of regions) region.cancelChange()
    throw marks.failure(errno)
  }

  /** What the regions hold now is computed when it is wanted. */
  endRewrite(regions: readonly Region[]): void {
    for (const region of regions) region.failedChange(region.start, region.end - region.start)
  }

  /** The chunk is about to lose its file, behind the end of the disk. */
  async remove(files: Files): Promise<void> {
    this.emptied()
    await this.exclusive(() => removeChecksumFile(files, this.file))
  }

  /** Runs what uses the file, one after the other. */
  exclusive<Result>(work: () => Promise<Result>): Promise<Result> {
    const done = this.#work.then(work)
    this.#work = done.catch(() => {})
    return done
  }
}
