/** Copies the data of a file into a new one, step by step; holes stay holes. */
import { type Files, Seek, type SeekKind } from '../io/io.ts'
import { AwaitedOperation, orThrow } from './awaited-operation.ts'
import type { CopiedSums } from './checksums/copied-sums.ts'
import { STEP_BYTES } from './limits.ts'
import { pageEnd, pageStart } from './page.ts'

const ENXIO = 6
const EOPNOTSUPP = 95
const EIO = 5

export interface OpenFile {
  readonly fd: number
  /** For messages. */
  readonly path: string
}

/**
 * @param source a file of exactly `size` bytes
 * @param target a file of `size` bytes, all hole
 * @param sums is told of everything, in order, or null
 * @throws Error with `errno`; EIO if the source is shorter or longer, or not what its sums say
 */
export async function copyData(
  files: Files,
  source: OpenFile,
  target: OpenFile,
  size: number,
  sums: CopiedSums | null = null,
): Promise<void> {
  const operation = new AwaitedOperation()
  operation.buffer = files.memory(Math.min(STEP_BYTES, size))
  for (let at = 0; at < size;) {
    operation.fd = source.fd
    const found = await search(files, operation, source.path, at, Seek.DATA, size)
    const data = pageStart(found)
    // From the data on, not from its page: that may begin with a hole of a smaller block.
    const hole = await search(files, operation, source.path, found, Seek.HOLE, size)
    const end = Math.min(pageEnd(Math.max(hole, found + 1)), size)
    if (data > at) await sums?.hole(at, data - at)
    const isWhole = await copyRange(files, operation, { source, target }, data, end, sums)
    if (!isWhole) throw damaged(source.path)
    at = end
  }
  // Where it was cut short meanwhile, a hole was seen instead of data.
  if ((await files.statusOf(source.fd)).size !== size) throw damaged(source.path)
}

async function search(
  files: Files,
  operation: AwaitedOperation,
  path: string,
  from: number,
  kind: SeekKind,
  size: number,
): Promise<number> {
  if (from >= size) return size
  operation.position = from
  const found = await operation.run((each) => files.seek(each, kind))
  if (found === -ENXIO) return size
  // Where holes cannot be searched for, everything is data.
  if (found === -EOPNOTSUPP) return kind === Seek.DATA ? from : size
  return Math.min(orThrow(found, `looking for holes in ${path}`), size)
}

/** @returns false: the source ends before `end` */
async function copyRange(
  files: Files,
  operation: AwaitedOperation,
  { source, target }: { readonly source: OpenFile; readonly target: OpenFile },
  start: number,
  end: number,
  sums: CopiedSums | null,
): Promise<boolean> {
  for (let at = start; at < end; at += STEP_BYTES) {
    // What the kernel has in memory is copied at once: others must get a turn in between.
    await new Promise((resolve) => setImmediate(resolve))
    operation.fd = source.fd
    operation.position = at
    operation.length = Math.min(STEP_BYTES, end - at)
    const read = await operation.run((each) => files.read(each))
    const count = orThrow(read, `reading ${source.path}`)
    if (count < operation.length) return false
    await sums?.data(operation.buffer, at, operation.length)
    operation.fd = target.fd
    const written = await operation.run((each) => files.write(each))
    orThrow(written, `writing ${target.path}`)
  }
  return true
}

export function damaged(file: string): Error {
  const message = `${file} has the wrong size; "chunknbd check" says more`
  return Object.assign(new Error(message), { errno: -EIO, code: 'EIO' })
}
