/**
 * Files below some directories only, wherever symbolic links lead. A path is resolved before it is
 * used, and what was opened is looked at once more: a link that was changed in between is found.
 *
 * What remains: whoever may rename directories below a root can, between the two looks, have a file
 * made, truncated, renamed or removed elsewhere, by a name of ours and where this process may.
 */
import fs from 'node:fs'
import path from 'node:path'
import type { Files } from './io.ts'

const { O_CREAT, O_NOFOLLOW, O_NONBLOCK, O_RDONLY, O_TRUNC } = fs.constants

/**
 * @param roots absolute or relative to the working directory
 * @throws Error if one does not exist
 */
export function confined(files: Files, roots: readonly string[]): Files {
  const check = checkFor(roots.map(realRoot))
  const open = async (file: string, flags: number, mode?: number): Promise<number> => {
    await check(file)
    // Nothing new is made, and nothing is emptied, by way of a link.
    const own = (flags & (O_CREAT | O_TRUNC)) === 0 ? 0 : O_NOFOLLOW
    const fd = await files.open(file, flags | own, mode)
    try {
      await check(`/proc/self/fd/${fd}`, file)
      return fd
    } catch (error) {
      await files.close(fd)
      throw error
    }
  }
  return {
    ...dataPathOf(files),
    open,
    close: (fd) => files.close(fd),
    statusOf: (fd) => files.statusOf(fd),
    lock: (fd, kind) => files.lock(fd, kind),
    lockHolder: (fd) => files.lockHolder(fd),
    machineIdentity: () => files.machineIdentity(),
    status: (file) => check(file).then(() => files.status(file)),
    list: (directory) => check(directory).then(() => files.list(directory)),
    makeDirectory: (directory) => check(directory).then(() => files.makeDirectory(directory)),
    rename: async (from, to) => {
      await check(from)
      await check(to)
      return files.rename(from, to)
    },
    remove: (file) => check(path.dirname(file)).then(() => files.remove(file)),
    readText: async (file, bytesMax) => {
      // What was opened is what is read; opening a pipe must not wait.
      const fd = await open(file, O_RDONLY | O_NONBLOCK)
      return files.readText(`/proc/self/fd/${fd}`, bytesMax).finally(() => files.close(fd))
    },
    createText: (file, text, mode) => check(file).then(() => files.createText(file, text, mode)),
    replaceText: (file, text) => check(file).then(() => files.replaceText(file, text)),
    abilities: (directory) => check(directory).then(() => files.abilities(directory)),
  }
}

type DataPath = Pick<
  Files,
  | 'read'
  | 'write'
  | 'sync'
  | 'syncDirectory'
  | 'punchHole'
  | 'zeroRange'
  | 'allocate'
  | 'truncate'
  | 'seek'
  | 'allocated'
  | 'submit'
  | 'memory'
>

/** Of open files, which have been looked at. */
function dataPathOf(files: Files): DataPath {
  return {
    read: (operation) => files.read(operation),
    write: (operation) => files.write(operation),
    sync: (operation) => files.sync(operation),
    syncDirectory: (operation) => files.syncDirectory(operation),
    punchHole: (operation) => files.punchHole(operation),
    zeroRange: (operation) => files.zeroRange(operation),
    allocate: (operation) => files.allocate(operation),
    truncate: (operation) => files.truncate(operation),
    seek: (operation, kind) => files.seek(operation, kind),
    allocated: (operation) => files.allocated(operation),
    submit: () => files.submit(),
    memory: (bytes) => files.memory(bytes),
  }
}

function realRoot(root: string): string {
  try {
    return fs.realpathSync(root)
  } catch (error) {
    const message = `allowed root ${root}: ${(error as Error).message}`
    throw Object.assign(new Error(message), { code: 'ALLOWED_ROOT' })
  }
}

/** @returns what throws OUTSIDE_ROOTS for a path that leads elsewhere, `shown` in its message */
function checkFor(roots: readonly string[]): (file: string, shown?: string) => Promise<void> {
  return async (file, shown = file) => {
    const real = await resolve(file)
    if (roots.some((root) => isInside(root, real))) return
    const way = real === path.resolve(shown) ? '' : `, it leads to ${real}`
    const message = `${shown} is outside of the allowed roots (${roots.join(', ')})${way}`
    throw Object.assign(new Error(message), { code: 'OUTSIDE_ROOTS', path: shown })
  }
}

/** Where a path leads; of what does not exist yet, where it would be. */
async function resolve(file: string): Promise<string> {
  try {
    return await fs.promises.realpath(file)
  } catch (error) {
    const above = path.dirname(file)
    if ((error as NodeJS.ErrnoException).code !== 'ENOENT' || above === file) throw error
    return path.join(await resolve(above), path.basename(file))
  }
}

function isInside(root: string, file: string): boolean {
  return file === root || file.startsWith(root.endsWith('/') ? root : `${root}/`)
}
