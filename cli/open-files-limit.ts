/** How many chunk files each disk may keep open under the limit of open files of this process. */
import { readFileSync } from 'node:fs'
import { OPEN_FILES_MAX } from '../chunkstore/limits.ts'

/** The other half is for connections, for copies, and for requests that need one more. */
const SHARE_OF_CHUNKS = 0.5

/** @returns the limit (RLIMIT_NOFILE; Node has raised it as far as it may); Infinity: none known */
export function openFilesLimit(): number {
  try {
    const text = readFileSync('/proc/self/limits', 'utf8')
    return Number(/^Max open files +(\d+)/m.exec(text)?.[1] ?? Infinity)
  } catch {
    return Infinity
  }
}

/** @returns at least 1 */
export function openFilesPerDisk(limit: number, disks: number): number {
  const share = Math.floor((limit * SHARE_OF_CHUNKS) / Math.max(1, disks))
  return Math.max(1, Math.min(OPEN_FILES_MAX, share))
}
