/**
 * The contract between a frontend (NBD) and storage. Imports nothing but the extent list.
 *
 * A frontend owns pooled `Request` objects and hands them to a `Device`. A method returns
 *
 *   DONE      it is finished, `complete` is not called;
 *   errno     (above 0) it failed, `complete` is not called;
 *   PENDING   it goes on; `complete` is called exactly once, never before the method returned.
 *
 * `submit()` ends a batch: a device may hold work back until then. The data path uses no promise,
 * event or closure per request; control operations (close) are async functions.
 */
import type { ExtentList } from './extents.ts'

export const DONE = 0
export const PENDING = -1

/** `DONE`, `PENDING`, or an errno above 0 (numbers of `os.constants.errno`). */
export type Status = number

/** Request flags; the bits are those of the NBD command flags, so none has to be translated. */
export const RequestFlag = {
  /** Complete only when this request's data would survive a power loss. */
  FUA: 1 << 0,
  /** `zero` only: the range must be allocated afterwards. */
  NO_HOLE: 1 << 1,
  /** `zero` only: fail with ENOTSUP at once, data untouched, unless faster than writing. */
  FAST_ZERO: 1 << 4,
  /**
   * `read` only, never from a client: complete before returning if the data are at hand, also where
   * it would be cheaper to do several reads together. A cache that keeps the data sets it.
   */
  AT_ONCE: 1 << 16,
} as const

/** Where the bytes of a whole read may go without passing through memory of ours. */
export interface FileOutlet {
  /**
   * To be called before the device's `read` returns, at most once for a read, with where all of its
   * bytes are. After true the read may not fail any more.
   * @returns true: the bytes are on their way; false: they go into the buffer, as always
   */
  take(fd: number, position: number, length: number): boolean
}

/**
 * One read, write, trim, zero, flush or blockStatus. The object may be reused once it is complete.
 * `buffer` is lent to the device until then; the device writes `length` bytes from `bufferOffset`
 * (read) or only reads them (write), and touches nothing outside.
 */
export interface Request {
  /** Bytes from the start of the device; with `length` inside the device's size. */
  offset: number
  /** Bytes, at least 1; ignored by `flush`. */
  length: number
  /** Bits of `RequestFlag`. */
  flags: number
  buffer: Uint8Array
  bufferOffset: number
  /**
   * Read only. If set, the device appends extents which cover the range in ascending order, and
   * leaves the bytes of an extent with `ExtentFlag.ZERO` unwritten. If null it fills in the zeros.
   * If they do not fit into the list it ends before the range does: read again with null.
   */
  extents: ExtentList | null
  /** Read only. If set, bytes that lie in a file may be given to it instead of into `buffer`. */
  readonly outlet?: FileOutlet | null
  /** Set by the device when it fails: absolute offset of the first byte that was not done. */
  errorOffset: number
  complete(status: Status): void
}

export interface Features {
  /** Writes, trims and zeros fail with EPERM. */
  readonly readOnly: boolean
  /** `trim` gives space back, as far as it can. */
  readonly trim: boolean
  /** After `trim` the range reads as zeros; otherwise it may go on reading as what it held. */
  readonly trimZeroes: boolean
  /** `zero` with FAST_ZERO can succeed. */
  readonly fastZero: boolean
  /** What `blockStatus` tells beside flags, bits of `ExtentKind`; none if it is missing. */
  readonly extentKinds?: number
}

export interface Device {
  /**
   * Bytes. It may change while requests are under way (`ChunkDisk.resize`): one that reaches behind
   * the end then fails, with ENOSPC if it writes and EINVAL if not.
   */
  readonly size: number
  /** Offsets and lengths must be multiples of this (1 = any); the size is one. */
  readonly alignment: number
  readonly features: Features

  read(request: Request): Status
  write(request: Request): Status
  /** Makes everything that was completed before this call durable. */
  flush(request: Request): Status
  /** The range is not needed any more: see `Features`. Whole or in part, at once or later. */
  trim(request: Request): Status
  /** Afterwards the range reads as zeros. Honours NO_HOLE and FAST_ZERO. */
  zero(request: Request): Status
  /**
   * Appends at least one extent, the first at `request.offset`; may stop before the end of the
   * range (when `extents` is full, or to keep the call short). `buffer` is not used. All but the
   * last one end at multiples of the alignment.
   */
  blockStatus(request: Request, extents: ExtentList): Status
  submit(): void
  /** Waits for what is in flight, flushes, releases everything. Call it once. */
  close(): Promise<void>
}
