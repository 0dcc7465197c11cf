/** How many chunk files each disk may keep open under the limit of open files of this process. */
import { OPEN_FILES_MAX } from '../chunkstore/limits.ts'

/** The other half is for connections, for copies, and for requests that need one more. */
const SHARE_OF_CHUNKS = 0.5

/** @returns at least 1 */
export function openFilesPerDisk(limit: number, disks: number): number {
  const share = Math.floor((limit * SHARE_OF_CHUNKS) / Math.max(1, disks))
  return Math.max(1, Math.min(OPEN_FILES_MAX, share))
}
