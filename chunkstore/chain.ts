/**
 * Opens a disk's layers, from the descriptor that was named up to its last ancestor, and holds
 * them to the rules that concern more than one: equal sizes, no loop, no directory used twice.
 */
import { type Files, LockKind } from '../io/io.ts'
import { DiskError } from './disk-error.ts'
import { Layer } from './layer.ts'
import { CHAIN_DEPTH_MAX } from './limits.ts'
import { LockAccess } from './lock-file.ts'
import { DEFAULT_OPTIONS } from './options.ts'
import type { PartContents } from './part.ts'
import { type LockFileOptions, takeLockFile } from './part-lock.ts'
import type { PathMap } from './path-map.ts'
import { statusOf } from './status-of.ts'

/** How the first layer is opened; the others are read and shared. */
export const ChainMode = {
  /** One writer, nobody else. */
  WRITE: 'write',
  /** As WRITE, and its parent is written as well (`commit`). */
  MERGE: 'merge',
  /** Any number of readers, no writer. */
  READ: 'read',
  /** Looks without a lock: what it sees may change meanwhile (`info`, `check`). */
  LOOK: 'look',
} as const
export type ChainMode = (typeof ChainMode)[keyof typeof ChainMode]

const NO_LOCK_FILES: LockFileOptions = { make: false, log: DEFAULT_OPTIONS.log }

/**
 * @returns the layers, the written one first. The caller closes them.
 * @throws DiskError
 */
export async function openChain(
  files: Files,
  file: string,
  mode: ChainMode,
  paths: PathMap,
  lockFiles = NO_LOCK_FILES,
): Promise<Layer[]> {
  const layers: Layer[] = []
  try {
    for (let next: string | null = file; next !== null;) {
      const layer: Layer = await openNext(files, next, layers, paths)
      layers.push(layer)
      // Before its locks: a directory that is locked already would seem to be somebody else's.
      checkPartsDiffer(layers)
      if (mode !== ChainMode.LOOK) {
        await lockLayer(files, layer, layers.length <= WRITTEN[mode], lockFiles)
      }
      next = layer.descriptor.parent
    }
    return layers
  } catch (error) {
    await closeChain(files, layers)
    throw error
  }
}

async function openNext(
  files: Files,
  file: string,
  below: readonly Layer[],
  paths: PathMap,
): Promise<Layer> {
  const child = below.at(-1)
  const role = child === undefined ? '' : `parent of ${child.descriptor.file}: `
  let layer: Layer
  try {
    layer = await Layer.open(files, file, paths)
  } catch (error) {
    if (!(error instanceof DiskError)) throw error
    if (child === undefined) throw error
    const isLost = (await statusOf(files, file).catch(() => undefined)) === null
    const fix = isLost ? `; put it back, or name its place in ${child.descriptor.file}` : ''
    throw new DiskError(error.code, role + error.message + fix)
  }
  const problem = misfit(layer, below)
  if (problem === null) return layer
  await layer.close(files)
  throw new DiskError('ECHAIN', `${role}${file}: ${problem}`)
}

function misfit(layer: Layer, below: readonly Layer[]): string | null {
  const child = below.at(-1)
  if (child === undefined) return null
  if (below.some((other) => other.identity === layer.identity)) {
    return 'the chain of parents comes back to this file'
  }
  if (below.length >= CHAIN_DEPTH_MAX) return `the chain is deeper than ${CHAIN_DEPTH_MAX}`
  const ours = layer.descriptor.geometry
  const theirs = child.descriptor.geometry
  if (ours.diskSize !== theirs.diskSize) {
    return `its disk size ${ours.diskSize} differs from the child's ${theirs.diskSize}`
  }
  if (ours.chunkSize !== theirs.chunkSize) {
    return `its chunk size ${ours.chunkSize} differs from the child's ${theirs.chunkSize}`
  }
  return null
}

/** How many layers each mode writes. */
const WRITTEN: Readonly<Record<ChainMode, number>> = { write: 1, merge: 2, read: 0, look: 0 }

async function lockLayer(
  files: Files,
  layer: Layer,
  isWritten: boolean,
  lockFiles: LockFileOptions,
): Promise<void> {
  await layer.lock(files, isWritten ? LockKind.EXCLUSIVE : LockKind.SHARED)
  const access = isWritten ? LockAccess.WRITE : LockAccess.READ
  for (const part of layer.parts) await takeLockFile(files, part, access, lockFiles)
}

function checkPartsDiffer(layers: readonly Layer[]): void {
  const seen = new Map<string, string>()
  for (const layer of layers) {
    for (const part of layer.parts) {
      const twin = seen.get(part.identity)
      if (twin !== undefined) {
        const twice = twin === part.directory ? twin : `${twin} and ${part.directory}`
        throw new DiskError('ECHAIN', `part directory used twice: ${twice}`)
      }
      seen.set(part.identity, part.directory)
    }
  }
}

/**
 * Reads all directories. A writer also clears what a crash left behind.
 * @param written how many layers, from the first, this process writes
 */
export async function scanChain(
  files: Files,
  layers: readonly Layer[],
  written: number,
): Promise<void> {
  for (const [depth, layer] of layers.entries()) {
    const contents = await layer.scan(files)
    const writable = depth < written
    await layer.openChecksums(files, contents, writable)
    if (writable) await removeTemporaries(files, layer, contents)
  }
}

/** Under the writer's lock nobody else can be using a temporary file. */
async function removeTemporaries(
  files: Files,
  layer: Layer,
  contents: readonly PartContents[],
): Promise<void> {
  for (const [index, part] of layer.parts.entries()) {
    for (const name of contents[index].temporaries) await files.remove(`${part.directory}/${name}`)
  }
}

export async function closeChain(files: Files, layers: readonly Layer[]): Promise<void> {
  for (const layer of layers) await layer.close(files)
}
