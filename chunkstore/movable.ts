/**
 * Chunk files of the written layer that another program moves between the parts while the disk is
 * served. An open file has a shared lock; who moves one holds it exclusively from before it looks
 * until the file has its new name only (docs/format.md). So a file is
 *
 *   where it was        open it, lock it, see that the name still leads to it
 *   locked by others    wait, it is being moved
 *   gone                look into every part: one has it ─▶ that is its place now
 *                                             none, or two ─▶ in the middle of a move, wait
 */
import { type Files, LockKind } from '../io/io.ts'
import { scanChain } from './chain.ts'
import type { Chunk } from './chunk.ts'
import { DiskError } from './disk-error.ts'
import type { Layer } from './layer.ts'
import {
  MOVE_LOCKED_MS_MAX,
  MOVE_RECOUNT_MS,
  MOVE_SEEN_MS_MAX,
  MOVE_WAIT_MS_MAX,
  MOVE_WAIT_MS_MIN,
} from './limits.ts'
import type { Log } from './options.ts'
import type { Part } from './part.ts'

/** Why a file cannot be had yet, and for how long that is bearable. */
interface Obstacle {
  readonly why: string
  readonly limitMs: number
}

export class Movable {
  readonly #files: Files
  readonly #layer: Layer
  readonly #log: Log
  #recountedAt = -Infinity
  #recounting: Promise<void> | null = null

  constructor(files: Files, layer: Layer, log: Log) {
    this.#files = files
    this.#layer = layer
    this.#log = log
  }

  /**
   * Opens the file of a chunk that nobody else is opening, wherever it is now, and locks it.
   * @param open opens it at the place the chunk is thought to be
   * @throws Node's error; EBUSY if it is moved for too long or cannot be found
   */
  async open(chunk: Chunk, open: () => Promise<number>): Promise<number> {
    const start = performance.now()
    for (let wait = MOVE_WAIT_MS_MIN; ; wait = Math.min(2 * wait, MOVE_WAIT_MS_MAX)) {
      const result = await this.#try(chunk, open)
      if (typeof result === 'number') return result
      if (performance.now() - start > result.limitMs) {
        throw Object.assign(new Error(`${chunk.path} ${result.why}`), { code: 'EBUSY' })
      }
      await pause(wait)
    }
  }

  async #try(chunk: Chunk, open: () => Promise<number>): Promise<number | Obstacle> {
    let fd: number
    try {
      fd = await open()
    } catch (error) {
      if ((error as NodeJS.ErrnoException).code !== 'ENOENT') throw error
      return this.#find(chunk)
    }
    let isLocked = false
    let isHere = false
    try {
      isLocked = await this.#files.lock(fd, LockKind.SHARED)
      isHere = isLocked && (await this.#isAt(chunk.path, fd))
    } catch (error) {
      await this.#files.close(fd).catch(() => {})
      throw error
    }
    if (isHere) return fd
    await this.#files.close(fd)
    if (isLocked) return this.#find(chunk)
    return { why: 'is locked: it is being moved', limitMs: MOVE_LOCKED_MS_MAX }
  }

  /** A new file, that nobody else knows of yet. */
  async lockNew(fd: number): Promise<void> {
    await this.#files.lock(fd, LockKind.SHARED)
  }

  async #isAt(path: string, fd: number): Promise<boolean> {
    try {
      const { identity } = await this.#files.status(path)
      return identity === (await this.#files.statusOf(fd)).identity
    } catch (error) {
      if ((error as NodeJS.ErrnoException).code === 'ENOENT') return false
      throw error
    }
  }

  async #find(chunk: Chunk): Promise<Obstacle> {
    const places: { part: Part; name: string }[] = []
    const { parts, descriptor } = this.#layer
    for (const part of parts) {
      const names = await part.chunkNames(this.#files, descriptor.geometry.chunkCount)
      for (const { index, name } of names) if (index === chunk.index) places.push({ part, name })
    }
    const limitMs = MOVE_SEEN_MS_MAX
    if (places.length === 0) return { why: 'is in no part of the disk', limitMs }
    if (places.length > 1) {
      return { why: `is in ${places.map(({ part }) => part.directory).join(' and ')}`, limitMs }
    }
    const [{ part, name }] = places
    this.#moved(chunk, part, name)
    return { why: 'is moved all the time', limitMs }
  }

  #moved(chunk: Chunk, part: Part, name: string): void {
    const from = chunk.path
    chunk.part.chunkCount--
    part.chunkCount++
    chunk.part = part
    part.setName(chunk.index, name)
    this.#log.info({ from, to: chunk.path }, 'a chunk file was moved')
  }

  /** Chooses the part of a chunk that is about to be made, by what the parts hold now. */
  async place(chunk: Chunk): Promise<void> {
    if (performance.now() - this.#recountedAt > MOVE_RECOUNT_MS) {
      this.#recounting ??= this.#recount().finally(() => (this.#recounting = null))
      await this.#recounting
    }
    chunk.part.chunkCount--
    chunk.part = this.#layer.partWithRoom() ?? chunk.part
    chunk.part.chunkCount++
  }

  async #recount(): Promise<void> {
    const { parts, chunks, descriptor } = this.#layer
    const seen = new Map<number, { part: Part; name: string }>()
    const counts = new Map<Part, number>()
    for (const part of parts) {
      const names = await part.chunkNames(this.#files, descriptor.geometry.chunkCount)
      counts.set(part, names.length)
      for (const { index, name } of names) {
        // In two parts: in the middle of a move, it stays known where it was.
        const place = seen.has(index) ? chunks.get(index)?.part : part
        if (place !== undefined) seen.set(index, { part: place, name })
      }
    }
    for (const chunk of chunks.values()) {
      const place = seen.get(chunk.index)
      if (place === undefined) {
        // About to be made, or made since the directory was read.
        counts.set(chunk.part, (counts.get(chunk.part) ?? 0) + 1)
      } else if (place.part !== chunk.part) {
        this.#moved(chunk, place.part, place.name)
      }
    }
    for (const [part, count] of counts) part.chunkCount = count
    this.#recountedAt = performance.now()
  }
}

/**
 * As `scanChain` for a writer, until the chunk files of the first layer stay where they were seen:
 * one that is moved meanwhile could be missed in both places.
 * @throws DiskError
 */
export async function scanMoving(files: Files, layers: readonly Layer[]): Promise<void> {
  const [layer] = layers
  const start = performance.now()
  for (;;) {
    let problem: DiskError
    try {
      await scanChain(files, layers, 1)
      if (await isAsScanned(files, layer)) return
      const what = 'chunk files are moved all the time; let that program wait'
      problem = new DiskError('EPART', `${layer.descriptor.file}: ${what}`)
    } catch (error) {
      if (!(error instanceof DiskError) || error.code !== 'EPART') throw error
      problem = error
    }
    if (performance.now() - start > MOVE_SEEN_MS_MAX) throw problem
    await pause(MOVE_WAIT_MS_MAX)
  }
}

async function isAsScanned(files: Files, layer: Layer): Promise<boolean> {
  let count = 0
  for (const part of layer.parts) {
    for (const { index } of await part.chunkNames(files, layer.descriptor.geometry.chunkCount)) {
      if (layer.chunks.get(index)?.part !== part) return false
      count++
    }
  }
  return count === layer.chunks.size
}

function pause(milliseconds: number): Promise<void> {
  return new Promise((resolve) => setTimeout(resolve, milliseconds))
}
