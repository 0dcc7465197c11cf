/**
 * The sums of a disk in memory: brought in when somebody wants to read or write a region, dropped
 * when there are too many. What the data path asks is answered at once or parks who asked.
 *
 *   mayRead ── sums are there, and not in doubt ─▶ true
 *   mayChange ── sums are there, the region has its mark ─▶ true
 */
import { type Chunk, ChunkState, type Waiter } from '../chunk.ts'
import { CHECKSUM_LOAD_REGIONS, CHECKSUM_REGIONS_MAX, PAGE_SIZE, STEP_BYTES } from '../limits.ts'
import type { Store } from '../store.ts'
import type { ChunkChecksums } from './chunk-checksums.ts'
import { readSlots } from './checksum-file.ts'
import { sumPages } from './crc32c.ts'
import { readAt } from './file-access.ts'
import { saveSums } from './save-sums.ts'
import { isSlotWhole } from './slot.ts'
import type { Region } from './region.ts'

const EIO = 5

export class Checksums {
  /** Counts what the data path asks. */
  activity = 0
  readonly #store: Store
  /** Regions with a slot. */
  readonly #loaded: Region[] = []
  /** Where the search for one to drop goes on (CLOCK). */
  #hand = 0

  constructor(store: Store) {
    this.#store = store
  }

  /** @param position within the chunk. @returns false: the waiter is parked */
  mayRead(region: Region, waiter: Waiter, position: number, length: number): boolean {
    this.activity++
    region.referenced = true
    if (region.slot !== null && !region.isInDoubt(position, length)) return true
    region.waiting.push(waiter)
    this.#load(region, true)
    return false
  }

  /** As `mayRead`, for who only looks whether there are zeros. */
  mayLook(region: Region, waiter: Waiter): boolean {
    region.referenced = true
    if (region.slot !== null) return true
    region.waiting.push(waiter)
    this.#load(region, false)
    return false
  }

  /** @returns false: the waiter is parked */
  mayChange(region: Region, waiter: Waiter): boolean {
    this.activity++
    region.referenced = true
    if (region.slot === null || region.isResolving) {
      region.waiting.push(waiter)
      this.#load(region, false)
      return false
    }
    const { owner } = region
    const mark = owner.markOf(region)
    if (owner.layer.marks.has(mark)) return true
    owner.layer.marks.want(mark, 1, waiter)
    return false
  }

  /** Computes what is in doubt. @returns an errno, or 0 */
  resolve(region: Region): Promise<number> {
    return new Promise((wake) => {
      region.waiting.push({ mutates: false, wake })
      this.#load(region, true)
    })
  }

  #load(region: Region, resolves: boolean): void {
    if (region.isLoading) return
    region.isLoading = true
    void this.#loadNow(region, resolves)
  }

  async #loadNow(region: Region, resolves: boolean): Promise<void> {
    let readErrno = 0
    let changeErrno = 0
    try {
      if (region.slot === null) await this.#fetch(region)
    } catch (error) {
      readErrno = changeErrno = EIO
      const { file } = region.owner
      const { code, message } = error as NodeJS.ErrnoException
      this.#store.options.log.error({ file, code: code ?? message }, 'checksums cannot be read')
    }
    try {
      // A change does not need to know what it replaces.
      if (readErrno === 0 && resolves && region.hasDoubt) await this.#resolve(region)
    } catch (error) {
      readErrno = EIO
      const { path } = region.owner.chunk
      const fields = { file: path, error: (error as Error).message }
      this.#store.options.log.error(fields, 'checksums cannot be computed')
    }
    region.isLoading = false
    wakeAll(region, readErrno, changeErrno)
  }

  /** Brings the sums in, and those of neighbours nobody has asked for. */
  async #fetch(wanted: Region): Promise<void> {
    await this.#makeRoom()
    const { owner } = wanted
    await owner.exclusive(async () => {
      const first = wanted.number - (wanted.number % CHECKSUM_LOAD_REGIONS)
      const end = Math.min(first + CHECKSUM_LOAD_REGIONS, owner.layer.regionsPerChunk)
      const group = neighbours(wanted, first, end)
      for (const region of group) region.isLoading = true
      const { epoch } = owner
      const slots = owner.mustEmpty
        ? null
        : await this.#read(owner, first, end - first).catch((error: Error) => error)
      const failure = slots instanceof Error ? slots : null
      for (const region of group) {
        if (slots === null || !(slots instanceof Error)) {
          const slot = slots?.[region.number - first] ?? new Uint32Array(1024)
          if (owner.epoch !== epoch) slot.fill(0)
          this.#adopt(region, slot)
        }
        if (region === wanted) continue
        region.isLoading = false
        wakeAll(region, 0, 0)
      }
      if (failure !== null) throw failure
    })
  }

  /** No file stands for zeros, but only where the part is. */
  async #read(owner: ChunkChecksums, first: number, count: number): Promise<Uint32Array[]> {
    await owner.part.checkPlace(this.#store.files)
    return readSlots(this.#store.files, owner.file, first, count)
  }

  #adopt(region: Region, slot: Uint32Array): void {
    const { owner, number } = region
    const { index } = owner.chunk
    region.isSuspect = !region.hasDoubt && !isSlotWhole(slot, index, number)
    if (region.isSuspect) {
      const fields = { file: owner.file, region: number }
      this.#store.options.log.warn(fields, 'checksum file is damaged: some pages may fail')
    }
    region.slot = slot
    region.referenced = true
    region.place = this.#loaded.length
    this.#loaded.push(region)
  }

  /** Reads the data of what is in doubt. Changes under way end first, none begins. */
  async #resolve(region: Region): Promise<void> {
    const { chunk } = region.owner
    await this.#use(chunk)
    region.isResolving = true
    try {
      await region.quiet()
      // Somebody may have emptied the chunk meanwhile.
      if (chunk.state === ChunkState.FULL && region.hasDoubt) await this.#compute(region)
    } finally {
      region.isResolving = false
      this.#store.release(chunk)
    }
  }

  async #compute(region: Region): Promise<void> {
    const { chunk } = region.owner
    const end = region.doubtEnd
    const bytes = Math.min(STEP_BYTES, (end - region.doubtStart) * PAGE_SIZE)
    const buffer = this.#store.files.memory(bytes)
    for (let page = region.doubtStart; page < end; page = region.doubtStart) {
      const count = Math.min(bytes / PAGE_SIZE, end - page)
      const view = buffer.subarray(0, count * PAGE_SIZE)
      const position = region.start + page * PAGE_SIZE
      const read = await readAt(this.#store.files, chunk.fd, chunk.path, view, position)
      if (read < view.length) throw new Error('the chunk file is shorter than its chunk')
      if (region.slot === null) throw new Error('sums went away while they were computed')
      sumPages(view, 0, count, region.slot, page)
      region.doubtStart += count
      region.isUnsaved = true
    }
    region.believe()
    region.changes++
    // Whoever wrote this may not have synced it.
    this.#store.flusher.chunkModified(chunk)
    region.modified = chunk.modified
  }

  /** Takes part in using the chunk's file. @throws Error if it cannot be opened */
  async #use(chunk: Chunk): Promise<void> {
    while (!(await this.#tryUse(chunk)));
  }

  #tryUse(chunk: Chunk): Promise<boolean> {
    return new Promise((resolve, reject) => {
      const wake = (errno: number): void => {
        if (errno > 0) reject(new Error('the chunk file cannot be opened'))
        else resolve(false)
      }
      if (this.#store.use(chunk, { mutates: false, wake })) resolve(true)
    })
  }

  async #makeRoom(): Promise<void> {
    for (let tries = this.#loaded.length; tries > 0; tries--) {
      if (this.#loaded.length < CHECKSUM_REGIONS_MAX) return
      const victim = this.#findIdle()
      if (victim === null) return
      if (victim.isUnsaved) await this.#saveOrDoubt(victim.owner)
      if (isIdle(victim) && victim.slot !== null && !victim.isUnsaved) this.#drop(victim)
    }
  }

  #findIdle(): Region | null {
    for (let looked = 0; looked < 2 * this.#loaded.length; looked++) {
      this.#hand = (this.#hand + 1) % this.#loaded.length
      const region = this.#loaded[this.#hand]
      if (!isIdle(region)) continue
      if (!region.referenced) return region
      region.referenced = false
    }
    return null
  }

  /** What cannot be saved is computed from the data when it is wanted again: it has its mark. */
  async #saveOrDoubt(owner: ChunkChecksums): Promise<void> {
    const regions = [...owner.regions.values()].filter((region) => region.isUnsaved)
    const isSaved =
      owner.layer.writable &&
      (await owner.exclusive(() => saveSums(this.#store, owner, regions, false)))
    if (isSaved) return
    for (const region of regions) {
      if (!region.isUnsaved || !isIdle(region)) continue
      region.doubtAll()
      region.isUnsaved = false
    }
  }

  #drop(region: Region): void {
    const last = this.#loaded.pop()
    if (last !== undefined && last !== region) {
      this.#loaded[region.place] = last
      last.place = region.place
    }
    region.slot = null
    this.tidy(region)
  }

  /** Lets go of a region nobody has to know of. */
  tidy(region: Region): void {
    const { owner } = region
    if (region.slot !== null || region.hasDoubt || !isIdle(region)) return
    if (!owner.layer.marks.has(owner.markOf(region))) owner.forget(region)
  }
}

function isIdle(region: Region): boolean {
  const isUsed = region.pins > 0 || region.mutations > 0 || region.isLoading
  return !isUsed && region.waiting.length === 0
}

/** The wanted region, and those about it whose sums are not in memory. */
function neighbours(wanted: Region, first: number, end: number): Region[] {
  const group = [wanted]
  for (let number = first; number < end; number++) {
    const known = wanted.owner.regions.get(number)
    if (known !== undefined && (known.slot !== null || known.isLoading)) continue
    group.push(known ?? wanted.owner.region(number))
  }
  return group
}

function wakeAll(region: Region, readErrno: number, changeErrno: number): void {
  for (const waiter of region.waiting.splice(0)) {
    waiter.wake(waiter.mutates ? changeErrno : readErrno)
  }
}
