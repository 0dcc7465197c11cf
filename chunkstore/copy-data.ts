/** Copies the data of a file into a new one, step by step; holes stay holes. */
import { type Files, Seek, type SeekKind } from '../io/io.ts'
import { AwaitedOperation, orThrow } from './awaited-operation.ts'
import type { CopiedSums } from './checksums/copied-sums.ts'
import { STEP_BYTES } from './limits.ts'
import { pageEnd, pageStart } from './page.ts'

const ENXIO = 6
const EOPNOTSUPP = 95
const EIO = 5

/**
 * @param source an open file of exactly `size` bytes, and its path for messages
 * @param target an open file of `size` bytes, all hole
 * @param sums is told of everything, in order, or null
 * @throws Error with `errno`; EIO if the source is shorter or longer, or not what its sums say
 */
export async function copyData(
  files: Files,
  source: number,
  sourcePath: string,
  target: number,
  size: number,
  sums: CopiedSums | null = null,
): Promise<void> {
  const operation = new AwaitedOperation()
  operation.buffer = files.memory(Math.min(STEP_BYTES, size))
  for (let at = 0; at < size;) {
    operation.fd = source
    const found = await search(files, operation, at, Seek.DATA, size)
    const data = pageStart(found)
    // From the data on, not from its page: that may begin with a hole of a smaller block.
    const hole = await search(files, operation, found, Seek.HOLE, size)
    const end = Math.min(pageEnd(Math.max(hole, found + 1)), size)
    if (data > at) await sums?.hole(at, data - at)
    const isWhole = await copyRange(files, operation, target, data, end, sums)
    if (!isWhole) throw damaged(sourcePath)
    at = end
  }
  // Where it was cut short meanwhile, a hole was seen instead of data.
  if ((await files.statusOf(source)).size !== size) throw damaged(sourcePath)
}

async function search(
  files: Files,
  operation: AwaitedOperation,
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
  return Math.min(orThrow(found, 'seek'), size)
}

/** @returns false: the source ends before `end` */
async function copyRange(
  files: Files,
  operation: AwaitedOperation,
  target: number,
  start: number,
  end: number,
  sums: CopiedSums | null,
): Promise<boolean> {
  const source = operation.fd
  for (let at = start; at < end; at += STEP_BYTES) {
    // What the kernel has in memory is copied at once: others must get a turn in between.
    await new Promise((resolve) => setImmediate(resolve))
    operation.fd = source
    operation.position = at
    operation.length = Math.min(STEP_BYTES, end - at)
    const count = orThrow(await operation.run((each) => files.read(each)), 'read')
    if (count < operation.length) return false
    await sums?.data(operation.buffer, at, operation.length)
    operation.fd = target
    orThrow(await operation.run((each) => files.write(each)), 'write')
  }
  return true
}

export function damaged(file: string): Error {
  return Object.assign(new Error(`${file} has the wrong size`), { errno: -EIO })
}
