/**
 * Whole transfers on an open file, for the control path. All throw an Error with `errno` that has
 * the name of the file, which is given for that.
 */
import type { Files } from '../../io/io.ts'
import { AwaitedOperation, orThrow } from '../awaited-operation.ts'

/** @returns bytes read: fewer than the buffer takes only at the end of the file */
export async function readAt(
  files: Files,
  fd: number,
  name: string,
  buffer: Uint8Array,
  position: number,
): Promise<number> {
  const operation = over(fd, buffer, position)
  return orThrow(await operation.run((each) => files.read(each)), `reading ${name}`)
}

export async function writeAt(
  files: Files,
  fd: number,
  name: string,
  buffer: Uint8Array,
  position: number,
): Promise<void> {
  const operation = over(fd, buffer, position)
  orThrow(await operation.run((each) => files.write(each)), `writing ${name}`)
}

export async function syncData(files: Files, fd: number, name: string): Promise<void> {
  const operation = over(fd, NOTHING, 0)
  orThrow(await operation.run((each) => files.sync(each)), `syncing ${name}`)
}

export async function cutTo(files: Files, fd: number, name: string, bytes: number): Promise<void> {
  const operation = over(fd, NOTHING, 0)
  operation.length = bytes
  orThrow(await operation.run((each) => files.truncate(each)), `cutting ${name}`)
}

const NOTHING = new Uint8Array(0)

function over(fd: number, buffer: Uint8Array, position: number): AwaitedOperation {
  const operation = new AwaitedOperation()
  operation.fd = fd
  operation.buffer = buffer
  operation.length = buffer.length
  operation.position = position
  return operation
}

/** Opens a file for as long as `use` runs. What was read is not lost if it fails to close. */
export async function withFile<Result>(
  files: Files,
  path: string,
  flags: number,
  use: (fd: number) => Promise<Result>,
): Promise<Result> {
  const fd = await files.open(path, flags)
  try {
    return await use(fd)
  } finally {
    await files.close(fd).catch(() => {})
  }
}

export function isMissing(error: unknown): boolean {
  return (error as NodeJS.ErrnoException).code === 'ENOENT'
}
