/**
 * A device of any alignment over one that wants whole pages. Partial pages are read, modified and
 * written through under a page lock; aligned requests go straight to the lower device.
 *
 * Write-through: what it acknowledged, the lower device has completed. It does not order requests:
 * the caller must not have two overlapping mutations under way at once (the frontend sees to it).
 * A read whose extents do not fit into the list leaves it shorter than the range, as any device.
 *
 * Invariant: a page in the cache that is valid and not locked equals the lower device, unless an
 * aligned mutation of it is under way; that one drops it before it starts and when it completes.
 */
import assert from 'node:assert/strict'
import { constants } from 'node:os'
import { DONE, PENDING, RequestFlag } from '../device/device.ts'
import type { Device, Features, Request, Status } from '../device/device.ts'
import { ExtentFlag } from '../device/extents.ts'
import type { ExtentList } from '../device/extents.ts'
import { Admission } from './admission.ts'
import { CacheOperation } from './cache-operation.ts'
import type { CacheStatistics } from './cache-statistics.ts'
import { Command, IDLE_REQUEST } from './command.ts'
import { CACHED_READ_BYTES_MAX, KEPT_READ_BYTES_MAX, PAGE_SIZE } from './limits.ts'
import { LinkedQueue } from './linked-queue.ts'
import type { OperationContext } from './operation-context.ts'
import { PageArena } from './page-arena.ts'
import { PageLocks } from './page-locks.ts'
import { StatusOperation } from './status-operation.ts'
import { Usefulness } from './usefulness.ts'

const { EPERM, ENOTSUP } = constants.errno
const PAGE_MASK = PAGE_SIZE - 1

export interface CacheOptions {
  /** Memory for the pages, given away. Its alignment is what the lower device's reads will see. */
  readonly arena: Uint8Array
  /** False: a page is dropped when nobody works on it (`PAGES_WITHOUT_RETENTION` are enough). */
  readonly retain: boolean
  /** Takes the arena's memory back for a while; what it holds then does not matter. */
  readonly giveBack?: (memory: Uint8Array) => void
}

export class CachedDevice implements Device, OperationContext {
  readonly alignment = 1
  readonly features: Features

  readonly lower: Device
  readonly arena: PageArena
  readonly locks: PageLocks
  hits = 0
  misses = 0
  readonly #admission: Admission
  /** Null: nothing is kept. */
  readonly #usefulness: Usefulness | null
  /** Operations that can go on. */
  readonly #ready = new LinkedQueue<CacheOperation>()
  /** An operation is being run; what becomes ready waits, so nothing recurses. */
  #running = false
  /** Something was handed to the lower device outside of a caller's batch. */
  #mustSubmit = false
  #idleOperations: CacheOperation | null = null
  #idleStatusOperations: StatusOperation | null = null
  #active = 0
  /** Something was asked since the last sweep. */
  #touched = false
  #isGivenBack = false
  readonly #giveBack: (memory: Uint8Array) => void
  #drained: (() => void) | null = null

  constructor(lower: Device, options: CacheOptions) {
    assert(PAGE_SIZE % lower.alignment === 0, 'the lower device must take single pages')
    assert(lower.size % PAGE_SIZE === 0, 'the size must be a multiple of the page size')
    this.lower = lower
    this.features = lower.features
    this.arena = new PageArena(options.arena)
    this.locks = new PageLocks(this.arena.slots, options.retain)
    this.#admission = new Admission(this.arena.slots)
    this.#usefulness = options.retain ? new Usefulness(this.arena.slots) : null
    this.#giveBack = options.giveBack ?? (() => {})
  }

  get size(): number {
    return this.lower.size
  }

  get statistics(): CacheStatistics {
    return { hits: this.hits, misses: this.misses, evictions: this.locks.table.evictions }
  }

  /** For a lower device that changed its size: nothing that was read behind `offset` counts. */
  dropBehind(offset: number): void {
    this.locks.drop(Math.floor(offset / PAGE_SIZE), Infinity)
  }

  /** To be called now and then: if nothing was asked in between, all pages and memory go. */
  sweep(): void {
    const isIdle = !this.#touched && this.#active === 0
    if (this.#touched) this.#isGivenBack = false
    this.#touched = false
    if (!isIdle || this.#isGivenBack) return
    this.#isGivenBack = true
    this.dropBehind(0)
    this.#giveBack(this.arena.bytes)
  }

  read(request: Request): Status {
    this.#touched = true
    if (!isAligned(request)) return this.#start(request, Command.READ)
    const { offset, length, buffer, bufferOffset } = request
    const usefulness = this.#usefulness
    if (usefulness === null || length > CACHED_READ_BYTES_MAX) return this.lower.read(request)
    usefulness.count()
    if (!usefulness.isOn) return this.lower.read(request)
    if (this.readCached(offset, length, buffer, bufferOffset)) {
      usefulness.hit()
      request.extents?.append(length, ExtentFlag.DATA)
      return DONE
    }
    const wanted = length <= KEPT_READ_BYTES_MAX ? this.#wantedPages(request) : 0
    if (wanted === 0) return this.lower.read(request)
    request.flags |= RequestFlag.AT_ONCE
    const status = this.lower.read(request)
    // One that had to wait is not kept: the caller has it already when it completes.
    if (status === DONE) this.#keep(request, wanted)
    return status
  }

  /** @returns a bit for each page that was asked for before */
  #wantedPages({ offset, length }: Request): number {
    const firstPage = offset / PAGE_SIZE
    let wanted = 0
    for (let index = 0; index * PAGE_SIZE < length; index++) {
      if (this.#admission.isWanted(firstPage + index)) wanted |= 1 << index
    }
    return wanted
  }

  #keep({ offset, length, buffer, bufferOffset, extents }: Request, wanted: number): void {
    const { arena, locks } = this
    if (extents !== null && !isAllData(extents)) return
    for (let at = 0; at < length; at += PAGE_SIZE) {
      if ((wanted & (1 << (at / PAGE_SIZE))) === 0) continue
      const slot = locks.insertValid((offset + at) / PAGE_SIZE)
      if (slot >= 0) arena.copyIn(slot, 0, PAGE_SIZE, buffer, bufferOffset + at)
    }
  }

  write(request: Request): Status {
    return this.#mutate(request, Command.WRITE)
  }

  trim(request: Request): Status {
    return this.#mutate(request, Command.TRIM)
  }

  zero(request: Request): Status {
    const fast = (request.flags & RequestFlag.FAST_ZERO) !== 0
    if (fast && !this.features.fastZero) return refuse(request, ENOTSUP)
    return this.#mutate(request, Command.ZERO)
  }

  flush(request: Request): Status {
    return this.lower.flush(request)
  }

  blockStatus(request: Request, extents: ExtentList): Status {
    const { alignment } = this.lower
    if (request.offset % alignment === 0 && request.length % alignment === 0) {
      return this.lower.blockStatus(request, extents)
    }
    let operation = this.#idleStatusOperations
    if (operation === null) operation = new StatusOperation(this.lower, this.#releaseStatus)
    else this.#idleStatusOperations = operation.next
    this.#active++
    return operation.start(request, extents)
  }

  submit(): void {
    if (!this.#ready.empty && !this.#running) this.#drain()
    this.lower.submit()
  }

  async close(): Promise<void> {
    this.submit()
    if (this.#active > 0) await new Promise<void>((resolve) => (this.#drained = resolve))
    await this.lower.close()
  }

  // For the operations

  readCached(offset: number, length: number, buffer: Uint8Array, bufferOffset: number): boolean {
    const { locks, arena } = this
    if (locks.table.count === 0 || length > CACHED_READ_BYTES_MAX) return false
    const firstPage = offset / PAGE_SIZE
    const pageCount = length / PAGE_SIZE
    for (let index = 0; index < pageCount; index++) {
      if (locks.peek(firstPage + index) < 0) return false
    }
    for (let index = 0; index < pageCount; index++) {
      const slot = locks.peek(firstPage + index)
      arena.copyOut(slot, 0, PAGE_SIZE, buffer, bufferOffset + index * PAGE_SIZE)
    }
    this.hits += pageCount
    return true
  }

  ready(operation: CacheOperation): void {
    this.#ready.push(operation)
    if (!this.#running) this.#drain()
  }

  // Running operations

  #mutate(request: Request, command: Command): Status {
    if (this.features.readOnly) return refuse(request, EPERM)
    return this.#start(request, command)
  }

  #start(request: Request, command: Command): Status {
    this.#touched = true
    let operation = this.#idleOperations
    if (operation === null) operation = new CacheOperation(this)
    else this.#idleOperations = operation.next
    this.#active++
    // A page freed in here may let others go on: they wait for `submit`, so that nothing is
    // completed from inside this call.
    const outer = this.#running
    this.#running = true
    const status = operation.start(request, command)
    this.#running = outer
    if (status !== PENDING) this.#release(operation)
    return status
  }

  #drain(): void {
    this.#running = true
    do {
      let operation = this.#ready.shift()
      while (operation !== null) {
        this.#resume(operation)
        operation = this.#ready.shift()
      }
      if (this.#mustSubmit) {
        this.#mustSubmit = false
        this.lower.submit()
      }
    } while (!this.#ready.empty)
    this.#running = false
  }

  #resume(operation: CacheOperation): void {
    const status = operation.resume()
    if (status === PENDING) {
      this.#mustSubmit = true
      return
    }
    const { parent } = operation
    this.#release(operation)
    parent.complete(status)
  }

  #release(operation: CacheOperation): void {
    operation.parent = IDLE_REQUEST
    operation.buffer = IDLE_REQUEST.buffer
    operation.extents = null
    operation.next = this.#idleOperations
    this.#idleOperations = operation
    this.#activeEnded()
  }

  readonly #releaseStatus = (operation: StatusOperation): void => {
    operation.next = this.#idleStatusOperations
    this.#idleStatusOperations = operation
    this.#activeEnded()
  }

  #activeEnded(): void {
    this.#active--
    if (this.#active === 0) this.#drained?.()
  }
}

function isAligned(request: Request): boolean {
  return ((request.offset | request.length) & PAGE_MASK) === 0
}

/** The whole request fails before anything was touched. */
function refuse(request: Request, errno: number): Status {
  request.errorOffset = request.offset
  return errno
}

/** The list tells of this one read, and of no hole whose bytes are unwritten. */
function isAllData(extents: ExtentList): boolean {
  return extents.count === 1 && extents.flagsAt(0) === ExtentFlag.DATA
}
