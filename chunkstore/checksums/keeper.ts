/**
 * Takes the marks off regions that are at rest, in the background, and makes sums for those that a
 * crash left with a mark. In this order:
 *
 *   sums known ─▶ data and names durable ─▶ sums durable ─▶ mark off, if nothing changed meanwhile
 */
import { type Chunk, ChunkState } from '../chunk.ts'
import { FLUSH_PARALLEL, SETTLE_BUSY_MAX, SETTLE_IDLE, SETTLE_SYNC_IDLE } from '../limits.ts'
import type { Part } from '../part.ts'
import type { Store } from '../store.ts'
import type { ChunkChecksums } from './chunk-checksums.ts'
import { removeChecksumFile } from './checksum-file.ts'
import type { Checksums } from './checksums.ts'
import type { LayerChecksums } from './layer-checksums.ts'
import { isAtRest } from './region.ts'
import { saveSums } from './save-sums.ts'

/** Regions of a chunk that are settled together: as many as have their sums in 256 KiB. */
const GROUP = 64

/** Regions without a chunk that are settled before others get a turn. */
const ABSENT_PER_TURN = 256

export class Keeper {
  readonly #store: Store
  readonly #checksums: Checksums
  readonly #layer: LayerChecksums
  readonly #timer: NodeJS.Timeout | null
  #pass: Promise<void> | null = null
  #isClosing = false
  #activity = 0

  constructor(store: Store, checksums: Checksums, layer: LayerChecksums) {
    this.#store = store
    this.#checksums = checksums
    this.#layer = layer
    // Nobody knows what a process that was killed has synced.
    if (layer.marks.count > 0) {
      for (const part of store.top.parts) store.flusher.partModified(part)
      for (const chunk of store.top.chunks.values()) {
        if (chunk.checksums?.isInherited === true) store.flusher.chunkModified(chunk)
      }
    }
    const { settleMs } = store.options
    this.#timer = settleMs === Infinity ? null : setInterval(() => void this.settle(), settleMs)
    this.#timer?.unref()
  }

  /** To be called regularly: counts the time, and settles what is at rest. */
  settle(): Promise<void> {
    if (this.#isClosing) return Promise.resolve()
    this.#layer.marks.tick()
    this.#pass ??= this.#run().finally(() => (this.#pass = null))
    return this.#pass
  }

  get #hasFailed(): boolean {
    return this.#store.flusher.failure !== 0
  }

  /** Goes through the regions that are at rest; while there are requests, only some at a time. */
  async #run(): Promise<void> {
    const { marks } = this.#layer
    const before = this.#activity
    this.#activity = this.#checksums.activity
    let left = SETTLE_BUSY_MAX
    let seen = 0
    for (const mark of marks.due(marks.now - SETTLE_IDLE)) {
      const isBusy = this.#checksums.activity !== before
      if (this.#isClosing || this.#hasFailed || (isBusy && left <= 0)) break
      left -= await this.#settleAbout(mark)
      if (++seen % ABSENT_PER_TURN === 0) await new Promise((go) => setImmediate(go))
    }
    await marks.flush(true)
  }

  /** @returns how much work it was */
  async #settleAbout(mark: number): Promise<number> {
    const { marks, regionsPerChunk } = this.#layer
    const number = mark % regionsPerChunk
    const first = mark - number
    const chunk = this.#store.top.chunks.get(first / regionsPerChunk)
    let work = 0
    if (chunk === undefined || chunk.checksums === null) {
      if (await this.#settleAbsent(first)) marks.clear(mark)
    } else {
      const numbers = this.#readyIn(chunk, chunk.checksums, number)
      const { regions } = chunk.checksums
      work = numbers.filter((each) => regions.get(each)?.hasDoubt === true).length
      if (numbers.length > 0) {
        work++
        await this.#settle(chunk, chunk.checksums, numbers)
      }
    }
    if (marks.has(mark)) marks.postpone(mark)
    return work
  }

  /** The regions near one that are at rest. */
  #readyIn(chunk: Chunk, checksums: ChunkChecksums, number: number): number[] {
    const { marks, regionsPerChunk } = this.#layer
    const first = number - (number % GROUP)
    const end = Math.min(first + GROUP, regionsPerChunk)
    const numbers: number[] = []
    for (let each = first; each < end; each++) {
      const isMarked = marks.has(checksums.firstMark + each)
      if (isMarked && this.#isReady(chunk, checksums, each)) numbers.push(each)
    }
    return numbers
  }

  #isReady(chunk: Chunk, checksums: ChunkChecksums, number: number): boolean {
    if (chunk.exclusive || !isSettled(chunk)) return false
    const region = checksums.regions.get(number)
    if (region === undefined) return true
    const idle = this.#layer.marks.now - region.touched
    const wanted = region.modified > chunk.synced ? SETTLE_SYNC_IDLE : SETTLE_IDLE
    return region.mutations === 0 && !region.isResolving && idle >= wanted
  }

  async #settle(
    chunk: Chunk,
    checksums: ChunkChecksums,
    numbers: readonly number[],
  ): Promise<void> {
    const { marks } = this.#layer
    await this.#resolve(checksums, numbers)
    const { epoch } = checksums
    const before = numbers.map((number) => checksums.regions.get(number)?.changes ?? 0)
    if (!(await this.#makeDurable(chunk, checksums, numbers))) return
    if (chunk.exclusive || checksums.epoch !== epoch || this.#hasFailed) return
    for (const [at, number] of numbers.entries()) {
      const region = checksums.regions.get(number)
      if (region !== undefined && !isAtRest(region, before[at])) continue
      marks.clear(checksums.firstMark + number)
      if (region !== undefined) this.#checksums.tidy(region)
    }
  }

  /**
   * There is no chunk: there must be no sums.
   * @param first mark of its first region
   * @returns whether that is so for good
   */
  async #settleAbsent(first: number): Promise<boolean> {
    const index = Math.floor(first / this.#layer.regionsPerChunk)
    for (const part of this.#layer.leftovers.get(index) ?? []) {
      if (!(await this.#removeLeftover(part, index))) return false
    }
    await this.#syncNames(this.#store.top.parts)
    return !this.#hasFailed && !this.#store.top.chunks.has(index)
  }

  async #removeLeftover(part: Part, index: number): Promise<boolean> {
    const removal = part
      .checkPlace(this.#store.files)
      .then(() => removeChecksumFile(this.#store.files, part.checksumPath(index)))
    this.#layer.removing = removal.catch(() => {})
    try {
      await removal
      const places = this.#layer.leftovers.get(index)
      places?.delete(part)
      if (places?.size === 0) this.#layer.leftovers.delete(index)
      return true
    } catch {
      return false
    }
  }

  async #resolve(checksums: ChunkChecksums, numbers: readonly number[]): Promise<void> {
    for (const number of numbers) {
      const region = checksums.regions.get(number)
      if (this.#isClosing) return
      // What cannot be read stays in doubt, and keeps its mark.
      if (region?.hasDoubt === true) await this.#checksums.resolve(region)
    }
  }

  async #makeDurable(
    chunk: Chunk,
    checksums: ChunkChecksums,
    numbers: readonly number[],
  ): Promise<boolean> {
    const { flusher } = this.#store
    const regions = numbers
      .map((number) => checksums.regions.get(number))
      .filter((region) => region !== undefined)
    const modified = Math.max(0, ...regions.map((region) => region.modified))
    const { isInherited, mustEmpty } = checksums
    const wanted = isInherited || mustEmpty ? chunk.modified : modified
    if (wanted > chunk.synced) await flusher.syncChunk(chunk)
    if (wanted <= chunk.synced) checksums.isInherited = false
    const isSaved = await checksums.exclusive(() => saveSums(this.#store, checksums, regions, true))
    await this.#syncNames([chunk.part, checksums.part])
    return isSaved && wanted <= chunk.synced && !this.#hasFailed && !isVoid(checksums)
  }

  async #syncNames(parts: Iterable<Part>): Promise<void> {
    for (const part of new Set(parts)) await this.#store.flusher.syncPart(part)
  }

  /** Settles everything, for good, but what a crash left: that would have to be read. */
  async close(): Promise<void> {
    if (this.#timer !== null) clearInterval(this.#timer)
    this.#isClosing = true
    await this.#pass
    if (this.#hasFailed) return
    const { marks, regionsPerChunk } = this.#layer
    const byChunk = new Map<number, number[]>()
    for (const mark of marks.due(Infinity)) {
      const index = Math.floor(mark / regionsPerChunk)
      const known = byChunk.get(index)
      if (known === undefined) byChunk.set(index, [mark % regionsPerChunk])
      else known.push(mark % regionsPerChunk)
    }
    const chunks = byChunk.entries()
    const work = async (): Promise<void> => {
      for (const [index, numbers] of chunks) await this.#settleAtEnd(index, numbers)
    }
    await Promise.all(Array.from({ length: FLUSH_PARALLEL }, work))
    await marks.flush(true)
  }

  async #settleAtEnd(index: number, numbers: readonly number[]): Promise<void> {
    const { marks, regionsPerChunk } = this.#layer
    const chunk = this.#store.top.chunks.get(index)
    if (this.#hasFailed || (chunk !== undefined && !isSettled(chunk))) return
    if (chunk !== undefined && chunk.checksums !== null) {
      await this.#settle(chunk, chunk.checksums, numbers)
    } else if (await this.#settleAbsent(index * regionsPerChunk)) {
      for (const number of numbers) marks.clear(index * regionsPerChunk + number)
    }
  }
}

/** Nobody knows what is in the file of a damaged chunk, or whether an absent one has got any. */
function isSettled({ state }: Chunk): boolean {
  return state === ChunkState.FULL || state === ChunkState.EMPTY
}

/** There is still a file with sums that are not true. */
function isVoid({ mustEmpty, strays }: ChunkChecksums): boolean {
  return mustEmpty || strays.size > 0
}
