/** What a path leads to, if there is anything. */
import type { Files, FileStatus } from '../io/io.ts'

/** @returns null if there is no such file. Throws other system errors. */
export async function statusOf(files: Files, file: string): Promise<FileStatus | null> {
  try {
    return await files.status(file)
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code === 'ENOENT') return null
    throw error
  }
}
