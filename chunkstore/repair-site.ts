/** A disk that is being repaired: its descriptor and the parts that are there, under the lock. */
import { type Files, LockKind } from '../io/io.ts'
import type { Descriptor, PartLine } from './descriptor.ts'
import { DescriptorFile, lockOne } from './descriptor-file.ts'
import { DiskError } from './disk-error.ts'
import { Part, type PartContents } from './part.ts'
import type { PathMap } from './path-map.ts'

export interface SitePart {
  readonly line: PartLine
  readonly part: Part
  readonly contents: PartContents
}

export class RepairSite {
  readonly parts: SitePart[] = []
  /** Directories that do not exist. */
  readonly missing: PartLine[] = []
  readonly #source: DescriptorFile

  /** @throws DiskError EDESCRIPTOR; EINUSE if somebody else uses the disk */
  static async open(files: Files, file: string, paths: PathMap): Promise<RepairSite> {
    const site = new RepairSite(await DescriptorFile.open(files, file, paths))
    try {
      await site.#lock(files)
    } catch (error) {
      await site.close(files)
      throw error
    }
    return site
  }

  private constructor(source: DescriptorFile) {
    this.#source = source
  }

  get descriptor(): Descriptor {
    return this.#source.descriptor
  }

  /** Parts whose contents are not known: missing, or not to be read. */
  get unseenCount(): number {
    return this.descriptor.parts.length - this.parts.length
  }

  async #lock(files: Files): Promise<void> {
    await this.#source.lock(files, LockKind.EXCLUSIVE)
    const { geometry, parts } = this.descriptor
    const seen = new Set<string>()
    for (const line of parts) {
      const part = new Part(line.directory, line.chunksMax)
      if (!(await this.#openPart(files, line, part))) continue
      this.parts.push({ line, part, contents: NOTHING })
      // A directory that is named twice is ours already; the check tells of it.
      if (seen.has(part.identity)) continue
      seen.add(part.identity)
      await lockOne(files, part.fd, part.directory, LockKind.EXCLUSIVE)
    }
    await this.#source.verify(files)
    for (const [index, each] of this.parts.entries()) {
      const contents = await each.part.scan(files, geometry.chunkCount)
      this.parts[index] = { ...each, contents }
    }
  }

  async #openPart(files: Files, line: PartLine, part: Part): Promise<boolean> {
    try {
      await part.open(files)
      return true
    } catch (error) {
      if (!(error instanceof DiskError)) throw error
      if (await isAbsent(files, line.directory)) this.missing.push(line)
      return false
    }
  }

  /** @returns a part behind `line` in the descriptor that holds chunk files, or null */
  laterPartWithChunks(line: PartLine): Part | null {
    const order = this.descriptor.parts
    const later = this.parts.find(
      (each) => order.indexOf(each.line) > order.indexOf(line) && each.contents.chunks.length > 0,
    )
    return later?.part ?? null
  }

  async close(files: Files): Promise<void> {
    const closing = this.parts.map(({ part }) => part.close(files))
    await Promise.allSettled([...closing, this.#source.close(files)])
  }
}

const NOTHING: PartContents = {
  chunks: [],
  temporaries: [],
  orphans: [],
  hasLockFile: false,
  hasMarks: false,
  checksumFiles: [],
}

async function isAbsent(files: Files, directory: string): Promise<boolean> {
  return files.status(directory).then(
    () => false,
    (error: NodeJS.ErrnoException) => error.code === 'ENOENT',
  )
}
