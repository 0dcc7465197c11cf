/**
 * The open chunk files of a disk: bounded, closed when idle. A file is only closed when nobody
 * uses it and its writes are synced, so that no error of writing it back can go unseen.
 */
import fs from 'node:fs'
import { type Chunk, ChunkState } from './chunk.ts'
import { DESCRIPTOR_WAIT_MS, DESCRIPTOR_WAITS_MAX, IDLE_CLOSE_MS } from './limits.ts'
import type { Failure, Store } from './store.ts'

const EPERM = 1
const EIO = 5
const EACCES = 13
const ENOSPC = 28
const EROFS = 30
const EDQUOT = 122
const NOT_ALLOWED = [EPERM, EACCES, EROFS]
/** Of this process, of the machine. */
const NO_DESCRIPTOR = new Set(['EMFILE', 'ENFILE'])
const { O_RDONLY, O_RDWR } = fs.constants

export class OpenFiles {
  readonly #store: Store
  readonly #open: Chunk[] = []
  /** Where the search for a file to close goes on (CLOCK). */
  #hand = 0
  readonly #sweep: NodeJS.Timeout

  constructor(store: Store) {
    this.#store = store
    this.#sweep = setInterval(() => void this.closeIdle(), IDLE_CLOSE_MS)
    this.#sweep.unref()
  }

  get count(): number {
    return this.#open.length
  }

  /** Opens the chunk's file; those that wait for the chunk are woken when it is done. */
  open(chunk: Chunk): void {
    chunk.opening = true
    void this.#openNow(chunk)
  }

  async #openNow(chunk: Chunk): Promise<void> {
    let failure: Failure
    try {
      // It was open for reading, and somebody wants to write.
      if (chunk.fd >= 0) await this.#close(chunk)
      failure = await this.#tryOpen(chunk)
    } catch (error) {
      const { code } = error as NodeJS.ErrnoException
      failure = { read: EIO, change: changeErrno(error) }
      this.#store.faults.report(chunk.path, failure.change, 'chunk file cannot be opened', { code })
    }
    chunk.opening = false
    this.#store.wakeAll(chunk, failure)
  }

  async #tryOpen(chunk: Chunk): Promise<Failure> {
    await this.makeRoom()
    const { files, geometry, faults } = this.#store
    const { fd, change } = await this.#openForAll(chunk)
    try {
      const { size } = await files.statusOf(fd)
      const expected = chunk.state === ChunkState.EMPTY ? 0 : geometry.chunkSize
      if (size === expected) {
        this.adopt(chunk, fd)
        chunk.cannotWrite = change !== 0
        return { read: 0, change }
      }
      faults.report(chunk.path, EIO, 'chunk file has the wrong size', { size, expected })
    } finally {
      if (chunk.fd !== fd) await files.close(fd)
    }
    return { read: EIO, change: EIO }
  }

  /** For reading alone where writing is not allowed any more: what is there can still be read. */
  async #openForAll(chunk: Chunk): Promise<{ readonly fd: number; readonly change: number }> {
    if (!chunk.part.writable) return { fd: await this.openExisting(chunk, O_RDONLY), change: 0 }
    try {
      return { fd: await this.openExisting(chunk, O_RDWR), change: 0 }
    } catch (error) {
      const { code } = error as NodeJS.ErrnoException
      const change = changeErrno(error)
      if (!NOT_ALLOWED.includes(change)) throw error
      const fd = await this.openExisting(chunk, O_RDONLY)
      this.#store.faults.report(chunk.path, change, 'chunk file cannot be opened for writing', {
        code,
      })
      return { fd, change }
    }
  }

  /** Opens the chunk's file, where it is now. @throws as `openFile` */
  openExisting(chunk: Chunk, flags: number): Promise<number> {
    const { movable } = this.#store
    const open = (): Promise<number> => this.openFile(chunk, chunk.path, flags)
    return movable === null || !chunk.part.writable ? open() : movable.open(chunk, open)
  }

  /**
   * Opens a file of the chunk in its part. Where the system has no descriptor left, files that
   * nobody uses are closed, and those that are in use waited for.
   * @throws Node's error; ESTALE if the part's path leads to another directory now
   */
  async openFile(chunk: Chunk, path: string, flags: number): Promise<number> {
    const { files, faults, openFlags } = this.#store
    for (let waits = 0; ; waits++) {
      try {
        await chunk.part.checkPlace(files)
        return await files.open(path, flags | openFlags)
      } catch (error) {
        const { code = '' } = error as NodeJS.ErrnoException
        if (!NO_DESCRIPTOR.has(code) || waits === DESCRIPTOR_WAITS_MAX) throw error
        const { directory } = chunk.part
        faults.report(directory, changeErrno(error), 'too many open files: closing some', { code })
        await this.#closeOne()
      }
    }
  }

  async #closeOne(): Promise<void> {
    const victim = this.#findIdle(true)
    if (victim !== null) return this.#close(victim)
    if (this.#findIdle(false) !== null) await this.#store.flusher.flushAll()
    await new Promise((resolve) => setTimeout(resolve, DESCRIPTOR_WAIT_MS))
  }

  /** Takes over a descriptor that was opened elsewhere. */
  adopt(chunk: Chunk, fd: number): void {
    chunk.fd = fd
    chunk.cannotWrite = false
    chunk.referenced = true
    this.#open.push(chunk)
  }

  /** To be awaited before a file is opened and adopted. Several at once may exceed the bound. */
  async makeRoom(): Promise<void> {
    const { flusher, options } = this.#store
    const half = options.openFilesMax / 2
    // In good time, so that there is a clean file to close when the bound is reached.
    if (this.#open.length > half && flusher.dirtyCount > half / 2 && !flusher.running) {
      void flusher.flushAll()
    }
    let synced = false
    while (this.#open.length >= options.openFilesMax) {
      const victim = this.#findIdle(true)
      if (victim !== null) {
        await this.#close(victim)
      } else if (!synced && (flusher.running || this.#findIdle(false) !== null)) {
        await flusher.flushAll()
        synced = true
      } else {
        // Every file is in use: one more is opened, the requests in flight bound their number.
        return
      }
    }
  }

  #findIdle(clean: boolean): Chunk | null {
    for (let looked = 0; looked < 2 * this.#open.length; looked++) {
      this.#hand = (this.#hand + 1) % this.#open.length
      const chunk = this.#open[this.#hand]
      if (!isClosable(chunk) || (clean && this.#mustSync(chunk))) continue
      if (!chunk.referenced) return chunk
      chunk.referenced = false
    }
    return null
  }

  #mustSync(chunk: Chunk): boolean {
    // Checksums that are to be believed must not be newer than the data.
    const syncs = this.#store.cache.syncs || chunk.checksums !== null
    return syncs && chunk.modified > chunk.synced
  }

  async #close(chunk: Chunk): Promise<void> {
    const last = this.#open.pop()
    if (last === undefined) return
    if (last !== chunk) this.#open[this.#open.indexOf(chunk)] = last
    const fd = chunk.fd
    chunk.fd = -1
    // What was not synced by now never will be, and must not be looked for.
    if (!this.#store.cache.syncs) chunk.synced = chunk.modified
    try {
      await this.#store.files.close(fd)
    } catch (error) {
      // Nothing is lost: its writes are synced, and the descriptor is gone all the same.
      const { code } = error as NodeJS.ErrnoException
      this.#store.options.log.warn({ file: chunk.path, code }, 'closing a chunk file fails')
    }
  }

  /** Closes what was not used since the call before. */
  async closeIdle(): Promise<void> {
    this.#forgetUnmapped()
    const idle = this.#open.filter((chunk) => !chunk.referenced && isClosable(chunk))
    for (const chunk of this.#open) chunk.referenced = false
    if (idle.some((chunk) => this.#mustSync(chunk))) {
      await this.#store.flusher.flushAll()
    }
    for (const chunk of idle) {
      const unused = chunk.fd >= 0 && isClosable(chunk) && !chunk.referenced
      if (unused && !this.#mustSync(chunk)) await this.#close(chunk)
    }
  }

  /** What was trimmed in part of chunks, and not taken up for so long, is not worth its memory. */
  #forgetUnmapped(): void {
    const { top, touched } = this.#store
    this.#store.touched = false
    if (touched) return
    for (const chunk of top.chunks.values()) chunk.forgetUnmapped()
  }

  /** For a chunk that leaves the disk: it is clean, and nobody uses it. */
  async discard(chunk: Chunk): Promise<void> {
    if (chunk.fd >= 0) await this.#close(chunk)
  }

  /** At the end: closes everything. Nothing may be in flight. */
  async closeAll(): Promise<void> {
    clearInterval(this.#sweep)
    while (this.#open.length > 0) await this.#close(this.#open[this.#open.length - 1])
  }
}

function isClosable(chunk: Chunk): boolean {
  return chunk.idle && !chunk.opening && chunk.waiting.length === 0
}

/** @returns the errno for a request that wanted to change something: EIO, or what says more */
export function changeErrno(error: unknown): number {
  const errno = -((error as NodeJS.ErrnoException).errno ?? -EIO)
  if (errno === ENOSPC || errno === EDQUOT) return ENOSPC
  return NOT_ALLOWED.includes(errno) ? errno : EIO
}
