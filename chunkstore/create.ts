/** Creates a disk: its descriptor and its part directories. Overwrites nothing. */
import path from 'node:path'
import type { Files } from '../io/io.ts'
import {
  checkedGeometry,
  type Descriptor,
  formatDescriptor,
  parseDescriptor,
} from './descriptor.ts'
import { DiskError } from './disk-error.ts'
import { readDescriptor } from './layer.ts'
import { CHUNK_SIZE_DEFAULT } from './limits.ts'
import { Part } from './part.ts'
import { parseSize } from './size.ts'

export interface CreateOptions {
  /** Path of the descriptor to be made, relative to the working directory or absolute. */
  readonly file: string
  /** Bytes; null: the parent's. */
  readonly diskSize: number | null
  /** Bytes; null: the parent's, or 64 MiB (the disk's size if that is smaller). */
  readonly chunkSize: number | null
  /** Directories as the user wrote them; none: one beside the descriptor, `NAME.chunks`. */
  readonly parts: readonly { readonly directory: string; readonly chunksMax: number | null }[]
  readonly parent: string | null
}

/**
 * @returns the descriptor that was written
 * @throws DiskError EEXISTS, EDESCRIPTOR, EPART, ECHAIN
 */
export async function createDisk(files: Files, options: CreateOptions): Promise<Descriptor> {
  const file = path.resolve(options.file)
  if (await exists(files, file)) throw taken(file)
  const parent = options.parent === null ? null : await readParent(files, options.parent)
  const diskSize = options.diskSize ?? parent?.geometry.diskSize
  if (diskSize === undefined) throw wrong(file, 'give its size (--size) or a parent (--parent)')
  const chunkSize =
    options.chunkSize ?? parent?.geometry.chunkSize ?? Math.min(CHUNK_SIZE_DEFAULT, diskSize)
  const geometry = checkedGeometry(diskSize, chunkSize, file)
  if (parent !== null) checkSame(geometry, parent)
  const stem = path.basename(file).replace(/\.chunkdisk$/, '')
  const wanted =
    options.parts.length > 0
      ? options.parts
      : [{ directory: path.join(path.dirname(file), `${stem}.chunks`), chunksMax: null }]
  const parts = wanted.map((part) => ({
    chunksMax: part.chunksMax ?? geometry.chunkCount,
    written: fromDescriptor(part.directory, file, options.parts.length === 0),
  }))
  const parentWritten = options.parent === null ? null : fromDescriptor(options.parent, file, false)
  const text = formatDescriptor(parentWritten, geometry, parts)
  const descriptor = parseDescriptor(text, file)
  await makeParts(files, descriptor)
  await files.createText(file, text).catch((error: NodeJS.ErrnoException) => {
    throw error.code === 'EEXIST' ? taken(file) : error
  })
  return descriptor
}

async function exists(files: Files, file: string): Promise<boolean> {
  try {
    await files.status(file)
    return true
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code === 'ENOENT') return false
    throw error
  }
}

function taken(file: string): DiskError {
  return new DiskError('EEXISTS', `${file} exists; choose another name or remove it`)
}

async function readParent(files: Files, parent: string): Promise<Descriptor> {
  try {
    return await readDescriptor(files, path.resolve(parent))
  } catch (error) {
    if (error instanceof DiskError) throw new DiskError(error.code, `parent: ${error.message}`)
    throw error
  }
}

function checkSame(geometry: Descriptor['geometry'], parent: Descriptor): void {
  const theirs = parent.geometry
  if (geometry.diskSize !== theirs.diskSize) {
    const sizes = `${geometry.diskSize} bytes, the parent ${parent.file} ${theirs.diskSize}`
    throw new DiskError('ECHAIN', `the disk is ${sizes}; leave out --size`)
  }
  if (geometry.chunkSize !== theirs.chunkSize) {
    const sizes = `${geometry.chunkSize} bytes, the parent's ${theirs.chunkSize}`
    throw new DiskError('ECHAIN', `the chunk size is ${sizes}; leave out --chunk-size`)
  }
}

/** A path given as relative stays relative, but to the descriptor: the whole can be moved. */
function fromDescriptor(given: string, file: string, beside: boolean): string {
  if (path.isAbsolute(given) && !beside) return path.normalize(given)
  const relative = path.relative(path.dirname(file), path.resolve(given)) || '.'
  // A parent's name like `64` or `#a` would be read as a size or a comment.
  const ambiguous = parseSize(relative) !== null || relative.startsWith('#')
  return ambiguous ? `./${relative}` : relative
}

async function makeParts(files: Files, descriptor: Descriptor): Promise<void> {
  const seen = new Map<string, string>()
  for (const line of descriptor.parts) {
    if (/[\r\n]/.test(line.directory)) {
      throw wrong(descriptor.file, `part ${JSON.stringify(line.directory)} has a line break`)
    }
    await files.makeDirectory(line.directory).catch((error: NodeJS.ErrnoException) => {
      const why = error.code === 'EEXIST' ? 'it is not a directory' : error.message
      throw new DiskError('EPART', `part ${line.directory} cannot be made: ${why}`)
    })
    const part = new Part(line.directory, line.chunksMax)
    await part.open(files)
    await part.close(files)
    const twin = seen.get(part.identity)
    if (twin !== undefined) {
      throw new DiskError('EPART', `part directory given twice: ${line.directory}; give it once`)
    }
    seen.set(part.identity, line.directory)
    const { chunks, orphans } = await part.scan(files, Number.MAX_SAFE_INTEGER)
    if (chunks.length + orphans.length > 0) {
      const why = 'holds chunk files of some other disk; choose an empty directory'
      throw new DiskError('EPART', `part ${line.directory} ${why}`)
    }
  }
}

function wrong(file: string, what: string): DiskError {
  return new DiskError('EDESCRIPTOR', `${file}: ${what}`)
}
