/**
 * Finds out, before a disk is served, whether all its files can be used with O_DIRECT. Later it
 * would be an I/O error of the client's.
 *
 *   the written layer   a nameless file in each part: chunk files will be made there
 *   the others          a chunk file of each part: none will be made, and nothing is written there
 */
import fs from 'node:fs'
import type { Files } from '../io/io.ts'
import { AwaitedOperation, orThrow } from './awaited-operation.ts'
import { type Chunk, ChunkState } from './chunk.ts'
import { DiskError } from './disk-error.ts'
import type { Layer } from './layer.ts'
import { PAGE_SIZE } from './limits.ts'
import type { Part } from './part.ts'

const EINVAL = 22
const EOPNOTSUPP = 95

/** @throws DiskError EDIRECT that names the directory */
export async function requireDirect(files: Files, layers: readonly Layer[]): Promise<void> {
  for (const layer of layers) {
    for (const part of layer.parts) {
      const refusal = part.writable
        ? part.abilities.directRefusal
        : await tryChunks(files, part, layer.chunks.values())
      if (refusal !== '') throw refused(part, refusal)
    }
  }
}

/** For a part that is added to a disk in use. @throws DiskError EDIRECT */
export function requireDirectPart(part: Part): void {
  const { directRefusal } = part.abilities
  if (directRefusal !== '') throw refused(part, directRefusal)
}

function refused(part: Part, refusal: string): DiskError {
  const fix = 'serve the disk with --cache writeback or writethrough'
  const what = `O_DIRECT cannot be used in part directory ${part.directory}`
  return new DiskError('EDIRECT', `${what}: ${refusal}; ${fix}`)
}

/** @returns why one of the part's chunk files is refused, in words, or '' */
async function tryChunks(files: Files, part: Part, chunks: Iterable<Chunk>): Promise<string> {
  for (const chunk of chunks) {
    if (chunk.part !== part || chunk.state !== ChunkState.FULL) continue
    try {
      await tryChunk(files, chunk)
      return ''
    } catch (error) {
      const { errno, message } = error as NodeJS.ErrnoException
      if (errno === -EINVAL || errno === -EOPNOTSUPP) return `its file system refuses (${message})`
      // Whatever else is wrong with this one says nothing about the others.
    }
  }
  return ''
}

async function tryChunk(files: Files, chunk: Chunk): Promise<void> {
  const { O_RDONLY, O_DIRECT } = fs.constants
  const operation = new AwaitedOperation()
  operation.fd = await files.open(chunk.path, O_RDONLY | O_DIRECT)
  try {
    operation.buffer = files.memory(PAGE_SIZE)
    operation.length = PAGE_SIZE
    orThrow(await operation.run((each) => files.read(each)), `reading ${chunk.path}`)
  } finally {
    await files.close(operation.fd)
  }
}
