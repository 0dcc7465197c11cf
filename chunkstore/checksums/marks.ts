/**
 * The write-intent marks of a layer. A region has a durable mark before anything in it is changed,
 * and loses it when data and sums are durable and agree:
 *
 *   want ─▶ bits written ─▶ synced ─▶ `has` ─▶ writes ... at rest, all durable ─▶ clear
 *
 * All that is wanted while a sync is under way goes with the next one. While writes go to ever new
 * regions, their neighbours are marked as well: twice as many each time, so that random writes do
 * not cost a sync each. A cleared bit is written at once, and synced with the next marks or at the
 * next look for what is at rest: a mark too many costs the reading of a region after a crash.
 */
import { fileError } from '../awaited-operation.ts'
import type { Waiter } from '../chunk.ts'
import { MARKS_AHEAD_MAX, SETTLE_IDLE } from '../limits.ts'
import type { MarkFile } from './mark-file.ts'

const EIO = 5

/** Told that a sync of the marks failed: nothing may be written any more. */
export type MarksFailed = (file: string, errno: number) => void

export class Marks {
  /** Counts the times of `SETTLE_MS`, by `tick`. */
  now = 0
  /** Marks found when the disk was opened: the last writer did not get to clear them. */
  readonly inherited: readonly number[]
  readonly #files: readonly MarkFile[]
  readonly #failed: MarksFailed
  /** Regions with a durable mark, and when they got it or were looked at last; oldest first. */
  readonly #durable = new Map<number, number>()
  #wanted = new Set<number>()
  /** Regions whose marks are being made durable. */
  #coming = new Set<number>()
  #waiters: Waiter[] = []
  #ahead = 1
  /** Regions that lost their mark a short while ago: those that come again are not new. */
  readonly #cleared = new Set<number>()
  #lastSync = -Infinity
  /** One at a time uses the files. */
  #work: Promise<void> = Promise.resolve()
  #isScheduled = false

  /** @param files one for each part; new marks go to the first */
  constructor(files: readonly MarkFile[], failed: MarksFailed) {
    this.#files = files
    this.#failed = failed
    this.inherited = [...new Set(files.flatMap((file) => file.list()))]
    for (const region of this.inherited) this.#durable.set(region, -Infinity)
  }

  has(region: number): boolean {
    return this.#durable.has(region)
  }

  hasAll(first: number, count: number): boolean {
    for (let region = first; region < first + count; region++) {
      if (!this.#durable.has(region)) return false
    }
    return true
  }

  /** Wakes the waiter when the regions have their marks, or with an errno. */
  want(first: number, count: number, waiter: Waiter): void {
    for (let region = first; region < first + count; region++) {
      if (!this.#durable.has(region)) this.#wanted.add(region)
    }
    this.#waiters.push(waiter)
    if (this.#isScheduled) return
    this.#isScheduled = true
    void this.#next(() => this.#setWanted())
  }

  /** @returns an errno, or 0 */
  async wantNow(first: number, count: number): Promise<number> {
    if (this.hasAll(first, count)) return 0
    return new Promise((resolve) => this.want(first, count, { mutates: true, wake: resolve }))
  }

  /** @param errno of `wantNow`. @returns what to throw for it: it names the file */
  failure(errno: number): Error {
    return fileError(`setting marks in ${this.#files[0].file}`, errno)
  }

  #next(work: () => Promise<void>): Promise<void> {
    this.#work = this.#work.then(work)
    return this.#work
  }

  async #setWanted(): Promise<void> {
    // Whoever comes in this turn goes with it.
    await Promise.resolve()
    this.#isScheduled = false
    const [file] = this.#files
    const waiters = this.#waiters
    const regions = this.#withNeighbours()
    this.#waiters = []
    this.#wanted = new Set()
    for (const region of regions) file.set(region)
    this.#coming = new Set(regions)
    const errno = await this.#makeDurable(file)
    this.#coming.clear()
    if (errno === 0) for (const region of regions) this.#durable.set(region, this.now)
    for (const waiter of waiters) waiter.wake(errno)
  }

  async #makeDurable(file: MarkFile): Promise<number> {
    try {
      await file.write()
    } catch (error) {
      return errnoOf(error as NodeJS.ErrnoException)
    }
    try {
      await file.sync()
      return 0
    } catch (error) {
      this.#failed(file.file, errnoOf(error as NodeJS.ErrnoException))
      return EIO
    }
  }

  #withNeighbours(): number[] {
    const all = new Set(this.#wanted)
    const fresh = [...this.#wanted].filter((region) => !this.#cleared.has(region))
    if (fresh.length === 0) return [...all]
    const isSoon = this.now - this.#lastSync <= 1
    this.#lastSync = this.now
    this.#ahead = isSoon ? Math.min(2 * this.#ahead, MARKS_AHEAD_MAX) : 1
    for (const region of fresh) {
      // Behind the end of the disk it does no harm.
      const first = region - (region % this.#ahead)
      for (let each = first; each < first + this.#ahead; each++) {
        if (!this.#durable.has(each)) all.add(each)
      }
    }
    return [...all]
  }

  /** Data and sums of the region are durable and agree. One that is about to change stays. */
  clear(region: number): void {
    if (this.#coming.has(region)) return
    if (this.#durable.delete(region)) this.#cleared.add(region)
    for (const file of this.#files) file.clear(region)
  }

  /** To be called regularly. */
  tick(): void {
    this.now++
    if (this.now % SETTLE_IDLE === 0) this.#cleared.clear()
  }

  /** Regions that got their mark, or were looked at last, at this time or before; oldest first. */
  *due(time: number): Generator<number> {
    for (const [region, since] of this.#durable) {
      if (since > time) return
      yield region
    }
  }

  /** It was looked at, and goes behind all others. */
  postpone(region: number): void {
    this.#durable.delete(region)
    this.#durable.set(region, this.now)
  }

  get count(): number {
    return this.#durable.size
  }

  /**
   * Writes what was cleared. Failures cost nothing but work after a crash.
   * @param sync makes it durable
   */
  flush(sync: boolean): Promise<void> {
    return this.#next(async () => {
      for (const file of this.#files) {
        try {
          await file.write()
          if (sync && file.isUnsynced) await file.sync()
        } catch {
          // The marks stay.
        }
      }
    })
  }

  async close(): Promise<void> {
    await this.#work
    await Promise.allSettled(this.#files.map((file) => file.close()))
  }
}

function errnoOf({ errno }: NodeJS.ErrnoException): number {
  return errno === undefined || errno >= 0 ? EIO : -errno
}
