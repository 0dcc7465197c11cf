/**
 * `.lock` in a part: a lock that other systems see, too, where the kernel's do not reach. chunkdisk
 * makes it while it writes to a disk, and leaves it in what it only reads, so that a base is not
 * written by mistake. Its files are empty; ours say who made them:
 *
 *   {"program":"chunknbd","access":"write","host":"nas","machine":"…","boot":"…",…}
 *
 * Here is what such a file says. `part-lock.ts` makes, judges and removes it.
 */
import { randomUUID } from 'node:crypto'
import type { MachineIdentity } from '../io/io.ts'

export const LOCK_FILE = '.lock'

const PROGRAM = 'chunknbd'

export const LockAccess = {
  /** Of one who writes; gone when it ends. */
  WRITE: 'write',
  /** Of those who read; stays until a person removes it. */
  READ: 'read',
} as const
export type LockAccess = (typeof LockAccess)[keyof typeof LockAccess]

export interface LockFile extends MachineIdentity {
  readonly access: LockAccess
  /** Number of the process, as it sees itself. */
  readonly process: number
  /** No two are equal. */
  readonly id: string
}

export function newLockFile(access: LockAccess, machine: MachineIdentity): LockFile {
  return { access, ...machine, process: process.pid, id: randomUUID() }
}

export function formatLockFile(lock: LockFile): string {
  return `${JSON.stringify({ program: PROGRAM, ...lock })}\n`
}

/** @returns null if it is not one of ours: chunkdisk's are empty */
export function parseLockFile(text: string): LockFile | null {
  let value: unknown
  try {
    value = JSON.parse(text)
  } catch {
    return null
  }
  if (typeof value !== 'object' || value === null) return null
  const fields = value as Record<string, unknown>
  const { program, access, host, machine, boot, process: number, id } = fields
  if (program !== PROGRAM) return null
  if (access !== LockAccess.WRITE && access !== LockAccess.READ) return null
  if (typeof host !== 'string' || typeof machine !== 'string') return null
  if (typeof boot !== 'string' || typeof number !== 'number' || typeof id !== 'string') return null
  return { access, host, machine, boot, process: number, id }
}

/**
 * Whether it was made on this machine: then who made it holds a kernel lock, or has ended.
 * Copies of a machine have its number; by their names they are told apart.
 */
export function isOfMachine(lock: LockFile, { host, machine, boot }: MachineIdentity): boolean {
  if (lock.boot !== '' && lock.boot === boot) return true
  return lock.machine !== '' && lock.machine === machine && lock.host === host
}
