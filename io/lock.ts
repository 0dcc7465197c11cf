/**
 * Advisory locks of the kernel (flock) on an open file: gone with the process, however it ends.
 * Without the FFI the command flock(1) is run on our descriptor: the lock belongs to the open
 * file, which we share with it, and stays when it exits.
 */
import { spawn } from 'node:child_process'
import fs from 'node:fs'
import { Flock, type SystemCalls } from './syscalls.ts'

const EWOULDBLOCK = 11
const EINTR = 4

/** Lines of /proc/locks can be missed while others lock and unlock. */
const LOOKS = 3

/**
 * @returns false if somebody else holds a lock that is in the way
 * @throws Error with code ENOLOCK if this file system or machine has no locks
 */
export async function lockFile(
  calls: SystemCalls | null,
  fd: number,
  exclusive: boolean,
): Promise<boolean> {
  if (calls === null) return lockByCommand(fd, exclusive)
  const operation = (exclusive ? Flock.EXCLUSIVE : Flock.SHARED) | Flock.NO_WAIT
  let result = calls.lock(fd, operation)
  while (result === -EINTR) result = calls.lock(fd, operation)
  if (result === -EWOULDBLOCK) return false
  if (result < 0) throw noLock(`flock fails with errno ${-result}`)
  return true
}

function lockByCommand(fd: number, exclusive: boolean): Promise<boolean> {
  return new Promise((resolve, reject) => {
    const child = spawn('flock', ['-n', exclusive ? '-x' : '-s', '3'], {
      stdio: ['ignore', 'ignore', 'ignore', fd],
    })
    child.on('error', (error) => reject(noLock(`the command flock: ${error.message}`)))
    child.on('exit', (code) => {
      if (code === 0 || code === 1) resolve(code === 0)
      else reject(noLock(`the command flock ended with ${code}`))
    })
  })
}

function noLock(why: string): Error {
  return Object.assign(new Error(`no file locks here: ${why}`), { code: 'ENOLOCK' })
}

/**
 * Names the processes that hold a lock on the open file, from /proc.
 * @returns for example 'process 4711 (chunknbd serve a.chunkdisk)', or '' if none can be seen
 */
export async function lockHolder(fd: number): Promise<string> {
  let holder = ''
  for (let look = 0; look < LOOKS && holder === ''; look++) holder = await lookForHolder(fd)
  return holder
}

async function lookForHolder(fd: number): Promise<string> {
  const { dev, ino } = fs.fstatSync(fd, { bigint: true })
  const place = `${hex(major(dev))}:${hex(minor(dev))}:${ino}`
  const takers = await lockTakers(place)
  const found = await Promise.all(takers.map((id) => holdsLock(id, place)))
  const holders = takers.filter((_, index) => found[index] !== false)
  // A taker that is gone was flock(1): the lock stays with the process that had the file open.
  if (holders.length < takers.length) {
    for (const id of await readNames('/proc', /^\d+$/)) {
      if (!holders.includes(id) && (await holdsLock(id, place)) === true) holders.push(id)
    }
  }
  return (await Promise.all(holders.map(nameProcess))).join(', ')
}

/** Process ids of those that took the locks on a file, as the kernel remembers them. */
async function lockTakers(place: string): Promise<string[]> {
  const takers = new Set<string>()
  for (const line of (await readText('/proc/locks')).split('\n')) {
    const fields = line.trim().split(/\s+/)
    if (fields[1] === 'FLOCK' && fields[5] === place) takers.add(fields[4])
  }
  return [...takers]
}

/** @returns whether one of the process's open files holds it; null if we may not look */
async function holdsLock(id: string, place: string): Promise<boolean | null> {
  try {
    for (const name of await fs.promises.readdir(`/proc/${id}/fdinfo`)) {
      const text = await readText(`/proc/${id}/fdinfo/${name}`)
      if (text.split('\n').some((line) => isLockAt(line, place))) return true
    }
    return false
  } catch (error) {
    return (error as NodeJS.ErrnoException).code === 'EACCES' ? null : false
  }
}

function isLockAt(line: string, place: string): boolean {
  return line.startsWith('lock:') && line.includes(' FLOCK ') && line.includes(` ${place} `)
}

/** @returns '' for a file that is gone, or that we may not read */
async function readText(file: string): Promise<string> {
  return fs.promises.readFile(file, 'utf8').catch(() => '')
}

async function readNames(directory: string, pattern: RegExp): Promise<string[]> {
  const names = await fs.promises.readdir(directory).catch(() => [])
  return names.filter((name) => pattern.test(name))
}

async function nameProcess(id: string): Promise<string> {
  if (id === String(process.pid)) return 'this process'
  const words = (await readText(`/proc/${id}/cmdline`)).split('\0')
  const command = words.filter((word) => word !== '').join(' ')
  return command === '' ? `process ${id}` : `process ${id} (${command.slice(0, 200)})`
}

function major(dev: bigint): bigint {
  return ((dev >> 8n) & 0xfffn) | ((dev >> 32n) & 0xfffff000n)
}

function minor(dev: bigint): bigint {
  return (dev & 0xffn) | ((dev >> 12n) & 0xffffff00n)
}

function hex(value: bigint): string {
  return value.toString(16).padStart(2, '0')
}
