/**
 * Makes the checksums of a disk anew, from the data as it is: for a disk that got the line
 * `checksums crc32c` by hand, and where a person decided that the data is right, or lost for good.
 * The disk must not be served. It may be interrupted anywhere and run again.
 *
 *   all chunks get marks ─▶ checksum files removed ─▶ sums computed, saved, marks cleared
 *
 * From the first step on the disk is as after a crash: whoever opens it for writing goes on.
 */
import path from 'node:path'
import type { Files } from '../io/io.ts'
import { ChainMode, closeChain, openChain } from './chain.ts'
import { removeChecksumFile } from './checksums/checksum-file.ts'
import { MarkFile } from './checksums/mark-file.ts'
import { Marks } from './checksums/marks.ts'
import { REGION_BYTES } from './checksums/region.ts'
import { ChunkDisk } from './disk.ts'
import { DiskError } from './disk-error.ts'
import type { Layer } from './layer.ts'
import { REBUILD_PASSES_MAX } from './limits.ts'
import { ChecksumKind, type Log } from './options.ts'
import type { PathMap } from './path-map.ts'
import { syncNames } from './place-copy.ts'

export interface RebuildReport {
  /** Regions of the disk whose sums could not be made: their data cannot be read. */
  readonly left: number
}

/** @throws DiskError EINUSE if the disk is served; EDESCRIPTOR if it has no checksums */
export async function rebuildSums(
  files: Files,
  file: string,
  paths: PathMap,
  log: Log,
): Promise<RebuildReport> {
  const layers = await openChain(files, path.resolve(file), ChainMode.WRITE, paths)
  try {
    await doubtAll(files, layers[0])
  } finally {
    await closeChain(files, layers)
  }
  const disk = await ChunkDisk.open(files, file, { paths, log, settleMs: Infinity })
  try {
    // A region that cannot be read keeps its mark, however often it is tried.
    for (let pass = 0; disk.unsettled > 0 && pass < REBUILD_PASSES_MAX; pass++) await disk.settle()
    return { left: disk.unsettled }
  } finally {
    await disk.close()
  }
}

async function doubtAll(files: Files, layer: Layer): Promise<void> {
  const { descriptor, parts } = layer
  if (descriptor.checksums === ChecksumKind.NONE) {
    const fix = 'add the line "checksums crc32c" at its end to give it some'
    throw new DiskError('EDESCRIPTOR', `${descriptor.file} has no checksums; ${fix}`)
  }
  const contents = await layer.scan(files)
  const { chunkSize } = descriptor.geometry
  const markFiles: MarkFile[] = []
  try {
    for (const { directory } of parts) {
      markFiles.push(await openOrMake(files, directory, chunkSize))
    }
    for (const markFile of markFiles) await markFile.confirm()
    const marks = new Marks(markFiles, () => {})
    const perChunk = Math.ceil(chunkSize / REGION_BYTES)
    for (const index of layer.chunks.keys()) {
      const errno = await marks.wantNow(index * perChunk, perChunk)
      if (errno > 0) throw new DiskError('ESYNC', `${markFiles[0].file} cannot be written`)
    }
  } finally {
    await Promise.allSettled(markFiles.map((each) => each.close()))
  }
  for (const [at, { checksumFiles }] of contents.entries()) {
    for (const index of checksumFiles) {
      await removeChecksumFile(files, parts[at].checksumPath(index))
    }
  }
  await syncNames(files, parts)
}

/** One that is missing, damaged, or of another disk is made anew. */
async function openOrMake(files: Files, directory: string, chunkSize: number): Promise<MarkFile> {
  try {
    return await MarkFile.open(files, directory, chunkSize, true)
  } catch (error) {
    if (!(error instanceof DiskError)) throw error
    await files.remove(MarkFile.pathIn(directory)).catch(() => {})
    await MarkFile.create(files, directory, chunkSize)
    return MarkFile.open(files, directory, chunkSize, true)
  }
}
