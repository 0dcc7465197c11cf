/** Finds what other disks have to do with a disk, among the descriptors beside it. */
import path from 'node:path'
import type { Files } from '../io/io.ts'
import type { Descriptor } from './descriptor.ts'
import { readDescriptor } from './descriptor-file.ts'
import { DiskError } from './disk-error.ts'
import type { Layer } from './layer.ts'
import type { PathMap } from './path-map.ts'

/** @returns descriptors, other than the child's, whose parent this is; others may be elsewhere */
export async function otherChildren(
  files: Files,
  child: Layer,
  parent: Layer,
  paths: PathMap,
): Promise<string[]> {
  const folders = [child, parent].map((layer) => path.dirname(layer.descriptor.file))
  const others = new Map<string, string>()
  for (const folder of new Set(folders)) {
    for (const file of await descriptorsIn(files, folder)) {
      const identity = await identityOf(files, file)
      if (identity === null || [child.identity, parent.identity].includes(identity)) continue
      if (await standsOn(files, file, parent, paths)) others.set(identity, file)
    }
  }
  return [...others.values()].sort()
}

/**
 * @param identity of a directory
 * @returns the first descriptor in the folder that has it as a part; null: none is seen, the folder
 *   may not be there or not be for us to list
 */
export async function userOfPart(
  files: Files,
  folder: string,
  identity: string,
  paths: PathMap,
): Promise<string | null> {
  for (const file of await descriptorsIn(files, folder).catch(() => [])) {
    const descriptor = await readIfAny(files, file, paths)
    for (const part of descriptor?.parts ?? []) {
      if ((await identityOf(files, part.directory)) === identity) return file
    }
  }
  return null
}

async function descriptorsIn(files: Files, folder: string): Promise<string[]> {
  const names = await files.list(folder)
  return names.filter((name) => /\.chunkdisk$/i.test(name)).map((name) => path.join(folder, name))
}

async function standsOn(
  files: Files,
  file: string,
  parent: Layer,
  paths: PathMap,
): Promise<boolean> {
  const descriptor = await readIfAny(files, file, paths)
  if (descriptor === null || descriptor.parent === null) return false
  return (await identityOf(files, descriptor.parent)) === parent.identity
}

/** @returns null if the file is no descriptor, whatever its name says */
async function readIfAny(files: Files, file: string, paths: PathMap): Promise<Descriptor | null> {
  try {
    return await readDescriptor(files, file, paths)
  } catch (error) {
    if (error instanceof DiskError) return null
    throw error
  }
}

/** @returns null if there is no such file */
async function identityOf(files: Files, file: string): Promise<string | null> {
  return files.status(file).then(
    (found) => found.identity,
    () => null,
  )
}
