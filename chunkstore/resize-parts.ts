/** The part directories of a disk that gets another size: room for every chunk, and new ones. */
import path from 'node:path'
import { type Files, LockKind } from '../io/io.ts'
import { MarkFile } from './checksums/mark-file.ts'
import { lockOne } from './descriptor-file.ts'
import { requireDirectPart } from './direct.ts'
import { DiskError } from './disk-error.ts'
import { makeDurableDirectory, syncDirectory } from './durable-directory.ts'
import { type Layer, preparePart } from './layer.ts'
import { LockAccess } from './lock-file.ts'
import { CACHE_TRAITS } from './options.ts'
import { Part } from './part.ts'
import { takeLockFile } from './part-lock.ts'
import type { PathMap } from './path-map.ts'
import { userOfPart } from './siblings.ts'
import type { Store } from './store.ts'

export interface PartRequest {
  /** Absolute. */
  readonly directory: string
  /** In the descriptor it shall be written relative to that. */
  readonly isRelative: boolean
  /** Most chunk files it may hold; null: every chunk of the disk. */
  readonly chunksMax: number | null
}

export interface PlannedParts {
  /** Most chunk files of each part there is, in the descriptor's order. */
  readonly chunksMax: readonly number[]
  readonly added: readonly AddedPart[]
}

export interface AddedPart {
  readonly directory: string
  readonly written: string
  readonly chunksMax: number
}

/**
 * A part that had room for every chunk keeps that: its number says that there is no limit.
 * @throws DiskError EPART, with the fix
 */
export async function planParts(
  { files, top: layer, options }: Store,
  chunkCount: number,
  requests: readonly PartRequest[],
): Promise<PlannedParts> {
  const before = layer.descriptor.geometry.chunkCount
  const chunksMax = layer.parts.map((part) =>
    part.chunksMax >= before ? Math.max(part.chunksMax, chunkCount) : part.chunksMax,
  )
  const added: AddedPart[] = []
  for (const request of requests) {
    const wanted = request.chunksMax ?? chunkCount
    const index = await indexOf(files, layer, request.directory)
    if (index < 0)
      added.push({
        ...request,
        written: describe(layer, request, options.paths),
        chunksMax: wanted,
      })
    else chunksMax[index] = checkedNumber(layer.parts[index], wanted)
  }
  const room = [...chunksMax, ...added.map((part) => part.chunksMax)].reduce(
    (sum, max) => sum + max,
  )
  if (room >= chunkCount) return { chunksMax, added }
  const { file } = layer.descriptor
  const need = `${file}: the disk would have ${chunkCount} chunks, its parts hold ${room}`
  const fix = '--part DIR:MAX_CHUNKS raises the number of a part, or adds one'
  throw new DiskError('EPART', `${need}; ${fix}`)
}

/** @returns -1: it is none of the layer's parts */
async function indexOf(files: Files, layer: Layer, directory: string): Promise<number> {
  const named = layer.parts.findIndex((part) => part.directory === directory)
  if (named >= 0) return named
  const identity = await files.status(directory).then(
    (status) => status.identity,
    () => '',
  )
  return layer.parts.findIndex((part) => part.identity === identity)
}

function checkedNumber(part: Part, chunksMax: number): number {
  if (part.chunkCount <= chunksMax) return chunksMax
  const count = `${part.chunkCount} chunk files, more than ${chunksMax}`
  throw new DiskError('EPART', `part ${part.directory} holds ${count}; give a higher number`)
}

/** @returns the path as it is written in the descriptor */
function describe(layer: Layer, { directory, isRelative }: PartRequest, paths: PathMap): string {
  if (/[\r\n]/.test(directory)) {
    throw new DiskError('EPART', `part ${JSON.stringify(directory)} has a line break; rename it`)
  }
  const mapped = paths.write(directory)
  if (mapped !== null) return mapped
  const folder = path.dirname(layer.descriptor.file)
  return isRelative ? path.relative(folder, directory) || '.' : directory
}

/**
 * Makes the directories, opens and locks them.
 * @returns parts the caller has to close, or give to the layer
 * @throws DiskError EPART, EINUSE, EDIRECT
 */
export async function openParts(
  { files, options, top, geometry }: Store,
  added: readonly AddedPart[],
): Promise<Part[]> {
  const parts: Part[] = []
  const lockFiles = { make: options.lockFiles, log: options.log }
  try {
    for (const { directory, chunksMax } of added) {
      await makeDurableDirectory(files, directory).catch((error: Error) => {
        throw new DiskError('EPART', `part ${directory} cannot be made: ${error.message}`)
      })
      const part = new Part(directory, chunksMax)
      parts.push(part)
      await part.open(files)
      // Also where a run that was interrupted has made it.
      await syncDirectory(files, path.dirname(directory))
      if (parts.some((other) => other !== part && other.identity === part.identity)) {
        throw new DiskError('EPART', `part directory given twice: ${directory}; give it once`)
      }
      await lockOne(files, part.fd, directory, LockKind.EXCLUSIVE)
      await takeLockFile(files, part, LockAccess.WRITE, lockFiles)
      await refuseContents(files, part)
      await refuseShared(files, top, part, options.paths)
      if (top.checksums !== null) await MarkFile.provide(files, directory, geometry.chunkSize)
      await preparePart(files, part)
      if (CACHE_TRAITS[options.cacheMode].direct) requireDirectPart(part)
    }
    return parts
  } catch (error) {
    await closeParts(files, parts)
    throw error
  }
}

async function refuseContents(files: Files, part: Part): Promise<void> {
  const { chunks, orphans } = await part.scan(files, 0)
  if (chunks.length + orphans.length === 0) return
  const why = 'belongs to some other disk; choose an empty directory'
  throw new DiskError('EPART', `part ${part.directory} ${why}`)
}

/** It may hold no chunk yet. Only disks beside this one are found. */
async function refuseShared(files: Files, top: Layer, part: Part, paths: PathMap): Promise<void> {
  const folder = path.dirname(top.descriptor.file)
  const user = await userOfPart(files, folder, part.identity, paths)
  if (user === null) return
  const why = `belongs to the disk ${user}; choose another directory`
  throw new DiskError('EPART', `part ${part.directory} ${why}`)
}

export async function closeParts(files: Files, parts: readonly Part[]): Promise<void> {
  await Promise.allSettled(parts.map((part) => part.close(files)))
}
