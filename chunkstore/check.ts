/**
 * Holds a disk's files to every rule of the layout and reports all that break one. Changes
 * nothing and needs no lock; while a writer is at work its temporary files are no finding.
 */
import path from 'node:path'
import { type Files, LockKind } from '../io/io.ts'
import { checksumProblems, orphanSums } from './checksums/checksum-problems.ts'
import { ChunkState } from './chunk.ts'
import type { Descriptor } from './descriptor.ts'
import { readDescriptor } from './descriptor-file.ts'
import { DiskError } from './disk-error.ts'
import { stateOf } from './layer.ts'
import { CHAIN_DEPTH_MAX } from './limits.ts'
import { checksumName, type FoundChunk, Part, type PartContents } from './part.ts'
import { PathMap } from './path-map.ts'

export const Rule = {
  DESCRIPTOR: 'descriptor',
  PARENT: 'parent-mismatch',
  PART: 'part',
  DUPLICATE_PART: 'duplicate-part',
  DUPLICATE_CHUNK: 'duplicate-chunk',
  WRONG_SIZE: 'wrong-size',
  TOO_MANY: 'too-many',
  ORPHAN: 'orphan',
  TEMPORARY: 'stale-temporary',
  /** Only `repair` minds it: those of a disk that is only read stay there for good. */
  FOREIGN_LOCK: 'foreign-lock',
  /** A lock file that a server of this machine left behind; only `repair` minds it. */
  STALE_LOCK: 'stale-lock',
  /** Breaks nothing; `repair` removes them if asked to. */
  EMPTY_CHUNK: 'empty-chunk',
  CHECKSUMS: 'checksums',
} as const
export type Rule = (typeof Rule)[keyof typeof Rule]

export interface Finding {
  readonly rule: Rule
  /** The file or directory it is about. */
  readonly file: string
  /** Descriptor of the disk of the chain that has it: the disk itself, or a parent. */
  readonly disk: string
  readonly message: string
}

export interface CheckOptions {
  /** The caller holds the writer's lock: a temporary file is nobody's. */
  readonly isLocked: boolean
  /** Paths that count as mended: files taken away, directories made. */
  readonly mended: ReadonlySet<string>
  readonly paths: PathMap
}

const DEFAULTS: CheckOptions = { isLocked: false, mended: new Set(), paths: PathMap.NONE }

/** @returns what breaks a rule, in the order of the chain; empty: all is well */
export async function checkDisk(
  files: Files,
  file: string,
  options: Partial<CheckOptions> = {},
): Promise<Finding[]> {
  const check = new Check(files, { ...DEFAULTS, ...options })
  let child: Descriptor | null = null
  for (let next: string | null = path.resolve(file); next !== null;) {
    const descriptor = await check.descriptor(next, child)
    if (descriptor === null) break
    await check.parts(descriptor, child === null)
    child = descriptor
    next = descriptor.parent
  }
  return check.findings
}

class Check {
  readonly findings: Finding[] = []
  readonly #files: Files
  readonly #options: CheckOptions
  /** By their identity. */
  readonly #descriptors = new Set<string>()
  readonly #directories = new Map<string, string>()

  constructor(files: Files, options: CheckOptions) {
    this.#files = files
    this.#options = options
  }

  async descriptor(file: string, child: Descriptor | null): Promise<Descriptor | null> {
    const add = (rule: Rule, message: string): null => {
      this.findings.push({ rule, file, disk: file, message })
      return null
    }
    let descriptor: Descriptor
    try {
      descriptor = await readDescriptor(this.#files, file, this.#options.paths)
    } catch (error) {
      if (!(error instanceof DiskError)) throw error
      return add(child === null ? Rule.DESCRIPTOR : Rule.PARENT, error.message)
    }
    const { identity } = await this.#files.status(file)
    const visited = this.#descriptors
    if (visited.has(identity)) {
      return add(Rule.PARENT, 'the chain of parents comes back to this file')
    }
    visited.add(identity)
    if (visited.size > CHAIN_DEPTH_MAX) {
      return add(Rule.PARENT, `the chain is deeper than ${CHAIN_DEPTH_MAX}`)
    }
    if (child === null) return descriptor
    const { diskSize, chunkSize } = descriptor.geometry
    if (diskSize !== child.geometry.diskSize || chunkSize !== child.geometry.chunkSize) {
      const theirs = `${child.file} has ${child.geometry.diskSize} and ${child.geometry.chunkSize}`
      add(Rule.PARENT, `disk and chunk size are ${diskSize} and ${chunkSize}, its child ${theirs}`)
    }
    return descriptor
  }

  /** @param isFirst of the disk itself, not of a parent */
  async parts(descriptor: Descriptor, isFirst: boolean): Promise<void> {
    const disk = descriptor.file
    const seen = new Map<number, string>()
    for (const { directory, chunksMax } of descriptor.parts) {
      const part = new Part(directory, chunksMax)
      try {
        await part.open(this.#files)
      } catch (error) {
        if (!(error instanceof DiskError)) throw error
        if (this.#options.mended.has(directory)) continue
        this.findings.push({ rule: Rule.PART, file: directory, disk, message: error.message })
        continue
      }
      try {
        const twin = this.#directories.get(part.identity)
        if (twin !== undefined) {
          const message = `the same directory is already a part: ${twin}`
          this.findings.push({ rule: Rule.DUPLICATE_PART, file: directory, disk, message })
          continue
        }
        this.#directories.set(part.identity, directory)
        await this.#part(part, descriptor, isFirst, seen)
      } finally {
        await part.close(this.#files)
      }
    }
  }

  /** @param seen where each chunk of the layer was first */
  async #part(
    part: Part,
    descriptor: Descriptor,
    isFirst: boolean,
    seen: Map<number, string>,
  ): Promise<void> {
    const { chunkSize, chunkCount } = descriptor.geometry
    const contents = await this.#scan(part, chunkCount)
    const { chunks, orphans, temporaries } = contents
    const add = (rule: Rule, name: string, message: string): void => {
      const file = path.join(part.directory, name)
      this.findings.push({ rule, file, disk: descriptor.file, message })
    }
    for (const chunk of chunks) {
      const twin = seen.get(chunk.index)
      if (twin !== undefined) add(Rule.DUPLICATE_CHUNK, chunk.name, `the same chunk is at ${twin}`)
      else seen.set(chunk.index, path.join(part.directory, chunk.name))
      const problem = sizeProblem(chunk, chunkSize)
      if (problem !== null) add(Rule.WRONG_SIZE, chunk.name, problem)
    }
    if (chunks.length > part.chunksMax) {
      add(Rule.TOO_MANY, '', `${chunks.length} chunk files, the quota is ${part.chunksMax}`)
    }
    for (const name of [...orphans, ...orphanSums(descriptor, contents)]) {
      add(Rule.ORPHAN, name, `the disk has only ${chunkCount} chunks`)
    }
    for (const { name, message } of await checksumProblems(
      this.#files,
      part,
      descriptor,
      contents,
    )) {
      add(Rule.CHECKSUMS, name, message)
    }
    if (temporaries.length === 0) return
    const isOurs = isFirst && this.#options.isLocked
    if (!isOurs && (await hasWriter(this.#files, part))) return
    for (const name of temporaries) {
      add(Rule.TEMPORARY, name, 'left by a crash; the next writer removes it')
    }
  }

  async #scan(part: Part, chunkCount: number): Promise<PartContents> {
    const { mended } = this.#options
    const contents = await part.scan(this.#files, chunkCount)
    const isThere = (name: string): boolean => !mended.has(path.join(part.directory, name))
    return {
      ...contents,
      chunks: contents.chunks.filter(({ name }) => isThere(name)),
      orphans: contents.orphans.filter(isThere),
      temporaries: contents.temporaries.filter(isThere),
      checksumFiles: contents.checksumFiles.filter((index) => isThere(checksumName(index))),
    }
  }
}

/** Where there are no locks nothing tells that a writer is at work. */
async function hasWriter(files: Files, part: Part): Promise<boolean> {
  const shared = await files.lock(part.fd, LockKind.SHARED).catch(() => true)
  return !shared
}

function sizeProblem(chunk: FoundChunk, chunkSize: number): string | null {
  if (stateOf(chunk, chunkSize) !== ChunkState.DAMAGED) return null
  if (!chunk.isFile) return 'it is not a file'
  return `it has ${chunk.size} bytes; a chunk has 0 or ${chunkSize}`
}
