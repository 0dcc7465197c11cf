/**
 * Where `repair` puts what it takes out of a part: a directory inside the part, so that a move is
 * one rename on one file system. Scans see nothing of it, and nothing in it is ever overwritten.
 */
import path from 'node:path'
import type { Files } from '../io/io.ts'
import { syncDirectory } from './durable-directory.ts'
import type { Part } from './part.ts'

const ASIDE_DIRECTORY = '.chunknbd-aside'

export class Aside {
  readonly directory: string
  readonly #files: Files
  readonly #part: Part
  /** Names that are taken; null: not looked yet. */
  #taken: Set<string> | null = null
  #isDurable = false

  constructor(files: Files, part: Part) {
    this.#files = files
    this.#part = part
    this.directory = path.join(part.directory, ASIDE_DIRECTORY)
  }

  /** @returns the path `move` would give the file; no later call returns it again */
  async reserve(name: string): Promise<string> {
    this.#taken ??= new Set(await this.#list())
    let free = name
    for (let count = 1; this.#taken.has(free); count++) free = `${name}.${count}`
    this.#taken.add(free)
    return path.join(this.directory, free)
  }

  /** Moves a file of the part. @returns its new path. Durable when it returns. */
  async move(name: string): Promise<string> {
    const to = await this.reserve(name)
    if (!this.#isDurable) {
      // Also where a run that was interrupted has made it.
      await this.#files.makeDirectory(this.directory)
      await syncDirectory(this.#files, this.#part.directory)
      this.#isDurable = true
    }
    await this.#files.rename(path.join(this.#part.directory, name), to)
    await syncDirectory(this.#files, this.directory)
    await syncDirectory(this.#files, this.#part.directory)
    return to
  }

  async #list(): Promise<string[]> {
    try {
      return await this.#files.list(this.directory)
    } catch (error) {
      if ((error as NodeJS.ErrnoException).code === 'ENOENT') return []
      throw error
    }
  }
}
