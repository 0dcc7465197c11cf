/** How a new descriptor writes the paths of its parts and its parent. */
import path from 'node:path'
import { DiskError } from './disk-error.ts'
import type { PathMap } from './path-map.ts'
import { parseSize } from './size.ts'

/**
 * A path given as relative stays relative, but to the descriptor: the whole can be moved.
 * @param isBeside it was not given: it is relative to the descriptor in any case
 */
export function ownPath(given: string, file: string, isBeside: boolean): string {
  if (path.isAbsolute(given) && !isBeside) return path.normalize(given)
  const relative = path.relative(path.dirname(file), path.resolve(given)) || '.'
  // A parent's name like `64` or `#a` would be read as a size or a comment.
  const ambiguous = parseSize(relative) !== null || relative.startsWith('#')
  return ambiguous ? `./${relative}` : relative
}

/**
 * As chunkdisk wants it: absolute, and on Windows a path of Windows.
 * @throws DiskError EPART if the map has no path for it
 */
export function compatiblePath(given: string, paths: PathMap): string {
  const local = path.resolve(given)
  if (paths.isEmpty) return local
  const written = paths.write(local)
  if (written !== null) return written
  const why = 'is in no directory that --map-path names, or has a name that Windows has not'
  throw new DiskError('EPART', `${local} ${why}`)
}
