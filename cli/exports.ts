/**
 * The stack of each export, in one place:
 *
 *   NBD ─▶ CachedDevice (pages, partial writes) ─▶ ChunkDisk (chunk files) ─▶ io
 *   NBD ─▶ MemoryDevice
 */
import { IDLE_MS, PAGE_SIZE, PAGES_WITHOUT_RETENTION } from '../cache/limits.ts'
import { CachedDevice } from '../cache/cached-device.ts'
import { ChunkDisk } from '../chunkstore/disk.ts'
import type { Log } from '../chunkstore/options.ts'
import { PathMap } from '../chunkstore/path-map.ts'
import type { ResizeResult } from '../chunkstore/resize.ts'
import { MemoryDevice } from '../device/memory.ts'
import { ReadOnlyDevice } from '../device/read-only-device.ts'
import type { Io } from '../io/io.ts'
import type { AccessPolicy } from '../nbd/access.ts'
import type { Export, ExportTable } from '../nbd/export.ts'
import type { Peer } from '../nbd/peer.ts'
import { refusalOf } from './access-rules.ts'
import { ControlServer } from './control-server.ts'
import { humanSize } from './output.ts'
import { parseResizeRequest } from './resize-request.ts'
import type { DiskSettings, ExportSettings } from './settings.ts'

/** The same for every disk. */
export interface SharedOptions {
  /** Chunk files of each disk that are kept open. */
  readonly openFilesMax: number
  readonly log: Log
}

/** What `info URI` says of a disk that answers every write with an error. */
const FAILED = 'a sync failed, changes are refused until it is served anew; see the log'

/** An export that is served. */
interface Entry {
  readonly export: Export
  readonly settings: ExportSettings
  /** Null: it keeps no pages. */
  readonly cache: CachedDevice | null
  /** Null: nobody can ask for anything. */
  readonly control: ControlServer | null
}

/** The exports in the order they were opened. */
export class Exports implements ExportTable, AccessPolicy {
  /** Name of the one that clients get who name none; null: none. */
  defaultExport: string | null = null
  readonly #entries = new Map<string, Entry>()
  readonly #io: Io
  readonly #sweep: NodeJS.Timeout

  constructor(io: Io) {
    this.#io = io
    this.#sweep = setInterval(() => {
      for (const { cache } of this.#entries.values()) cache?.sweep()
    }, IDLE_MS)
    this.#sweep.unref()
  }

  find(name: string): Export | null {
    const wanted = name === '' ? this.defaultExport : name
    return wanted === null ? null : (this.#entries.get(wanted)?.export ?? null)
  }

  list(): readonly Export[] {
    return [...this.#entries.values()].map((entry) => entry.export)
  }

  settings(): readonly ExportSettings[] {
    return [...this.#entries.values()].map((entry) => entry.settings)
  }

  refusal({ name }: Export, peer: Peer): string | null {
    const entry = this.#entries.get(name)
    // Found a moment ago, and gone since: nobody's.
    return entry === undefined ? 'it is gone' : refusalOf(entry.settings.access, peer)
  }

  isListed({ name }: Export): boolean {
    return this.#entries.get(name)?.settings.access.hidden === false
  }

  /** From now on it is there for clients. The name must be free. */
  async open(settings: ExportSettings, shared: SharedOptions): Promise<void> {
    const { name, disk } = settings
    const entry =
      typeof disk === 'number'
        ? memoryEntry(settings, disk)
        : await this.#openDisk(settings, disk, shared)
    this.#entries.set(name, entry)
  }

  async #openDisk(
    settings: ExportSettings,
    { file, cache: cacheMode, trim, movable, lockFiles, pageCache, uuid, mapPath }: DiskSettings,
    shared: SharedOptions,
  ): Promise<Entry> {
    const { name, readOnly } = settings
    const paths = new PathMap(mapPath)
    const options = { ...shared, readOnly, cacheMode, trim, movable, lockFiles, paths }
    const disk = await ChunkDisk.open(this.#io.files, file, options)
    const cache = this.#cached(disk, pageCache)
    const serial = uuid === null ? '' : `, UUID ${uuid}`
    const entry = {
      name,
      device: cache,
      get description() {
        const text = `chunk disk of ${humanSize(disk.size)}${serial}`
        return disk.hasFailed ? `${text}; FAILED: ${FAILED}` : text
      },
    }
    const { log } = shared
    const control = readOnly ? null : await listenForResize(file, disk, cache, log)
    return { export: entry, settings, cache, control }
  }

  /** @param bytes for pages; 0 keeps none longer than it is worked on */
  #cached(disk: ChunkDisk, bytes: number): CachedDevice {
    const pages = Math.max(Math.floor(bytes / PAGE_SIZE), PAGES_WITHOUT_RETENTION)
    const giveBack = this.#io.giveBack ?? (() => {})
    const arena = this.#io.files.memory(pages * PAGE_SIZE)
    return new CachedDevice(disk, { arena, retain: bytes > 0, giveBack })
  }

  /** Closes every device, also if one fails. @throws the first failure */
  async close(): Promise<void> {
    clearInterval(this.#sweep)
    // While the locks are held: the next server's sockets have the same names.
    for (const { control } of this.#entries.values()) control?.close()
    const devices = this.list().map((each) => each.device)
    this.#entries.clear()
    const results = await Promise.allSettled(devices.map((device) => device.close()))
    const failure = results.find((result) => result.status === 'rejected')
    if (failure !== undefined) throw failure.reason
  }
}

function memoryEntry(settings: ExportSettings, size: number): Entry {
  const { name, readOnly } = settings
  const memory = new MemoryDevice(size)
  const device = readOnly ? new ReadOnlyDevice(memory) : memory
  return {
    export: { name, description: `memory disk of ${humanSize(size)}`, device },
    settings,
    cache: null,
    control: null,
  }
}

function listenForResize(
  file: string,
  disk: ChunkDisk,
  cache: CachedDevice,
  log: Log,
): Promise<ControlServer | null> {
  const resize = async (request: unknown): Promise<ResizeResult> => {
    const result = await disk.resize(parseResizeRequest(request))
    cache.dropBehind(Math.min(result.sizeBefore, result.size))
    log.info({ ...result }, 'resized')
    return result
  }
  return ControlServer.start(file, resize, log)
}
