/**
 * Makes a disk independent of its parents: what shows through is copied into its own parts, then
 * its descriptor is written anew without the parent. Until that last step, which is atomic, the
 * chain is as it was, with more chunks in the child; so it reads the same at every moment, and
 * one that was interrupted is finished by running it again.
 */
import path from 'node:path'
import type { Files } from '../io/io.ts'
import { ChainMode, closeChain, openChain, scanChain } from './chain.ts'
import { CopiedSums } from './checksums/copied-sums.ts'
import { markChunks, unmarkChunks } from './checksums/moved-sums.ts'
import { Chunk, ChunkState } from './chunk.ts'
import { withoutParent } from './descriptor.ts'
import { DiskError } from './disk-error.ts'
import type { Layer } from './layer.ts'
import { PathMap } from './path-map.ts'
import { placeCopy, syncNames } from './place-copy.ts'

export interface FlattenResult {
  /** The disk's descriptor. */
  readonly file: string
  /** Descriptor of the parent it had. */
  readonly parent: string
  /** Chunk files that were copied from any ancestor. */
  readonly copied: number
}

/**
 * @param file path of the descriptor
 * @throws DiskError ECHAIN, EINUSE, EPART, EDESCRIPTOR; nothing has changed then
 */
export async function flattenDisk(
  files: Files,
  file: string,
  paths = PathMap.NONE,
): Promise<FlattenResult> {
  const layers = await openChain(files, path.resolve(file), ChainMode.WRITE, paths)
  try {
    const [child, parent] = layers
    if (parent === undefined) {
      const what = 'it has no parent, it is independent already'
      throw new DiskError('ECHAIN', `${child.descriptor.file}: ${what}`)
    }
    await scanChain(files, layers, 1)
    await child.prepareWriting(files)
    await child.settleNames(files)
    const wanted = showingThrough(layers)
    const indexes = wanted.map((chunk) => chunk.index)
    if (child.checksums !== null) await markChunks(child.checksums, indexes)
    for (const source of wanted) await copyDown(files, source, child)
    await syncNames(files, child.parts)
    if (child.checksums !== null) await unmarkChunks(child.checksums, indexes)
    await files.replaceText(child.descriptor.file, withoutParent(child.text))
    return {
      file: child.descriptor.file,
      parent: parent.descriptor.file,
      copied: wanted.length,
    }
  } finally {
    await closeChain(files, layers)
  }
}

/** The ancestors' chunks with data that the child does not hide, in ascending order. */
function showingThrough([child, ...ancestors]: readonly Layer[]): Chunk[] {
  const found = new Map<number, Chunk>()
  for (const ancestor of ancestors) {
    for (const chunk of ancestor.chunks.values()) {
      if (!child.chunks.has(chunk.index) && !found.has(chunk.index)) found.set(chunk.index, chunk)
    }
  }
  const wanted = [...found.values()].filter((chunk) => chunk.state !== ChunkState.EMPTY)
  const broken = wanted.find((chunk) => chunk.state === ChunkState.DAMAGED)
  if (broken === undefined) return wanted.sort((a, b) => a.index - b.index)
  throw new DiskError('EPART', `${broken.path} is damaged; "chunknbd check" says how`)
}

async function copyDown(files: Files, source: Chunk, child: Layer): Promise<void> {
  const part = child.partWithRoom()
  if (part === null) throw new DiskError('EPART', `${child.descriptor.file}: no part has room`)
  const { chunkSize } = child.descriptor.geometry
  const { index } = source
  const target = child.checksums === null ? null : { path: part.checksumPath(index), index }
  const sums = await CopiedSums.begin(files, source.checksums, target)
  await placeCopy(files, source.path, part, index, chunkSize, sums)
  part.chunkCount++
  child.chunks.set(source.index, new Chunk(source.index, part, ChunkState.FULL))
}
