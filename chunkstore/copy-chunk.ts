/** Copies the data of a parent's chunk into a new file, step by step; holes stay holes. */
import { Seek, type SeekKind } from '../io/io.ts'
import { AwaitedOperation, orThrow } from './awaited-operation.ts'
import { type Chunk, ChunkState } from './chunk.ts'
import { STEP_BYTES } from './limits.ts'
import type { Store } from './store.ts'

const ENXIO = 6
const EOPNOTSUPP = 95
const EIO = 5

/** @param fd the new file, of the chunk size, all hole */
export async function copyChunk(store: Store, source: Chunk, fd: number): Promise<void> {
  if (source.state !== ChunkState.FULL) throw damaged(source)
  await pinOpen(store, source)
  try {
    const size = store.geometry.chunkSize
    const operation = new AwaitedOperation()
    operation.buffer = Buffer.allocUnsafeSlow(Math.min(STEP_BYTES, size))
    for (let at = 0; at < size;) {
      operation.fd = source.fd
      const start = await search(store, operation, at, Seek.DATA, size)
      const end = await search(store, operation, start, Seek.HOLE, size)
      await copyRange(store, operation, source, fd, start, end)
      at = end
    }
    // Where it was cut short meanwhile, a hole was seen instead of data.
    if ((await store.files.statusOf(source.fd)).size !== size) throw damaged(source)
  } finally {
    source.pins--
  }
}

/** Opens the file if need be and keeps it open until the pin is taken back. */
async function pinOpen(store: Store, source: Chunk): Promise<void> {
  while (source.fd < 0) {
    const errno = await new Promise<number>((resolve) => {
      source.waiting.push({ mutates: false, wake: resolve })
      if (!source.opening) store.openFiles.open(source)
    })
    if (errno > 0) throw Object.assign(new Error('the parent cannot be opened'), { errno: -errno })
  }
  source.pins++
}

async function search(
  store: Store,
  operation: AwaitedOperation,
  from: number,
  kind: SeekKind,
  size: number,
): Promise<number> {
  if (from >= size) return size
  operation.position = from
  const found = await operation.run((each) => store.files.seek(each, kind))
  if (found === -ENXIO) return size
  // Where holes cannot be searched for, everything is data.
  if (found === -EOPNOTSUPP) return kind === Seek.DATA ? from : size
  return Math.min(orThrow(found, 'seek'), size)
}

async function copyRange(
  store: Store,
  operation: AwaitedOperation,
  source: Chunk,
  target: number,
  start: number,
  end: number,
): Promise<void> {
  for (let at = start; at < end; at += STEP_BYTES) {
    // What the kernel has in memory is copied at once: others must get a turn in between.
    await new Promise((resolve) => setImmediate(resolve))
    operation.fd = source.fd
    operation.position = at
    operation.length = Math.min(STEP_BYTES, end - at)
    const count = orThrow(await operation.run((each) => store.files.read(each)), 'read')
    if (count < operation.length) throw damaged(source)
    operation.fd = target
    orThrow(await operation.run((each) => store.files.write(each)), 'write')
  }
}

function damaged(source: Chunk): Error {
  return Object.assign(new Error(`${source.path} has the wrong size`), { errno: -EIO })
}
