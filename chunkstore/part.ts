/**
 * A directory that holds chunk files of one layer, up to a quota. Keeps the directory open: the
 * lock and the syncs of its names go through that descriptor.
 */
import fs from 'node:fs'
import path from 'node:path'
import type { DirectoryAbilities, Files } from '../io/io.ts'
import { DiskError } from './disk-error.ts'
import { SCAN_PARALLEL } from './limits.ts'
import { LOCK_FILE } from './lock-file.ts'
import type { OwnLock } from './part-lock.ts'

const { O_RDONLY, O_DIRECTORY } = fs.constants
const CHUNK_NAME = /^chunk(0|[1-9]\d*)$/i
// A lock file that replaces another is made under a name of its own, as a whole; so are the marks.
const TEMPORARY_NAME = /^\.tmp-(?:chunk\d+|checksums-\d+-[\da-f]+|(?:\.tmp-)?\.lock-[\da-f-]+)$/
const CHECKSUM_NAME = /^crc32c-(0|[1-9]\d*)$/

/** Present if the disk has checksums: see `checksums/mark-file.ts`. */
export const MARKS_NAME = 'checksums'

export interface ChunkName {
  readonly index: number
  readonly name: string
}

export interface FoundChunk extends ChunkName {
  readonly size: number
  readonly allocated: number
  readonly isFile: boolean
}

export interface PartContents {
  readonly chunks: readonly FoundChunk[]
  /** Left by a crash while a chunk or a lock file was being created. */
  readonly temporaries: readonly string[]
  /** Chunk names whose index is beyond the disk. */
  readonly orphans: readonly string[]
  readonly hasLockFile: boolean
  /** The part belongs to a disk with checksums. */
  readonly hasMarks: boolean
  /** Of which chunks there are checksum files. */
  readonly checksumFiles: readonly number[]
}

const NO_ABILITIES: DirectoryAbilities = {
  punchHole: false,
  zeroRange: false,
  allocate: false,
  direct: false,
  directRefusal: 'it was not tried',
}

export class Part {
  readonly directory: string
  /** A resize may change it. */
  chunksMax: number
  /** Chunk files in it, those being created included. */
  chunkCount = 0
  fd = -1
  identity = ''
  /** Of the layer that is written. */
  writable = false
  /** The lock file made here; it goes when the part is closed. */
  ownLock: OwnLock | null = null
  abilities: DirectoryAbilities = NO_ABILITIES
  /** Names changed / were synced, counted as in `Chunk`. */
  modified = 0
  synced = 0
  /** Names as found, where they differ from `chunkN` (case). */
  readonly #names = new Map<number, string>()

  constructor(directory: string, chunksMax: number) {
    this.directory = directory
    this.chunksMax = chunksMax
  }

  chunkPath(index: number): string {
    return path.join(this.directory, this.#names.get(index) ?? `chunk${index}`)
  }

  checksumPath(index: number): string {
    return path.join(this.directory, checksumName(index))
  }

  temporaryPath(index: number): string {
    return path.join(this.directory, `.tmp-chunk${index}`)
  }

  /** @throws DiskError EPART if the directory is missing or no directory */
  async open(files: Files): Promise<void> {
    try {
      this.fd = await files.open(this.directory, O_RDONLY | O_DIRECTORY)
    } catch (error) {
      const { code, message } = error as NodeJS.ErrnoException
      if (code === 'OUTSIDE_ROOTS') throw new DiskError('EPART', `part directory ${message}`)
      const why = code === 'ENOENT' ? 'does not exist' : `cannot be opened (${code})`
      const fix = code === 'ENOENT' ? '; create it or mount what holds it' : ''
      throw new DiskError('EPART', `part directory ${this.directory} ${why}${fix}`)
    }
    try {
      this.identity = (await files.statusOf(this.fd)).identity
    } catch (error) {
      await this.close(files).catch(() => {})
      throw error
    }
  }

  /**
   * A part that was unmounted, or whose directory was renamed or replaced, must not get chunks
   * somewhere else.
   * @throws Error ENOENT or ESTALE that names the directory
   */
  async checkPlace(files: Files): Promise<void> {
    const { identity } = await files.status(this.directory)
    if (identity === this.identity) return
    const message = `part directory ${this.directory} is not the one that was opened: put it back`
    throw Object.assign(new Error(message), { code: 'ESTALE' })
  }

  async close(files: Files): Promise<void> {
    if (this.fd < 0) return
    // As long as the kernel's lock is held.
    await this.ownLock?.release(files)
    this.ownLock = null
    const fd = this.fd
    this.fd = -1
    await files.close(fd)
  }

  /** To be told of a chunk file that came from elsewhere. */
  setName(index: number, name: string): void {
    if (name === `chunk${index}`) this.#names.delete(index)
    else this.#names.set(index, name)
  }

  /** What the directory holds now, by name only, without orphans. */
  async chunkNames(files: Files, chunkCount: number): Promise<ChunkName[]> {
    const names = chunkNamesIn(await files.list(this.directory))
    return names.filter(({ index }) => index < chunkCount)
  }

  /** Lists the directory; chunk files from `chunkCount` on are orphans. */
  async scan(files: Files, chunkCount: number): Promise<PartContents> {
    const names = await files.list(this.directory)
    const temporaries = names.filter((name) => TEMPORARY_NAME.test(name))
    const all = chunkNamesIn(names)
    const orphans = all.filter(({ index }) => index >= chunkCount).map(({ name }) => name)
    const wanted = all.filter(({ index }) => index < chunkCount)
    const chunks: FoundChunk[] = []
    for (let start = 0; start < wanted.length; start += SCAN_PARALLEL) {
      const batch = wanted.slice(start, start + SCAN_PARALLEL)
      chunks.push(...(await Promise.all(batch.map((each) => this.#look(files, each)))))
    }
    for (const { index, name } of chunks) this.setName(index, name)
    return {
      chunks,
      temporaries,
      orphans,
      hasLockFile: names.includes(LOCK_FILE),
      hasMarks: names.includes(MARKS_NAME),
      checksumFiles: names.flatMap((name) => {
        const match = CHECKSUM_NAME.exec(name)
        return match === null ? [] : [Number(match[1])]
      }),
    }
  }

  /** @returns names of chunk files from `first` to `last`, both included */
  async namesBetween(files: Files, first: number, last: number): Promise<string[]> {
    return chunkNamesIn(await files.list(this.directory))
      .filter(({ index }) => index >= first && index <= last)
      .map(({ name }) => name)
  }

  async #look(files: Files, found: ChunkName): Promise<FoundChunk> {
    try {
      const { size, allocated, isFile } = await files.status(path.join(this.directory, found.name))
      return { ...found, size, allocated, isFile }
    } catch (error) {
      // A symbolic link to nothing, or a loop of them: not absent, so it must not read as zeros.
      if (!['ENOENT', 'ELOOP'].includes((error as NodeJS.ErrnoException).code ?? '')) throw error
      return { ...found, size: 0, allocated: 0, isFile: false }
    }
  }
}

/** Not `chunk...`: chunkdisk would take it for one. */
export function checksumName(index: number): string {
  return `crc32c-${index}`
}

function chunkNamesIn(names: readonly string[]): ChunkName[] {
  const found: ChunkName[] = []
  for (const name of names) {
    const match = CHUNK_NAME.exec(name)
    if (match !== null) found.push({ index: Number(match[1]), name })
  }
  return found
}
