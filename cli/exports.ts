/**
 * The stack of each export, in one place:
 *
 *   NBD ─▶ CachedDevice (pages, partial writes) ─▶ ChunkDisk (chunk files) ─▶ io
 *   NBD ─▶ MemoryDevice
 */
import path from 'node:path'
import { IDLE_MS, PAGE_SIZE, PAGES_WITHOUT_RETENTION } from '../cache/limits.ts'
import { CachedDevice } from '../cache/cached-device.ts'
import { ChunkDisk } from '../chunkstore/disk.ts'
import type { CacheMode, Log, TrimMode } from '../chunkstore/options.ts'
import type { PathMap } from '../chunkstore/path-map.ts'
import type { ResizeResult } from '../chunkstore/resize.ts'
import type { Device } from '../device/device.ts'
import { MemoryDevice } from '../device/memory.ts'
import { ReadOnlyDevice } from '../device/read-only-device.ts'
import type { Io } from '../io/io.ts'
import type { Export, ExportTable } from '../nbd/export.ts'
import { ControlServer } from './control-server.ts'
import { humanSize } from './output.ts'
import { parseResizeRequest } from './resize-request.ts'

export interface StackOptions {
  readonly readOnly: boolean
  readonly cacheMode: CacheMode
  readonly trim: TrimMode
  readonly movable: boolean
  readonly paths: PathMap
  /** Serial number, or null: none. */
  readonly uuid: string | null
  /** Memory for pages of each disk, bytes; 0 keeps none longer than it is worked on. */
  readonly pageCacheBytes: number
  /** Chunk files of each disk that are kept open. */
  readonly openFilesMax: number
  readonly log: Log
}

/** What `info URI` says of a disk that answers every write with an error. */
const FAILED = 'a sync failed, changes are refused until it is served anew; see the log'

/** The exports in the order they were given; the first is also the default one. */
export class Exports implements ExportTable {
  readonly #exports: Export[] = []
  readonly #caches: CachedDevice[] = []
  readonly #controls: ControlServer[] = []
  readonly #io: Io
  readonly #sweep: NodeJS.Timeout

  constructor(io: Io) {
    this.#io = io
    this.#sweep = setInterval(() => {
      for (const cache of this.#caches) cache.sweep()
    }, IDLE_MS)
    this.#sweep.unref()
  }

  find(name: string): Export | null {
    if (name === '') return this.#exports[0] ?? null
    return this.#exports.find((each) => each.name === name) ?? null
  }

  list(): readonly Export[] {
    return this.#exports
  }

  /** @throws Error if the name is taken */
  async openDisk(file: string, options: StackOptions): Promise<void> {
    const name = path.basename(file, path.extname(file))
    this.#refuseTaken(name, file)
    const disk = await ChunkDisk.open(this.#io.files, path.resolve(file), options)
    const serial = options.uuid === null ? '' : `, UUID ${options.uuid}`
    const device = this.#cached(disk, options.pageCacheBytes)
    this.#exports.push({
      name,
      get description() {
        const text = `chunk disk of ${humanSize(disk.size)}${serial}`
        return disk.hasFailed ? `${text}; FAILED: ${FAILED}` : text
      },
      device,
    })
    if (!options.readOnly) await this.#listenForResize(file, disk, device, options.log)
  }

  async #listenForResize(file: string, disk: ChunkDisk, cache: CachedDevice, log: Log) {
    const resize = async (request: unknown): Promise<ResizeResult> => {
      const result = await disk.resize(parseResizeRequest(request))
      cache.dropBehind(Math.min(result.sizeBefore, result.size))
      log.info({ ...result }, 'resized')
      return result
    }
    const control = await ControlServer.start(file, resize, log)
    if (control !== null) this.#controls.push(control)
  }

  #cached(disk: Device, bytes: number): CachedDevice {
    const pages = Math.max(Math.floor(bytes / PAGE_SIZE), PAGES_WITHOUT_RETENTION)
    const giveBack = this.#io.giveBack ?? (() => {})
    const arena = this.#io.files.memory(pages * PAGE_SIZE)
    const cache = new CachedDevice(disk, { arena, retain: bytes > 0, giveBack })
    this.#caches.push(cache)
    return cache
  }

  addMemory(size: number, readOnly: boolean): void {
    this.#refuseTaken('memory', '--memory')
    const description = `memory disk of ${humanSize(size)}`
    const memory = new MemoryDevice(size)
    const device = readOnly ? new ReadOnlyDevice(memory) : memory
    this.#exports.push({ name: 'memory', description, device })
  }

  #refuseTaken(name: string, file: string): void {
    if (!this.#exports.some((each) => each.name === name)) return
    const message = `${file}: an export is already named "${name}"; rename one of the files`
    throw Object.assign(new Error(message), { code: 'EEXISTS' })
  }

  /** Closes every device, also if one fails. @throws the first failure */
  async close(): Promise<void> {
    clearInterval(this.#sweep)
    // While the locks are held: the next server's sockets have the same names.
    for (const control of this.#controls.splice(0)) control.close()
    const devices = this.#exports.splice(0).map((each) => each.device)
    const results = await Promise.allSettled(devices.map((device) => device.close()))
    const failure = results.find((result) => result.status === 'rejected')
    if (failure !== undefined) throw failure.reason
  }
}
