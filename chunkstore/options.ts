/** How a disk is opened. */
import { OPEN_FILES_MAX, SETTLE_MS } from './limits.ts'
import { PathMap } from './path-map.ts'

/** The part of a logger that is used here; pino fits. */
export interface Log {
  info(fields: object, message: string): void
  warn(fields: object, message: string): void
  error(fields: object, message: string): void
}

/** When a completed write survives a power loss. Names are QEMU's. */
export const CacheMode = {
  /** When a later flush was answered. */
  WRITEBACK: 'writeback',
  /** When it was answered itself. */
  WRITETHROUGH: 'writethrough',
  /** As `writeback`, past the kernel's page cache (O_DIRECT). */
  NONE: 'none',
  /** As `writethrough`, past the kernel's page cache (O_DIRECT). */
  DIRECTSYNC: 'directsync',
  /** Never promised: flushes are answered at once. */
  UNSAFE: 'unsafe',
} as const
export type CacheMode = (typeof CacheMode)[keyof typeof CacheMode]

/** What a mode means for the parts of the store. */
export interface CacheTraits {
  /** Chunk files are opened with O_DIRECT. */
  readonly direct: boolean
  /** Every change is synced before its answer. */
  readonly through: boolean
  /** Flushes and FUA sync. */
  readonly syncs: boolean
}

export const CACHE_TRAITS: Readonly<Record<CacheMode, CacheTraits>> = {
  writeback: { direct: false, through: false, syncs: true },
  writethrough: { direct: false, through: true, syncs: true },
  none: { direct: true, through: false, syncs: true },
  directsync: { direct: true, through: true, syncs: true },
  unsafe: { direct: false, through: false, syncs: false },
}

/** What of a disk's pages is kept to know them again. */
export const ChecksumKind = {
  NONE: 'none',
  /** A CRC-32C of each page of 4 KiB. */
  CRC32C: 'crc32c',
} as const
export type ChecksumKind = (typeof ChecksumKind)[keyof typeof ChecksumKind]

/** What a trim does. In brackets: chunkdisk's options for it. */
export const TrimMode = {
  /** A whole chunk becomes an empty file, part of one a hole (-X 1 -Z 1). */
  FREE: 'free',
  /** Whole chunks only. Parts keep their data until together they are a chunk (-X 1 -Z 0). */
  CHUNKS: 'chunks',
  /** Holes only: no file gets smaller (-X 0 -Z 1). */
  HOLES: 'holes',
  /** Nothing (-X 0 -Z 0). */
  IGNORE: 'ignore',
} as const
export type TrimMode = (typeof TrimMode)[keyof typeof TrimMode]

/** A trim or zero of part of a chunk punches a hole, or writes zeros where that is impossible. */
export function makesHoles(mode: TrimMode): boolean {
  return mode === TrimMode.FREE || mode === TrimMode.HOLES
}

/** A trim or zero of a whole chunk empties its file. */
export function emptiesFiles(mode: TrimMode): boolean {
  return mode === TrimMode.FREE || mode === TrimMode.CHUNKS
}

export interface DiskOptions {
  /** Share the disk with other readers, refuse every change. */
  readonly readOnly: boolean
  readonly cacheMode: CacheMode
  readonly trim: TrimMode
  /** Another program may move chunk files between the parts meanwhile; not with `readOnly`. */
  readonly movable: boolean
  /** Lock files that other systems see: in its parts until it is closed, in parents for good. */
  readonly lockFiles: boolean
  /** Chunk files kept open, at least 1. */
  readonly openFilesMax: number
  /** Where directories that the descriptors name are found here. */
  readonly paths: PathMap
  /**
   * How often the checksums of regions at rest are made durable, milliseconds. Infinity: only when
   * `ChunkDisk.settle` is called, and at the end.
   */
  readonly settleMs: number
  readonly log: Log
}

const SILENT: Log = { info: () => {}, warn: () => {}, error: () => {} }

export const DEFAULT_OPTIONS: DiskOptions = {
  readOnly: false,
  cacheMode: CacheMode.WRITEBACK,
  trim: TrimMode.FREE,
  movable: false,
  lockFiles: false,
  openFilesMax: OPEN_FILES_MAX,
  paths: PathMap.NONE,
  settleMs: SETTLE_MS,
  log: SILENT,
}
