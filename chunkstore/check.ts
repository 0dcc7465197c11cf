/**
 * Holds a disk's files to every rule of the layout and reports all that break one. Changes
 * nothing and needs no lock; while a writer is at work its temporary files are no finding.
 */
import path from 'node:path'
import { type Files, LockKind } from '../io/io.ts'
import { ChunkState } from './chunk.ts'
import type { Descriptor } from './descriptor.ts'
import { readDescriptor } from './descriptor-file.ts'
import { DiskError } from './disk-error.ts'
import { stateOf } from './layer.ts'
import { CHAIN_DEPTH_MAX } from './limits.ts'
import { type FoundChunk, Part } from './part.ts'

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
} as const
export type Rule = (typeof Rule)[keyof typeof Rule]

export interface Finding {
  readonly rule: Rule
  /** The file or directory it is about. */
  readonly file: string
  readonly message: string
}

/**
 * @param isLocked the caller holds the writer's lock: a temporary file is nobody's
 * @returns what breaks a rule, in the order of the chain; empty: all is well
 */
export async function checkDisk(files: Files, file: string, isLocked = false): Promise<Finding[]> {
  const findings: Finding[] = []
  const directories = new Map<string, string>()
  let child: Descriptor | null = null
  const visited = new Set<string>()
  for (let next: string | null = path.resolve(file); next !== null;) {
    const descriptor = await checkDescriptor(files, next, child, visited, findings)
    if (descriptor === null) break
    await checkParts(files, descriptor, directories, findings, isLocked && child === null)
    child = descriptor
    next = descriptor.parent
  }
  return findings
}

async function checkDescriptor(
  files: Files,
  file: string,
  child: Descriptor | null,
  visited: Set<string>,
  findings: Finding[],
): Promise<Descriptor | null> {
  const add = (rule: Rule, message: string): null => {
    findings.push({ rule, file, message })
    return null
  }
  let descriptor: Descriptor
  try {
    descriptor = await readDescriptor(files, file)
  } catch (error) {
    if (!(error instanceof DiskError)) throw error
    return add(child === null ? Rule.DESCRIPTOR : Rule.PARENT, error.message)
  }
  const { identity } = await files.status(file)
  if (visited.has(identity)) return add(Rule.PARENT, 'the chain of parents comes back to this file')
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

async function checkParts(
  files: Files,
  descriptor: Descriptor,
  directories: Map<string, string>,
  findings: Finding[],
  isLocked: boolean,
): Promise<void> {
  const state: LayerState = { seen: new Map(), findings, isLocked }
  for (const line of descriptor.parts) {
    const part = new Part(line.directory, line.chunksMax)
    try {
      await part.open(files)
    } catch (error) {
      if (!(error instanceof DiskError)) throw error
      findings.push({ rule: Rule.PART, file: line.directory, message: error.message })
      continue
    }
    try {
      const twin = directories.get(part.identity)
      if (twin !== undefined) {
        const message = `the same directory is already a part: ${twin}`
        findings.push({ rule: Rule.DUPLICATE_PART, file: line.directory, message })
        continue
      }
      directories.set(part.identity, line.directory)
      await checkPart(files, part, descriptor, state)
    } finally {
      await part.close(files)
    }
  }
}

interface LayerState {
  /** Where each chunk was seen first. */
  readonly seen: Map<number, string>
  readonly findings: Finding[]
  readonly isLocked: boolean
}

async function checkPart(
  files: Files,
  part: Part,
  descriptor: Descriptor,
  { seen, findings, isLocked }: LayerState,
): Promise<void> {
  const { geometry } = descriptor
  const contents = await part.scan(files, geometry.chunkCount)
  const add = (rule: Rule, name: string, message: string): void => {
    findings.push({ rule, file: path.join(part.directory, name), message })
  }
  for (const chunk of contents.chunks) {
    const twin = seen.get(chunk.index)
    if (twin !== undefined) add(Rule.DUPLICATE_CHUNK, chunk.name, `the same chunk is at ${twin}`)
    else seen.set(chunk.index, path.join(part.directory, chunk.name))
    const problem = sizeProblem(chunk, geometry.chunkSize)
    if (problem !== null) add(Rule.WRONG_SIZE, chunk.name, problem)
  }
  if (contents.chunks.length > part.chunksMax) {
    const count = `${contents.chunks.length} chunk files, the quota is ${part.chunksMax}`
    add(Rule.TOO_MANY, '', count)
  }
  for (const name of contents.orphans) {
    add(Rule.ORPHAN, name, `the disk has only ${geometry.chunkCount} chunks`)
  }
  if (contents.temporaries.length === 0) return
  if (!isLocked && (await hasWriter(files, part))) return
  for (const name of contents.temporaries) {
    add(Rule.TEMPORARY, name, 'left by a crash; the next writer removes it')
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
