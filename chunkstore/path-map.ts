/**
 * Where the directories that descriptors name are found on this machine. A disk made on Windows
 * names `C:\disks\part1`; with the entry `C:\disks` = `/mnt/disks` that is `/mnt/disks/part1`.
 * Windows paths are compared without regard to case and to the kind of slash, others exactly.
 */
import path from 'node:path'

export interface PathEntry {
  /** As descriptors write it, without a slash at its end. */
  readonly written: string
  /** Absolute. */
  readonly directory: string
}

/** Has a character that no name on Windows has, or an end that Windows drops. */
const NO_WINDOWS_NAME = /[<>:"|?*\\]|[ .]$/

/** A drive or a share: nothing that a path on Linux begins with. */
export function isWindowsPath(text: string): boolean {
  return /^([a-z]:([\\/]|$)|\\\\)/i.test(text)
}

export class PathMap {
  static readonly NONE = new PathMap([])
  readonly #entries: readonly PathEntry[]

  /** @param entries the longest that fits is taken, whatever their order */
  constructor(entries: readonly PathEntry[]) {
    this.#entries = entries
  }

  get isEmpty(): boolean {
    return this.#entries.length === 0
  }

  /** @returns the absolute path here, or null: no entry fits */
  locate(written: string): string | null {
    const fitting = this.#entries.filter((entry) => restBehind(entry.written, written) !== null)
    const entry = longest(fitting, (each) => each.written)
    if (entry === null) return null
    const rest = restBehind(entry.written, written) ?? ''
    const names = isWindowsPath(entry.written) ? rest.replaceAll('\\', '/') : rest
    return path.join(entry.directory, names)
  }

  /** The way back. @returns what descriptors write for an absolute path, or null: they cannot */
  write(local: string): string | null {
    const fitting = this.#entries.filter((entry) => isBelow(entry.directory, local))
    const entry = longest(fitting, (each) => each.directory)
    if (entry === null) return null
    const rest = path.relative(entry.directory, local)
    // The root of a drive: without the slash it would be whatever directory is current there.
    if (rest === '') return entry.written.endsWith(':') ? `${entry.written}\\` : entry.written
    if (!isWindowsPath(entry.written)) return `${entry.written}/${rest}`
    if (rest.split('/').some((name) => NO_WINDOWS_NAME.test(name))) return null
    return `${entry.written}\\${rest.replaceAll('/', '\\')}`
  }
}

/** @returns what follows the prefix, '' or with a slash in front; null if it is no prefix */
function restBehind(prefix: string, written: string): string | null {
  if (!comparable(written).startsWith(comparable(prefix))) return null
  const rest = written.slice(prefix.length)
  return rest === '' || rest.startsWith('/') || rest.startsWith('\\') ? rest : null
}

function comparable(written: string): string {
  return isWindowsPath(written) ? written.replaceAll('/', '\\').toLowerCase() : written
}

function isBelow(directory: string, local: string): boolean {
  const relative = path.relative(directory, local)
  return relative !== '..' && !relative.startsWith('../')
}

function longest(
  entries: readonly PathEntry[],
  textOf: (entry: PathEntry) => string,
): PathEntry | null {
  return entries.toSorted((a, b) => textOf(b).length - textOf(a).length)[0] ?? null
}
