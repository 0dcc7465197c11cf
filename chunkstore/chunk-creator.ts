/**
 * Brings chunk files into being in the written layer. A chunk that hides a parent's data appears
 * whole or not at all, also across a crash:
 *
 *   1. a temporary file is made and sized     3. its data is synced
 *   2. the parent's data is copied into it    4. it is renamed to `chunkN`
 *
 * The name itself is durable with the next flush; until then the parent's chunk, which holds the
 * same bytes, shows through after a crash. Where no parent has data, a file cut off half-way by
 * a crash is an empty chunk, which reads the same as none, so it is made under its own name.
 */
import fs from 'node:fs'
import { AwaitedOperation, orThrow } from './awaited-operation.ts'
import { Chunk, ChunkState, type Waiter } from './chunk.ts'
import { CopiedSums } from './checksums/copied-sums.ts'
import { copyChunk } from './copy-chunk.ts'
import { stateOfSize } from './layer.ts'
import { COPIES_MAX } from './limits.ts'
import { changeErrno } from './open-files.ts'
import type { Store } from './store.ts'

const EIO = 5
const { O_RDWR, O_CREAT, O_EXCL, O_TRUNC } = fs.constants
const NEW = O_RDWR | O_CREAT | O_EXCL

export class ChunkCreator {
  readonly #store: Store
  #pending = 0
  #copies = 0
  /** Copies that wait for one of those to end. */
  readonly #waiting: (() => void)[] = []

  constructor(store: Store) {
    this.#store = store
  }

  /** Creations under way; a disk is not closed before they are done. */
  get pending(): number {
    return this.#pending
  }

  /**
   * @returns the entry of the written layer for this chunk; one that is ABSENT if it has no file
   */
  entry(index: number): Chunk | null {
    const { top } = this.#store
    const known = top.chunks.get(index)
    if (known !== undefined) return known
    const part = top.partWithRoom()
    if (part === null) return null
    const chunk = new Chunk(index, part, ChunkState.ABSENT)
    top.checksums?.adopt(chunk)
    part.chunkCount++
    top.chunks.set(index, chunk)
    return chunk
  }

  /**
   * Makes an absent or empty chunk full. The caller holds it exclusively; it is released, and its
   * waiters are woken, when this is done.
   * @param source the parent's chunk to copy, or null: zeros
   */
  makeFull(chunk: Chunk, source: Chunk | null): void {
    void this.#run(chunk, () => this.#makeFull(chunk, source))
  }

  /** Makes an absent chunk empty, so that it hides the parent's. As `makeFull`. */
  makeEmpty(chunk: Chunk): void {
    void this.#run(chunk, async () => {
      const { movable, openFiles } = this.#store
      const fd =
        movable === null
          ? await openFiles.openFile(chunk, chunk.path, NEW)
          : await this.#build(chunk, async () => {})
      this.#appeared(chunk, ChunkState.EMPTY, fd)
    })
  }

  /**
   * After a failed truncation, which may have happened all the same: the chunk's state is what its
   * size says. It is released then, and `waiter` fails with `errno`.
   */
  lookAgain(chunk: Chunk, waiter: Waiter, errno: number): void {
    void this.#lookAgain(chunk, waiter, errno)
  }

  async #lookAgain(chunk: Chunk, waiter: Waiter, errno: number): Promise<void> {
    const { faults, files, flusher, geometry } = this.#store
    try {
      const { size } = await files.statusOf(chunk.fd)
      chunk.state = stateOfSize(size, geometry.chunkSize)
    } catch (error) {
      chunk.state = ChunkState.DAMAGED
      const { code } = error as NodeJS.ErrnoException
      const what = 'size unknown: the chunk is refused until the disk is opened again'
      faults.report(chunk.path, EIO, what, { code })
    }
    chunk.forgetUnmapped()
    flusher.chunkModified(chunk)
    if (chunk.state === ChunkState.EMPTY) chunk.checksums?.emptied()
    else chunk.checksums?.spoilt()
    this.#store.endExclusive(chunk, 0)
    waiter.wake(errno)
  }

  async #run(chunk: Chunk, work: () => Promise<void>): Promise<void> {
    this.#pending++
    let errno = 0
    try {
      const { movable, openFiles } = this.#store
      const isFree = chunk.state === ChunkState.ABSENT && !chunk.isBound
      if (isFree) await movable?.place(chunk)
      await openFiles.makeRoom()
      await work()
    } catch (error) {
      errno = changeErrno(error)
      const fields = { error: (error as Error).message }
      this.#store.faults.report(chunk.path, errno, 'chunk file cannot be created', fields)
      this.#forget(chunk)
    }
    this.#pending--
    this.#store.endExclusive(chunk, errno)
  }

  /** Unless its file may be there after a crash: elsewhere there would be a second one. */
  #forget(chunk: Chunk): void {
    if (chunk.state !== ChunkState.ABSENT) return
    if (chunk.isBound) {
      chunk.checksums?.unfilled()
      return
    }
    chunk.part.chunkCount--
    this.#store.top.chunks.delete(chunk.index)
    chunk.checksums?.abandon()
  }

  async #makeFull(chunk: Chunk, source: Chunk | null): Promise<void> {
    if (chunk.state === ChunkState.EMPTY) await this.#fillEmpty(chunk)
    else if (source === null) await this.#createFresh(chunk)
    else await this.#copyUp(chunk, source)
  }

  async #fillEmpty(chunk: Chunk): Promise<void> {
    const { openFiles } = this.#store
    if (chunk.fd < 0) openFiles.adopt(chunk, await openFiles.openExisting(chunk, O_RDWR))
    await this.#resize(chunk, chunk.fd)
    chunk.state = ChunkState.FULL
    this.#store.flusher.chunkModified(chunk)
  }

  async #createFresh(chunk: Chunk): Promise<void> {
    const { files, movable, openFiles } = this.#store
    if (movable !== null) {
      const fd = await this.#build(chunk, (each) => this.#resize(chunk, each))
      return this.#appeared(chunk, ChunkState.FULL, fd)
    }
    const fd = await openFiles.openFile(chunk, chunk.path, NEW)
    try {
      await this.#resize(chunk, fd)
    } catch (error) {
      chunk.isBound = true
      await files.close(fd).catch(() => {})
      // If it has to stay it is an empty chunk, which reads the same as none.
      await files.remove(chunk.path).catch(() => {
        chunk.state = ChunkState.EMPTY
        this.#store.flusher.partModified(chunk.part)
      })
      throw error
    }
    this.#appeared(chunk, ChunkState.FULL, fd)
  }

  /** Waits while many others copy. */
  async #copyUp(chunk: Chunk, source: Chunk): Promise<void> {
    if (this.#copies < COPIES_MAX) this.#copies++
    else await new Promise<void>((resolve) => this.#waiting.push(resolve))
    try {
      await this.#copyNow(chunk, source)
    } finally {
      const next = this.#waiting.shift()
      if (next === undefined) this.#copies--
      else next()
    }
  }

  async #copyNow(chunk: Chunk, source: Chunk): Promise<void> {
    await chunk.checksums?.beginFill()
    const fd = await this.#build(chunk, async (each) => {
      await this.#resize(chunk, each)
      await this.#copyWithSums(chunk, source, each)
      const sync = new AwaitedOperation()
      sync.fd = each
      orThrow(
        await sync.run((operation) => this.#store.files.sync(operation)),
        `syncing ${chunk.path}`,
      )
    })
    this.#appeared(chunk, ChunkState.FULL, fd)
  }

  /** Makes the file under another name and gives it its own when it is filled, and locked. */
  async #build(chunk: Chunk, fill: (fd: number) => Promise<void>): Promise<number> {
    const { files, movable, openFiles } = this.#store
    const temporary = chunk.part.temporaryPath(chunk.index)
    const fd = await openFiles.openFile(chunk, temporary, O_RDWR | O_CREAT | O_TRUNC)
    try {
      await fill(fd)
      await movable?.lockNew(fd)
      // A rename that fails may have happened.
      chunk.isBound = true
      await files.rename(temporary, chunk.path).catch(async (error: Error) => {
        if (!(await this.#isThere(chunk, fd))) throw error
      })
      return fd
    } catch (error) {
      await files.close(fd).catch(() => {})
      await files.remove(temporary).catch(() => {})
      throw error
    }
  }

  /** The chunk's name leads to the open file. */
  async #isThere(chunk: Chunk, fd: number): Promise<boolean> {
    const { files } = this.#store
    const opened = await files.statusOf(fd)
    const named = await files.status(chunk.path).catch(() => null)
    return named?.identity === opened.identity
  }

  async #copyWithSums(chunk: Chunk, source: Chunk, fd: number): Promise<void> {
    const { checksums, index } = chunk
    const target = checksums === null ? null : { path: checksums.file, index }
    const sums = await CopiedSums.begin(this.#store.files, source.checksums, target)
    try {
      await copyChunk(this.#store, source, { fd, path: chunk.path }, sums)
      await sums.finish()
      if (checksums !== null) this.#store.flusher.partModified(checksums.part)
    } finally {
      await sums.close()
    }
  }

  async #resize(chunk: Chunk, fd: number): Promise<void> {
    const truncate = new AwaitedOperation()
    truncate.fd = fd
    truncate.length = this.#store.geometry.chunkSize
    orThrow(await truncate.run((each) => this.#store.files.truncate(each)), `sizing ${chunk.path}`)
  }

  /**
   * What it holds is synced already, or zeros. It counts as written all the same: a flush sees
   * then whether somebody has deleted it, and the parent's data would show through.
   */
  #appeared(chunk: Chunk, state: ChunkState, fd: number): void {
    chunk.state = state
    chunk.checksums?.filled()
    this.#store.openFiles.adopt(chunk, fd)
    this.#store.flusher.chunkModified(chunk)
    this.#store.flusher.partModified(chunk.part)
  }
}
