/**
 * A server that is started by root and works as somebody else. As root it binds its sockets and
 * reads the keys of TLS; disks are opened as the user, so that what it may not use is found at
 * once; then everything of root is given up for good.
 */
import { lchownSync } from 'node:fs'
import { findGroup, findUser } from './accounts.ts'

export interface PrivilegeOptions {
  readonly user?: string
  readonly group?: string
}

/** Who the server works as. */
export interface Worker {
  readonly uid: number
  readonly gid: number
  /** For messages. */
  readonly shown: string
  /** Null: it is in no group but its own. */
  readonly name: string | null
}

const ROOT = 0

/** @returns null: nobody is named. @throws Error if it cannot be had */
export function workerOf({ user, group }: PrivilegeOptions): Worker | null {
  if (user === undefined && group === undefined) return null
  const { getuid, getgid } = process
  if (getuid === undefined || getgid === undefined) throw wrong('there are no users here')
  const account = user === undefined ? { uid: getuid(), gid: getgid(), name: null } : findUser(user)
  if (account === null) throw wrong(`there is no user "${user}"`)
  const gid = group === undefined ? account.gid : findGroup(group)
  if (gid === null) throw wrong(`there is no group "${group}"`)
  const { uid, name } = account
  if (getuid() !== ROOT && (uid !== getuid() || gid !== getgid())) {
    throw wrong('only root can become somebody else; leave out --user and --group')
  }
  return { uid, gid, name, shown: `${user ?? uid}:${group ?? gid}` }
}

function wrong(message: string): Error {
  return Object.assign(new Error(message), { code: 'PRIVILEGES' })
}

/** Does it as the worker, while root can be had back. @param worker null: as who we are */
export async function doAs<T>(worker: Worker | null, work: () => Promise<T>): Promise<T> {
  const { seteuid, setegid, getgroups, setgroups } = process
  if (worker === null || process.getuid?.() !== ROOT) return work()
  const groups = getgroups?.() ?? []
  joinGroups(worker)
  setegid?.(worker.gid)
  seteuid?.(worker.uid)
  try {
    return await work()
  } catch (error) {
    throw explained(error as Error, worker)
  } finally {
    seteuid?.(ROOT)
    setegid?.(process.getgid?.() ?? ROOT)
    setgroups?.(groups)
  }
}

/** The real, effective and saved ids and all groups, of all threads: there is no way back. */
export function becomeForGood(worker: Worker): void {
  const { uid, gid } = worker
  if (process.getuid?.() !== ROOT) return
  joinGroups(worker)
  process.setgid?.(gid)
  process.setuid?.(uid)
  if (uid !== ROOT && canReturn()) throw wrong(`root could not be given up for ${worker.shown}`)
}

function canReturn(): boolean {
  try {
    process.seteuid?.(ROOT)
    return true
  } catch {
    return false
  }
}

/** Missing in the types of Node. */
interface WithGroups {
  readonly initgroups?: (user: string, gid: number) => void
}

function joinGroups({ name, gid }: Worker): void {
  if (name === null) process.setgroups?.([gid])
  else (process as WithGroups).initgroups?.(name, gid)
}

/** A socket that root has made is the worker's. */
export function giveSocket(path: string, worker: Worker): void {
  if (process.getuid?.() === ROOT) lchownSync(path, worker.uid, worker.gid)
}

/** Where something was not allowed it matters to whom. */
function explained(error: Error, { shown }: Worker): Error {
  const isDenied = /EACCES|EPERM|permission denied|not permitted/i.test(error.message)
  if (isDenied) error.message += `; the server works as ${shown} (--user, --group)`
  return error
}
