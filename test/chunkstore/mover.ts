/** Moves chunk files between the parts of a disk that is served, as docs/format.md says. */
import fs from 'node:fs'
import { LockKind } from '../../io/io.ts'
import { type DiskFolder, nodeFiles } from '../helpers/chunk-disk.ts'
import type { Random } from '../helpers/random.ts'

export interface Move {
  /** Makes the copy; the chunk has both names then. */
  copy(): void
  /** Removes the first file if there is a copy, and gives the lock back. */
  end(): Promise<void>
}

export class Mover {
  readonly #folder: DiskFolder
  readonly #files = nodeFiles()

  constructor(folder: DiskFolder) {
    this.#folder = folder
  }

  /** Within a file system. @returns false: the server uses it */
  async rename(index: number, from: string, to: string): Promise<boolean> {
    const [source, target] = this.#paths(index, from, to)
    const fd = await this.#lock(source)
    if (fd < 0) return false
    fs.renameSync(source, target)
    await this.#files.close(fd)
    return true
  }

  /** As to another file system. @returns false: the server uses it */
  async copy(index: number, from: string, to: string): Promise<boolean> {
    const fd = await this.#lock(this.#paths(index, from, to)[0])
    if (fd < 0) return false
    this.#copyOver(index, from, to)
    fs.unlinkSync(this.#paths(index, from, to)[0])
    await this.#files.close(fd)
    return true
  }

  /** The same, step by step. */
  async begin(index: number, from: string, to: string): Promise<Move> {
    const [source, target] = this.#paths(index, from, to)
    const fd = await this.#lock(source)
    if (fd < 0) throw new Error(`${source} is in use`)
    return {
      copy: () => this.#copyOver(index, from, to),
      end: async () => {
        if (fs.existsSync(target)) fs.unlinkSync(source)
        await this.#files.close(fd)
      },
    }
  }

  /** Moves one chunk after the other, minding the quotas, until it is stopped. */
  run(random: Random, quotas: Readonly<Record<string, number>>): { stop(): Promise<number> } {
    const state = { isStopped: false }
    const work = async (): Promise<number> => {
      let moves = 0
      while (!state.isStopped) {
        const [from, to] = [random.pick(Object.keys(quotas)), random.pick(Object.keys(quotas))]
        const names = fs
          .readdirSync(this.#folder.path(from))
          .filter((name) => name.startsWith('chunk'))
        const hasRoom = fs.readdirSync(this.#folder.path(to)).length < quotas[to] - 4
        if (from !== to && hasRoom && names.length > 0) {
          const index = Number(random.pick(names).slice('chunk'.length))
          const isMoved = await (random.chance(0.5) ? this.rename : this.copy).call(
            this,
            index,
            from,
            to,
          )
          if (isMoved) moves++
        }
        await new Promise((go) => setTimeout(go, 1))
      }
      return moves
    }
    const done = work()
    return {
      stop: () => {
        state.isStopped = true
        return done
      },
    }
  }

  #paths(index: number, from: string, to: string): [string, string] {
    return [this.#folder.path(from, `chunk${index}`), this.#folder.path(to, `chunk${index}`)]
  }

  #copyOver(index: number, from: string, to: string): void {
    const [source, target] = this.#paths(index, from, to)
    fs.copyFileSync(source, `${target}.moving`)
    fs.renameSync(`${target}.moving`, target)
  }

  /** @returns -1: somebody uses the file */
  async #lock(file: string): Promise<number> {
    const fd = await this.#files.open(file, fs.constants.O_RDONLY)
    if (await this.#files.lock(fd, LockKind.EXCLUSIVE)) return fd
    await this.#files.close(fd)
    return -1
  }
}
