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
 * Names the processes that hold a lock on the open file, from /proc/locks.
 * @returns for example 'process 4711 (chunknbd serve a.chunkdisk)', or '' if none can be seen
 */
export async function lockHolder(fd: number): Promise<string> {
  const { dev, ino } = fs.fstatSync(fd, { bigint: true })
  const place = `${hex(major(dev))}:${hex(minor(dev))}:${ino}`
  let lines: string[]
  try {
    lines = (await fs.promises.readFile('/proc/locks', 'utf8')).split('\n')
  } catch {
    return ''
  }
  const holders = new Set<string>()
  for (const line of lines) {
    const fields = line.trim().split(/\s+/)
    if (fields[1] === 'FLOCK' && fields[5] === place && fields[4] !== String(process.pid)) {
      holders.add(fields[4])
    }
  }
  const named = await Promise.all([...holders].map(nameProcess))
  return named.join(', ')
}

async function nameProcess(id: string): Promise<string> {
  try {
    const words = (await fs.promises.readFile(`/proc/${id}/cmdline`, 'utf8')).split('\0')
    const command = words.filter((word) => word !== '').join(' ')
    return `process ${id} (${command.slice(0, 200)})`
  } catch {
    return `process ${id}`
  }
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
