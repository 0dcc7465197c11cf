/**
 * A chunk disk as a `Device`. Its alignment is a page: what is smaller belongs to the page cache
 * above. The requests' ways through the chunks are in `operation.ts`.
 */
import assert from 'node:assert/strict'
import path from 'node:path'
import {
  type Device,
  DONE,
  type Features,
  PENDING,
  type Request,
  RequestFlag,
  type Status,
} from '../device/device.ts'
import { ExtentKind, type ExtentList } from '../device/extents.ts'
import type { Files } from '../io/io.ts'
import { ChainMode, closeChain, openChain, scanChain } from './chain.ts'
import { requireDirect } from './direct.ts'
import { DiskError } from './disk-error.ts'
import { Kind } from './kind.ts'
import { PAGE_SIZE } from './limits.ts'
import { scanMoving } from './movable.ts'
import { Operation } from './operation.ts'
import { CACHE_TRAITS, DEFAULT_OPTIONS, type DiskOptions, makesHoles, TrimMode } from './options.ts'
import { Store } from './store.ts'

const EPERM = 1
const ENOTSUP = 95

export class ChunkDisk implements Device {
  readonly size: number
  readonly alignment = PAGE_SIZE
  readonly features: Features
  /** Absolute path of the descriptor. */
  readonly file: string
  readonly #store: Store
  readonly #free: Operation[] = []
  #active = 0
  #drained: (() => void) | null = null

  /**
   * Opens a disk: the descriptor, its parents, the locks, and what the directories hold.
   * @param file path of the descriptor
   * @throws DiskError that names the file or directory and the fix
   */
  static async open(
    files: Files,
    file: string,
    options: Partial<DiskOptions> = {},
  ): Promise<ChunkDisk> {
    const all = { ...DEFAULT_OPTIONS, ...options }
    assert(!(all.readOnly && all.movable), 'movable chunks need a disk that is written')
    const mode = all.readOnly ? ChainMode.READ : ChainMode.WRITE
    const layers = await openChain(files, path.resolve(file), mode, all.paths)
    try {
      if (all.movable) await scanMoving(files, layers)
      else await scanChain(files, layers, all.readOnly ? 0 : 1)
      if (!all.readOnly) await layers[0].prepareWriting(files)
      if (CACHE_TRAITS[all.cacheMode].direct) await requireDirect(files, layers)
    } catch (error) {
      await closeChain(files, layers)
      throw error
    }
    const store = new Store(files, layers, all)
    if (!all.readOnly) store.flusher.inherit()
    return new ChunkDisk(store)
  }

  private constructor(store: Store) {
    const { readOnly } = store.options
    this.#store = store
    this.file = store.top.descriptor.file
    this.size = store.geometry.diskSize
    const ability = makesHoles(store.options.trim) ? 'punchHole' : 'zeroRange'
    const fastZero = !readOnly && store.top.parts.every((part) => part.abilities[ability])
    const trimZeroes = !readOnly && makesHoles(store.options.trim)
    // A trim is a hint: it is taken in every mode, whatever comes of it.
    const extentKinds = ExtentKind.DEPTH | ExtentKind.PART | ExtentKind.CHUNK
    this.features = { readOnly, trim: !readOnly, trimZeroes, fastZero, extentKinds }
  }

  read(request: Request): Status {
    return this.#operation().start(Kind.READ, request, request.extents)
  }

  write(request: Request): Status {
    return this.#refused(request) || this.#operation().start(Kind.WRITE, request, null)
  }

  trim(request: Request): Status {
    const refused = this.#refused(request)
    if (refused !== DONE || this.#store.options.trim === TrimMode.IGNORE) return refused
    return this.#operation().start(Kind.TRIM, request, null)
  }

  zero(request: Request): Status {
    const refused = this.#refused(request)
    if (refused !== DONE) return refused
    if ((request.flags & RequestFlag.FAST_ZERO) !== 0 && !this.#zeroesFast(request)) {
      request.errorOffset = request.offset
      return ENOTSUP
    }
    return this.#operation().start(Kind.ZERO, request, null)
  }

  #zeroesFast(request: Request): boolean {
    if (!this.features.fastZero) return false
    const mustAllocate = (request.flags & RequestFlag.NO_HOLE) !== 0
    return !mustAllocate || this.#store.top.parts.every((part) => part.abilities.zeroRange)
  }

  blockStatus(request: Request, extents: ExtentList): Status {
    return this.#operation().start(Kind.STATUS, request, extents)
  }

  flush(request: Request): Status {
    const { flusher } = this.#store
    if (flusher.failure !== 0) return flusher.failure
    const operation = this.#operation()
    operation.startFlush(request)
    if (!flusher.flush(operation)) return PENDING
    operation.abandon()
    return DONE
  }

  /** A sync failed: every change and flush is refused until the disk is opened again. */
  get hasFailed(): boolean {
    return this.#store.flusher.failure !== 0
  }

  submit(): void {
    this.#store.files.submit()
  }

  /** @returns an errno if the disk takes no changes */
  #refused(request: Request): Status {
    const errno = this.features.readOnly ? EPERM : this.#store.flusher.failure
    if (errno !== 0) request.errorOffset = request.offset
    return errno
  }

  #operation(): Operation {
    this.#active++
    this.#store.touched = true
    return this.#free.pop() ?? new Operation(this.#store, this.#recycle)
  }

  readonly #recycle = (operation: Operation): void => {
    this.#free.push(operation)
    this.#active--
    if (this.#active === 0 && this.#drained !== null) this.#drained()
  }

  /** @throws DiskError ESYNC if the last flush failed */
  async close(): Promise<void> {
    const store = this.#store
    if (this.#active > 0) await new Promise<void>((resolve) => (this.#drained = resolve))
    await store.flusher.flushAll()
    await store.openFiles.closeAll()
    await closeChain(store.files, store.layers)
    if (store.flusher.failure === 0) return
    throw new DiskError('ESYNC', `${this.file}: the last writes could not be synced to the disk`)
  }
}
