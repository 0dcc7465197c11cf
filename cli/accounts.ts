/** Users and groups of this machine, by name or number. */
import { execFileSync } from 'node:child_process'

/** The largest id; the next one means "none" to the kernel. */
const ID_MAX = 0xfffffffe

export interface User {
  readonly uid: number
  /** Its first group. */
  readonly gid: number
  /** Null: a number nobody has. */
  readonly name: string | null
}

/** @returns null: there is no such user */
export function findUser(text: string): User | null {
  const [name, , uid, gid] = entryOf('passwd', text) ?? []
  if (name !== undefined) return { uid: Number(uid), gid: Number(gid), name }
  return isId(text) ? { uid: Number(text), gid: Number(text), name: null } : null
}

/** @returns null: there is no such group */
export function findGroup(text: string): number | null {
  const gid = entryOf('group', text)?.[2]
  if (gid !== undefined) return Number(gid)
  return isId(text) ? Number(text) : null
}

/** Whoever the machine asks knows it, files or a directory service. */
function entryOf(database: 'passwd' | 'group', key: string): string[] | null {
  // getent would take it for an option.
  if (key === '' || key.startsWith('-')) return null
  try {
    const line = execFileSync('getent', [database, key], { stdio: ['ignore', 'pipe', 'ignore'] })
    return line.toString().trim().split(':')
  } catch {
    return null
  }
}

function isId(text: string): boolean {
  return /^\d{1,10}$/.test(text) && Number(text) <= ID_MAX
}
