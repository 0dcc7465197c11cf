/**
 * The stack of an export, in one place:
 *
 *   NBD ─▶ CachedDevice (pages, partial writes) ─▶ ChunkDisk (chunk files) ─▶ io
 *   NBD ─▶ MemoryDevice
 */
import { PAGE_SIZE, PAGES_WITHOUT_RETENTION } from '../cache/limits.ts'
import { CachedDevice } from '../cache/cached-device.ts'
import { ChunkDisk } from '../chunkstore/disk.ts'
import type { Log } from '../chunkstore/options.ts'
import { PathMap } from '../chunkstore/path-map.ts'
import type { ResizeResult } from '../chunkstore/resize.ts'
import { MemoryDevice } from '../device/memory.ts'
import { ReadOnlyDevice } from '../device/read-only-device.ts'
import type { Io } from '../io/io.ts'
import type { Export } from '../nbd/export.ts'
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

/** An export that is open. */
export interface Stack {
  readonly export: Export
  readonly settings: ExportSettings
  /** Null: it keeps no pages. */
  readonly cache: CachedDevice | null
  /** Null: nobody can ask for anything. */
  readonly control: ControlServer | null
}

export async function openStack(
  io: Io,
  settings: ExportSettings,
  shared: SharedOptions,
): Promise<Stack> {
  const { disk } = settings
  return typeof disk === 'number'
    ? memoryStack(settings, disk)
    : diskStack(io, settings, disk, shared)
}

/** When nobody uses it any more. @throws Error if the last flush failed */
export async function closeStack(stack: Stack): Promise<void> {
  // While the locks are held: the next server's sockets have the same names.
  stack.control?.close()
  await stack.export.device.close()
}

async function diskStack(
  io: Io,
  settings: ExportSettings,
  { file, cache: cacheMode, trim, movable, lockFiles, pageCache, uuid, mapPath }: DiskSettings,
  { openFilesMax, log }: SharedOptions,
): Promise<Stack> {
  const { name, readOnly } = settings
  const how = { readOnly, cacheMode, trim, movable, lockFiles, paths: new PathMap(mapPath) }
  const disk = await ChunkDisk.open(io.files, file, { ...how, openFilesMax, log })
  const serial = uuid === null ? '' : `, UUID ${uuid}`
  try {
    const cache = cached(io, disk, pageCache)
    const entry = {
      name,
      device: cache,
      get description() {
        const text = `chunk disk of ${humanSize(disk.size)}${serial}`
        return disk.hasFailed ? `${text}; FAILED: ${FAILED}` : text
      },
    }
    const control = readOnly ? null : await listenForResize(file, disk, cache, log)
    return { export: entry, settings, cache, control }
  } catch (error) {
    await disk.close()
    throw error
  }
}

/** @param bytes for pages; 0 keeps none longer than it is worked on */
function cached(io: Io, disk: ChunkDisk, bytes: number): CachedDevice {
  const pages = Math.max(Math.floor(bytes / PAGE_SIZE), PAGES_WITHOUT_RETENTION)
  const giveBack = io.giveBack ?? (() => {})
  const arena = io.files.memory(pages * PAGE_SIZE)
  return new CachedDevice(disk, { arena, retain: bytes > 0, giveBack })
}

function memoryStack(settings: ExportSettings, size: number): Stack {
  const { name, readOnly } = settings
  const memory = new MemoryDevice(size)
  const device = readOnly ? new ReadOnlyDevice(memory) : memory
  const description = `memory disk of ${humanSize(size)}`
  return { export: { name, description, device }, settings, cache: null, control: null }
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
