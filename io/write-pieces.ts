/**
 * Writes into the kernel's memory, large ones in pieces.
 *
 * Since Linux 6.16 ext4 keeps a file in folios that are as large as the write which brought them,
 * and goes through all blocks of a folio for every later write to it: measured for 4 KiB, 1.7 µs in
 * folios of 16 KiB, 6 µs in those of 256 KiB. So a large write is cut up where it brings folios.
 * Where all of its pages are there already their size is what it is, and one call is enough.
 */
import fs from 'node:fs'
import os from 'node:os'
import { dirname } from 'node:path'
import type { FileOperation } from './io.ts'
import type { SystemCalls } from './syscalls.ts'

const EINTR = 4
const EIO = 5

/** Large enough for a call to be the smaller part, small enough for quick writes of 4 KiB. */
export const PIECE_BYTES = 16 * 1024

/** Directories that are remembered; files of those seen before them are written in one piece. */
const DIRECTORIES_MAX = 4096
/** `f_type` of ext4, from linux/magic.h. */
const EXT4_MAGIC = 0xef53

type Calls = Pick<SystemCalls, 'isCached' | 'write'>

export interface PiecesOptions {
  /** Of the kernel, as in `uname -r`. */
  readonly release?: string
  /** Type of the file system of a directory, as statfs(2) tells it. */
  readonly typeOf?: (directory: string) => Promise<number>
}

export class WritePieces {
  readonly #calls: Calls
  readonly #typeOf: (directory: string) => Promise<number>
  readonly #isNeeded: boolean
  readonly #directories = new Set<string>()
  readonly #files = new Set<number>()

  constructor(
    calls: Calls,
    { release = os.release(), typeOf = typeOfFileSystem }: PiecesOptions = {},
  ) {
    this.#calls = calls
    this.#typeOf = typeOf
    this.#isNeeded = hasLargeFolios(release)
  }

  /** To be called with each directory before files in it are opened. */
  async probe(directory: string): Promise<void> {
    if (!this.#isNeeded || (await this.#typeOf(directory).catch(() => 0)) !== EXT4_MAGIC) return
    const directories = this.#directories
    directories.delete(directory)
    directories.add(directory)
    for (const oldest of directories) {
      if (directories.size <= DIRECTORIES_MAX) break
      directories.delete(oldest)
    }
  }

  opened(path: string, fd: number): void {
    if (this.#directories.size > 0 && this.#directories.has(dirname(path))) this.#files.add(fd)
  }

  /** To be called with every descriptor that is closed. */
  closed(fd: number): void {
    this.#files.delete(fd)
  }

  /**
   * Writes what is left of an operation, whose `result` counts.
   * @returns 0: all is written; else the -errno that was in the way
   */
  write(operation: FileOperation): number {
    const { fd, buffer, bufferOffset, length, position } = operation
    const mustCut = this.mustCut(fd, position, length)
    while (operation.result < length) {
      const done = operation.result
      const at = position + done
      const left = length - done
      const bytes = mustCut ? Math.min(left, PIECE_BYTES - (at % PIECE_BYTES)) : left
      const count = this.#calls.write(fd, buffer, bufferOffset + done, bytes, at)
      if (count > 0) operation.result += count
      else if (count !== -EINTR) return count === 0 ? -EIO : count
    }
    return 0
  }

  /** A write is to be cut at multiples of `PIECE_BYTES`. */
  mustCut(fd: number, position: number, length: number): boolean {
    if (length <= PIECE_BYTES || !this.#files.has(fd)) return false
    return !this.#calls.isCached(fd, position, length)
  }
}

function hasLargeFolios(release: string): boolean {
  const [major = 0, minor = 0] = release.split('.').map(Number)
  return major > 6 || (major === 6 && minor >= 16)
}

async function typeOfFileSystem(directory: string): Promise<number> {
  return (await fs.promises.statfs(directory)).type
}
