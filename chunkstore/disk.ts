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
import { Gate } from './gate.ts'
import { Kind } from './kind.ts'
import type { Layer } from './layer.ts'
import { PAGE_SIZE } from './limits.ts'
import { scanMoving } from './movable.ts'
import { Operation } from './operation.ts'
import {
  CACHE_TRAITS,
  ChecksumKind,
  DEFAULT_OPTIONS,
  type DiskOptions,
  makesHoles,
  TrimMode,
} from './options.ts'
import { resizeDisk, type ResizeOptions, type ResizeResult, type ResizeSite } from './resize.ts'
import { Store } from './store.ts'

const EPERM = 1
const EINVAL = 22
const ENOSPC = 28
const ENOTSUP = 95

export class ChunkDisk implements Device {
  readonly alignment = PAGE_SIZE
  readonly features: Features
  /** Absolute path of the descriptor. */
  readonly file: string
  readonly #store: Store
  /** All there are, and those nobody uses. */
  readonly #operations: Operation[] = []
  readonly #free: Operation[] = []
  readonly #gate: Gate
  #active = 0
  /** Called whenever an operation is over. */
  #onOver: (() => void) | null = null
  #resizing: Promise<unknown> | null = null
  #isClosing = false

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
    const lockFiles = { make: all.lockFiles, log: all.log }
    const layers = await openChain(files, path.resolve(file), mode, all.paths, lockFiles)
    try {
      if (all.movable) refuseChecksums(layers[0])
      if (all.movable) await scanMoving(files, layers)
      else await scanChain(files, layers, all.readOnly ? 0 : 1)
      if (!all.readOnly) await layers[0].prepareWriting(files)
      if (CACHE_TRAITS[all.cacheMode].direct) await requireDirect(files, layers)
      if (!all.readOnly) await layers[0].settleNames(files)
    } catch (error) {
      await closeChain(files, layers)
      throw error
    }
    for (const { file, message } of layers.flatMap((layer) => layer.checksums?.problems ?? [])) {
      all.log.error({ file }, message)
    }
    const store = new Store(files, layers, all)
    if (!all.readOnly) store.flusher.inherit()
    return new ChunkDisk(store)
  }

  private constructor(store: Store) {
    const { readOnly } = store.options
    this.#store = store
    this.file = store.top.descriptor.file
    this.#gate = new Gate(store.geometry.diskSize)
    const ability = makesHoles(store.options.trim) ? 'punchHole' : 'zeroRange'
    const fastZero = !readOnly && store.top.parts.every((part) => part.abilities[ability])
    const trimZeroes = !readOnly && makesHoles(store.options.trim)
    // A trim is a hint: it is taken in every mode, whatever comes of it.
    const extentKinds = ExtentKind.DEPTH | ExtentKind.PART | ExtentKind.CHUNK
    this.features = { readOnly, trim: !readOnly, trimZeroes, fastZero, extentKinds }
  }

  /** Bytes; another number after a resize. */
  get size(): number {
    return this.#store.geometry.diskSize
  }

  read(request: Request): Status {
    return this.#start(Kind.READ, request, request.extents)
  }

  write(request: Request): Status {
    return this.#refused(request) || this.#start(Kind.WRITE, request, null)
  }

  trim(request: Request): Status {
    const refused = this.#refused(request)
    if (refused !== DONE || this.#store.options.trim === TrimMode.IGNORE) return refused
    return this.#start(Kind.TRIM, request, null)
  }

  zero(request: Request): Status {
    const refused = this.#refused(request)
    if (refused !== DONE) return refused
    if ((request.flags & RequestFlag.FAST_ZERO) !== 0 && !this.#zeroesFast(request)) {
      request.errorOffset = request.offset
      return ENOTSUP
    }
    return this.#start(Kind.ZERO, request, null)
  }

  #zeroesFast(request: Request): boolean {
    if (!this.features.fastZero) return false
    const mustAllocate = (request.flags & RequestFlag.NO_HOLE) !== 0
    return !mustAllocate || this.#store.top.parts.every((part) => part.abilities.zeroRange)
  }

  blockStatus(request: Request, extents: ExtentList): Status {
    return this.#start(Kind.STATUS, request, extents)
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

  /**
   * Makes the checksums of regions that nobody wrote to for a while durable, so that they can be
   * verified even after a crash. Happens by itself: see `DiskOptions.settleMs`.
   */
  async settle(): Promise<void> {
    await this.#store.keeper?.settle()
  }

  /** Regions whose checksums are not durable yet. */
  get unsettled(): number {
    const { keeper, top } = this.#store
    return keeper === null ? 0 : (top.checksums?.marks.count ?? 0)
  }

  /** @returns an errno if the disk takes no changes */
  #refused(request: Request): Status {
    const errno = this.features.readOnly ? EPERM : this.#store.flusher.failure
    if (errno !== 0) request.errorOffset = request.offset
    return errno
  }

  #start(kind: Kind, request: Request, extents: ExtentList | null): Status {
    if (request.offset + request.length <= this.#gate.limit) {
      return this.#operation().start(kind, request, extents)
    }
    return this.#startBehind(kind, request, extents)
  }

  /** For a request that reaches behind the end, or behind the gate while the end moves. */
  #startBehind(kind: Kind, request: Request, extents: ExtentList | null): Status {
    const again = (): void => {
      const mutates = kind === Kind.WRITE || kind === Kind.TRIM || kind === Kind.ZERO
      const refused = mutates ? this.#refused(request) : DONE
      const status = refused || this.#start(kind, request, extents)
      if (status !== PENDING) request.complete(status)
    }
    if (this.#gate.wait(again)) return PENDING
    request.errorOffset = request.offset
    return kind === Kind.WRITE || kind === Kind.ZERO ? ENOSPC : EINVAL
  }

  #operation(): Operation {
    this.#active++
    this.#store.touched = true
    return this.#free.pop() ?? this.#newOperation()
  }

  #newOperation(): Operation {
    const operation = new Operation(this.#store, this.#recycle)
    this.#operations.push(operation)
    return operation
  }

  readonly #recycle = (operation: Operation): void => {
    this.#free.push(operation)
    this.#active--
    if (this.#onOver !== null) this.#onOver()
  }

  async #until(isTrue: () => boolean): Promise<void> {
    while (!isTrue()) await new Promise<void>((resolve) => (this.#onOver = resolve))
    this.#onOver = null
  }

  /**
   * Gives the disk another size while requests go on. From then on requests behind it are refused.
   * @throws DiskError that says why not and what to do
   */
  async resize(
    options: Partial<ResizeOptions> & Pick<ResizeOptions, 'size'>,
  ): Promise<ResizeResult> {
    if (this.#resizing !== null || this.#isClosing) {
      const why = this.#isClosing ? 'it is being closed' : 'another resize is under way'
      throw new DiskError('EINUSE', `${this.file}: ${why}`)
    }
    const site: ResizeSite = {
      store: this.#store,
      gate: this.#gate,
      drained: (offset) =>
        this.#until(() => !this.#operations.some((each) => each.reachesBehind(offset))),
      isClosing: () => this.#isClosing,
    }
    const resizing = resizeDisk(site, { discardTail: false, parts: [], ...options })
    this.#resizing = resizing.catch(() => {})
    try {
      return await resizing
    } finally {
      // What had to wait has been started.
      this.submit()
      this.#resizing = null
    }
  }

  /** @throws DiskError ESYNC if the last flush failed */
  async close(): Promise<void> {
    const store = this.#store
    this.#isClosing = true
    await this.#resizing
    await this.#until(() => this.#active === 0)
    await store.flusher.flushAll()
    await store.keeper?.close()
    await store.openFiles.closeAll()
    await closeChain(store.files, store.layers)
    if (store.flusher.failure === 0) return
    throw new DiskError('ESYNC', `${this.file}: the last writes could not be synced to the disk`)
  }
}

/** Their files are not moved with the chunks while the disk is served. */
function refuseChecksums({ descriptor: { file, checksums } }: Layer): void {
  if (checksums === ChecksumKind.NONE) return
  const why = 'it has checksums, so its chunk files cannot be moved while it is served'
  throw new DiskError('EPART', `${file}: ${why}: leave out --movable`)
}
