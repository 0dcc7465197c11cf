/** How a disk is opened. */
import { OPEN_FILES_MAX } from './limits.ts'

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
  /** Never promised: flushes are answered at once. */
  UNSAFE: 'unsafe',
} as const
export type CacheMode = (typeof CacheMode)[keyof typeof CacheMode]

export interface DiskOptions {
  /** Share the disk with other readers, refuse every change. */
  readonly readOnly: boolean
  readonly cacheMode: CacheMode
  /** Chunk files kept open, at least 1. */
  readonly openFilesMax: number
  readonly log: Log
}

const SILENT: Log = { info: () => {}, warn: () => {}, error: () => {} }

export const DEFAULT_OPTIONS: DiskOptions = {
  readOnly: false,
  cacheMode: CacheMode.WRITEBACK,
  openFilesMax: OPEN_FILES_MAX,
  log: SILENT,
}
