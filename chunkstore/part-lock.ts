/**
 * Makes, judges and removes the lock files of parts. The caller holds the kernel's lock of the
 * part: what this machine made for writing, nobody on it uses any more then.
 *
 *   found                         to write                 to read
 *   nothing                       make it                  make it, it stays
 *   chunkdisk's, or unknown       refuse                   leave it
 *   of one who reads              refuse                   leave it
 *   of a writer, this machine     left behind: take over   take over
 *   of a writer elsewhere         refuse                   refuse
 *
 * Nothing is made unless asked for, and a reader that makes none takes none over.
 */
import path from 'node:path'
import type { Files } from '../io/io.ts'
import { DiskError } from './disk-error.ts'
import { LOCK_FILE_BYTES_MAX, LOCK_FILE_TRIES } from './limits.ts'
import {
  formatLockFile,
  isOfMachine,
  LOCK_FILE,
  LockAccess,
  type LockFile,
  newLockFile,
  parseLockFile,
} from './lock-file.ts'
import type { Log } from './options.ts'
import type { Part } from './part.ts'
import { syncNames } from './place-copy.ts'

/** Others on the machine and elsewhere may read it. */
const MODE = 0o644

/** Errors of a file that Windows has open for itself alone. */
const HELD = ['EBUSY', 'ETXTBSY']

export const LockState = {
  ABSENT: 'absent',
  /** chunkdisk's, or somebody else's. */
  FOREIGN: 'foreign',
  /** Ours, of one who reads. */
  READ: 'read',
  /** Ours, of one who writes, made on this machine. */
  LEFT_BEHIND: 'left behind',
  /** Another machine writes. */
  ELSEWHERE: 'elsewhere',
} as const
export type LockState = (typeof LockState)[keyof typeof LockState]

export interface FoundLock {
  readonly state: LockState
  readonly file: string
  /** Null: it is not ours. */
  readonly lock: LockFile | null
}

export interface LockFileOptions {
  /** Lock files are made; without it those that are there are kept to. */
  readonly make: boolean
  readonly log: Log
}

/**
 * @param access what is to be done with the part, whose kernel lock is held
 * @throws DiskError EINUSE, EPART
 */
export async function takeLockFile(
  files: Files,
  part: Part,
  access: LockAccess,
  options: LockFileOptions,
): Promise<void> {
  for (let attempt = 0; attempt < LOCK_FILE_TRIES; attempt++) {
    const found = await findLockFile(files, part)
    refuseLock(found, access)
    const isLeft = found.state === LockState.LEFT_BEHIND
    if (isLeft && !options.make && access === LockAccess.WRITE) {
      await removeLeft(files, found, options.log)
      return
    }
    if (!options.make || (found.state !== LockState.ABSENT && !isLeft)) return
    const replaced = isLeft ? found : null
    if (await makeLockFile(files, part, access, replaced, options.log)) return
  }
  const file = path.join(part.directory, LOCK_FILE)
  throw new DiskError('EINUSE', `${file}: others make and remove it all the time; try again`)
}

/** @throws DiskError EPART if it cannot be read */
export async function findLockFile(files: Files, part: Part): Promise<FoundLock> {
  const file = path.join(part.directory, LOCK_FILE)
  let text = ''
  try {
    text = await files.readText(file, LOCK_FILE_BYTES_MAX)
  } catch (error) {
    const { code = '', message } = error as NodeJS.ErrnoException
    if (code === 'ENOENT') return { state: LockState.ABSENT, file, lock: null }
    if (HELD.includes(code)) return { state: LockState.ELSEWHERE, file, lock: null }
    // Not to be read by us, no file, too long: in any case not ours.
    const isThere = ['', 'EACCES', 'EPERM', 'EISDIR', 'EFBIG', 'EINVAL'].includes(code)
    if (!isThere) throw new DiskError('EPART', `${file} cannot be read: ${message}`)
  }
  const lock = parseLockFile(text)
  if (lock === null) return { state: LockState.FOREIGN, file, lock }
  if (lock.access === LockAccess.READ) return { state: LockState.READ, file, lock }
  const isHere = isOfMachine(lock, await files.machineIdentity())
  return { state: isHere ? LockState.LEFT_BEHIND : LockState.ELSEWHERE, file, lock }
}

/** Why nobody may write, and what to do about it; of the states that are in a writer's way. */
export function whyLocked({ state, lock }: FoundLock): { why: string; fix: string } {
  const host = lock?.host ?? 'another machine'
  if (state === LockState.FOREIGN) {
    const why = 'chunkdisk uses this directory, or it is the parent of a disk there'
    return { why, fix: 'if neither is so' }
  }
  if (state === LockState.READ) {
    const why = `${host} served the disk for reading, and other disks may stand on it`
    return { why, fix: 'when nobody reads it and its children are merged or discarded' }
  }
  const process = lock === null ? '' : ` (process ${lock.process})`
  return { why: `${host} is writing to the disk${process}`, fix: 'if that has ended' }
}

function refuseLock(found: FoundLock, access: LockAccess): void {
  const { state, file } = found
  if (state === LockState.ABSENT || state === LockState.LEFT_BEHIND) return
  if (access === LockAccess.READ && state !== LockState.ELSEWHERE) return
  const { why, fix } = whyLocked(found)
  throw new DiskError('EINUSE', `${file} exists: ${why}; remove the file ${fix}`)
}

async function removeLeft(files: Files, found: FoundLock, log: Log): Promise<void> {
  await files.remove(found.file).catch((error: Error) => {
    throw new DiskError('EPART', `${found.file} cannot be removed: ${error.message}`)
  })
  logLeft(found, log)
}

function logLeft({ file, lock }: FoundLock, log: Log): void {
  log.warn({ file, process: lock?.process }, 'lock file of a server that was killed: taken over')
}

/**
 * @param left the file it takes the place of, or null
 * @returns false: somebody else has made one
 */
async function makeLockFile(
  files: Files,
  part: Part,
  access: LockAccess,
  left: FoundLock | null,
  log: Log,
): Promise<boolean> {
  const file = path.join(part.directory, LOCK_FILE)
  const lock = newLockFile(access, await files.machineIdentity())
  const text = formatLockFile(lock)
  // Before it is made: it may be there although making it failed.
  if (access === LockAccess.WRITE) part.ownLock = new OwnLock(part, file, text, log)
  try {
    if (left === null) await files.createText(file, text, MODE)
    else await replace(files, part, lock, text)
  } catch (error) {
    const { code } = error as NodeJS.ErrnoException
    if (code === 'EEXIST') {
      part.ownLock = null
      return false
    }
    if (code === 'EROFS' && access === LockAccess.READ) {
      log.warn({ file }, 'read-only file system: no lock file, nothing here can write to the disk')
      return true
    }
    throw cannotMake(file, access, error as Error)
  }
  if (left !== null) logLeft(left, log)
  return true
}

/** There is a lock file at every moment of it. */
async function replace(files: Files, part: Part, lock: LockFile, text: string): Promise<void> {
  const temporary = path.join(part.directory, `.tmp-${LOCK_FILE}-${lock.id}`)
  await files.createText(temporary, text, MODE)
  try {
    await files.rename(temporary, path.join(part.directory, LOCK_FILE))
  } catch (error) {
    await files.remove(temporary).catch(() => {})
    throw error
  }
  await syncNames(files, [part])
}

function cannotMake(file: string, access: LockAccess, { message }: Error): DiskError {
  const fix =
    access === LockAccess.WRITE
      ? 'make the directory writable, or leave out --lock-files'
      : 'make the directory writable, put an empty file there, or leave out --lock-files'
  return new DiskError('EPART', `${file} cannot be made: ${message}; ${fix}`)
}

/** The lock file of a part that this process writes to; removed with the part's last use. */
export class OwnLock {
  readonly #part: Part
  readonly #file: string
  readonly #text: string
  readonly #log: Log

  constructor(part: Part, file: string, text: string, log: Log) {
    this.#part = part
    this.#file = file
    this.#text = text
    this.#log = log
  }

  /** Never throws: what stays is taken over by the next server of this machine. */
  async release(files: Files): Promise<void> {
    const fields = { file: this.#file }
    try {
      const text = await files.readText(this.#file, LOCK_FILE_BYTES_MAX)
      if (text !== this.#text) {
        this.#log.warn(fields, 'the lock file is not the one that was made here: it stays')
        return
      }
      await files.remove(this.#file)
      await syncNames(files, [this.#part])
    } catch (error) {
      const { code, message } = error as NodeJS.ErrnoException
      if (code !== 'ENOENT')
        this.#log.warn({ ...fields, error: message }, 'the lock file could not be removed')
    }
  }
}
