/** Small files, written atomically: they appear whole and synced. */
import { randomBytes } from 'node:crypto'
import fs from 'node:fs'
import path from 'node:path'

/**
 * Replaces nothing.
 * @throws EEXIST if the name is taken
 */
export async function createText(file: string, text: string, mode?: number): Promise<void> {
  const folder = path.dirname(file)
  // Random: another machine may have a process of this number and see the same directory.
  const unique = `${process.pid}-${randomBytes(4).toString('hex')}`
  const temporary = path.join(folder, `.tmp-${path.basename(file)}-${unique}`)
  try {
    await writeSynced(temporary, text, 'wx', mode)
    // Not rename: that would replace an existing file.
    await fs.promises.link(temporary, file)
  } catch (error) {
    if (!isWithoutLinks(error)) throw error
    await writeSynced(file, text, 'wx', mode)
  } finally {
    await fs.promises.rm(temporary, { force: true })
  }
  await syncDirectory(folder)
}

/** Replaces the file itself where the path is a symbolic link; its owner and mode stay. */
export async function replaceText(file: string, text: string): Promise<void> {
  const real = await fs.promises.realpath(file)
  const folder = path.dirname(real)
  const temporary = path.join(folder, `.tmp-${path.basename(real)}`)
  const { mode, uid, gid } = await fs.promises.stat(real)
  try {
    await writeSynced(temporary, text, 'w')
    // Who may not give files away keeps it.
    await fs.promises.chown(temporary, uid, gid).catch(() => {})
    await fs.promises.chmod(temporary, mode & 0o7777)
    await fs.promises.rename(temporary, real)
  } catch (error) {
    await fs.promises.rm(temporary, { force: true })
    throw error
  }
  await syncDirectory(folder)
}

async function writeSynced(file: string, text: string, flags: string, mode = 0o600) {
  const handle = await fs.promises.open(file, flags, mode)
  try {
    await handle.writeFile(text)
    await handle.sync()
  } catch (error) {
    throw named(error, file)
  } finally {
    await handle.close()
  }
}

/** File systems like vfat have no hard links. */
function isWithoutLinks(error: unknown): boolean {
  return ['EPERM', 'EOPNOTSUPP', 'ENOTSUP', 'ENOSYS'].includes(
    (error as NodeJS.ErrnoException).code ?? '',
  )
}

export async function syncDirectory(folder: string): Promise<void> {
  const handle = await fs.promises.open(folder, 'r')
  try {
    await handle.sync()
  } catch (error) {
    throw named(error, folder)
  } finally {
    await handle.close()
  }
}

/** Node says of what is done to an open file what failed, but not where. */
function named(error: unknown, file: string): unknown {
  const { code, errno, message } = error as NodeJS.ErrnoException
  return Object.assign(new Error(`${message} '${file}'`), { code, errno })
}
