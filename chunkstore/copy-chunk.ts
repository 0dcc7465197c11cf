/** Copies the data of a parent's chunk into a new file, while requests go on. */
import { fileError } from './awaited-operation.ts'
import { type Chunk, ChunkState } from './chunk.ts'
import type { CopiedSums } from './checksums/copied-sums.ts'
import { copyData, damaged, type OpenFile } from './copy-data.ts'
import type { Store } from './store.ts'

/** @param target the new file, of the chunk size, all hole */
export async function copyChunk(
  store: Store,
  source: Chunk,
  target: OpenFile,
  sums: CopiedSums,
): Promise<void> {
  if (source.state !== ChunkState.FULL) throw damaged(source.path)
  await pinOpen(store, source)
  try {
    await copyData(store.files, source, target, store.geometry.chunkSize, sums)
  } finally {
    source.pins--
  }
}

/** Opens the file if need be and keeps it open until the pin is taken back. */
export async function pinOpen(store: Store, source: Chunk): Promise<void> {
  while (source.fd < 0) {
    const errno = await new Promise<number>((resolve) => {
      source.waiting.push({ mutates: false, wake: resolve })
      if (!source.opening) store.openFiles.open(source)
    })
    if (errno > 0) throw fileError(`opening ${source.path}`, errno)
  }
  source.pins++
}
