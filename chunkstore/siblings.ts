/** Finds other disks that stand on a parent, among the descriptors beside it and its child. */
import path from 'node:path'
import type { Files } from '../io/io.ts'
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
    for (const name of await files.list(folder)) {
      if (!/\.chunkdisk$/i.test(name)) continue
      const file = path.join(folder, name)
      const identity = await identityOf(files, file)
      if (identity === null || [child.identity, parent.identity].includes(identity)) continue
      if (await standsOn(files, file, parent, paths)) others.set(identity, file)
    }
  }
  return [...others.values()].sort()
}

async function standsOn(
  files: Files,
  file: string,
  parent: Layer,
  paths: PathMap,
): Promise<boolean> {
  try {
    const descriptor = await readDescriptor(files, file, paths)
    if (descriptor.parent === null) return false
    return (await identityOf(files, descriptor.parent)) === parent.identity
  } catch (error) {
    // Not a descriptor: nobody's child.
    if (error instanceof DiskError) return false
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
