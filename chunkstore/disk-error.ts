/** An error of the control path: what is wrong, by name, and what to do. Codes are stable. */
export class DiskError extends Error {
  readonly code: DiskErrorCode

  constructor(code: DiskErrorCode, message: string) {
    super(message)
    this.name = 'DiskError'
    this.code = code
  }
}

export type DiskErrorCode =
  /** The descriptor cannot be read or breaks a rule. */
  | 'EDESCRIPTOR'
  /** Descriptors of a chain do not fit together. */
  | 'ECHAIN'
  /** A part directory is missing, doubled, too full, or holds what it must not. */
  | 'EPART'
  /** A file system takes no O_DIRECT, which the cache mode needs. */
  | 'EDIRECT'
  /** There is data behind the end that a disk shall get. */
  | 'ETAIL'
  /** Somebody else uses the disk. */
  | 'EINUSE'
  /** The last flush failed: writes may be lost. */
  | 'ESYNC'
  /** A file that is to be created exists. */
  | 'EEXISTS'
