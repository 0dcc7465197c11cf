/** Creates a disk: its descriptor and its part directories. Overwrites nothing. */
import path from 'node:path'
import type { Files, FileStatus } from '../io/io.ts'
import { ChainMode, closeChain, openChain } from './chain.ts'
import { MarkFile } from './checksums/mark-file.ts'
import {
  checkedGeometry,
  type Descriptor,
  formatDescriptor,
  parseDescriptor,
} from './descriptor.ts'
import { DiskError } from './disk-error.ts'
import { makeDurableDirectory } from './durable-directory.ts'
import type { Layer } from './layer.ts'
import { CHUNK_SIZE_DEFAULT } from './limits.ts'
import { ChecksumKind } from './options.ts'
import { Part } from './part.ts'
import { PathMap } from './path-map.ts'
import { userOfPart } from './siblings.ts'
import { statusOf } from './status-of.ts'
import { compatiblePath, ownPath } from './written-path.ts'

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
  /** Write what chunkdisk itself can read: absolute paths, of Windows where `paths` has them. */
  readonly compatible?: boolean
  /** Where directories that the parents' descriptors name are found here. */
  readonly paths?: PathMap
  /** Null: as the parent; without a parent, none. */
  readonly checksums?: ChecksumKind | null
}

/**
 * @returns the descriptor that was written
 * @throws DiskError EEXISTS, EDESCRIPTOR, EPART, ECHAIN; nothing has been made then
 */
export async function createDisk(files: Files, options: CreateOptions): Promise<Descriptor> {
  const { paths = PathMap.NONE } = options
  const file = path.resolve(options.file)
  if ((await statusOf(files, file)) !== null) throw taken(file)
  const parents = options.parent === null ? [] : await openParents(files, options.parent, paths)
  let text: string
  let descriptor: Descriptor
  try {
    if (options.compatible === true) refuseChecksums(file, options, parents)
    text = describe(file, options, parents[0]?.descriptor ?? null)
    descriptor = parseDescriptor(text, file, paths)
    await checkParts(files, descriptor, parents, paths)
  } finally {
    await closeChain(files, parents)
  }
  await makeParts(files, descriptor)
  await makeDurableDirectory(files, path.dirname(file))
  await files.createText(file, text).catch((error: NodeJS.ErrnoException) => {
    throw error.code === 'EEXIST' ? taken(file) : error
  })
  return descriptor
}

function taken(file: string): DiskError {
  return new DiskError('EEXISTS', `${file} exists; choose another name or remove it`)
}

/** The parent and its ancestors: who cannot be opened cannot be served either. */
async function openParents(files: Files, parent: string, paths: PathMap): Promise<Layer[]> {
  try {
    return await openChain(files, path.resolve(parent), ChainMode.LOOK, paths)
  } catch (error) {
    if (error instanceof DiskError) throw new DiskError(error.code, `parent: ${error.message}`)
    throw error
  }
}

/** chunkdisk would change data and leave the checksums as they were; it stops at their line. */
function refuseChecksums(file: string, options: CreateOptions, parents: readonly Layer[]): void {
  if (options.checksums === ChecksumKind.CRC32C) {
    throw wrong(file, 'chunkdisk knows no checksums: leave out --compatible or --checksums')
  }
  const parent = parents.find((each) => each.descriptor.checksums !== ChecksumKind.NONE)
  if (parent === undefined) return
  const why = 'has checksums, which chunkdisk cannot read: leave out --compatible'
  throw wrong(file, `its parent ${parent.descriptor.file} ${why}`)
}

/** @returns the text of the descriptor */
function describe(file: string, options: CreateOptions, parent: Descriptor | null): string {
  const diskSize = options.diskSize ?? parent?.geometry.diskSize
  if (diskSize === undefined) throw wrong(file, 'give its size (--size) or a parent (--parent)')
  const chunkSize =
    options.chunkSize ?? parent?.geometry.chunkSize ?? Math.min(CHUNK_SIZE_DEFAULT, diskSize)
  const geometry = checkedGeometry(diskSize, chunkSize, file)
  if (parent !== null) checkSame(geometry, parent)
  const writtenPath = (given: string, isBeside: boolean): string =>
    options.compatible === true
      ? compatiblePath(given, options.paths ?? PathMap.NONE)
      : ownPath(given, file, isBeside)
  const stem = path.basename(file).replace(/\.chunkdisk$/, '')
  const wanted =
    options.parts.length > 0
      ? options.parts
      : [{ directory: path.join(path.dirname(file), `${stem}.chunks`), chunksMax: null }]
  const parts = wanted.map((part) => ({
    chunksMax: part.chunksMax ?? geometry.chunkCount,
    written: writtenPath(part.directory, options.parts.length === 0),
  }))
  const parentWritten = options.parent === null ? null : writtenPath(options.parent, false)
  const checksums = options.checksums ?? parent?.checksums ?? ChecksumKind.NONE
  return formatDescriptor(parentWritten, geometry, parts, checksums)
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

/** Looks at what is there already; a directory that is missing is made later. */
async function checkParts(
  files: Files,
  descriptor: Descriptor,
  parents: readonly Layer[],
  paths: PathMap,
): Promise<void> {
  const users = new Map<string, string>()
  for (const layer of parents) {
    for (const part of layer.parts) users.set(part.identity, layer.descriptor.file)
  }
  const given = new Set<string>()
  for (const { directory, chunksMax } of descriptor.parts) {
    if (/[\r\n]/.test(directory)) {
      throw wrong(descriptor.file, `part ${JSON.stringify(directory)} has a line break`)
    }
    const found = await statusOf(files, directory).catch((error: Error) => {
      throw new DiskError('EPART', `part ${directory} cannot be made: ${error.message}`)
    })
    if (found !== null && !found.isDirectory) {
      throw new DiskError('EPART', `part ${directory} cannot be made: it is not a directory`)
    }
    const user = found === null ? undefined : users.get(found.identity)
    if (user !== undefined) {
      const fix = 'choose another directory'
      throw new DiskError('EPART', `part ${directory} belongs to the parent ${user}; ${fix}`)
    }
    if (given.has(found?.identity ?? directory)) throw twice(directory)
    given.add(found?.identity ?? directory)
    if (found === null) continue
    await refuseChunks(files, new Part(directory, chunksMax))
    await refuseShared(files, descriptor, directory, found, paths)
  }
}

/** It may hold no chunk yet. Only disks beside this one are found. */
async function refuseShared(
  files: Files,
  { file }: Descriptor,
  directory: string,
  found: FileStatus,
  paths: PathMap,
): Promise<void> {
  const user = await userOfPart(files, path.dirname(file), found.identity, paths)
  if (user === null) return
  const why = `belongs to the disk ${user}; choose another directory`
  throw new DiskError('EPART', `part ${directory} ${why}`)
}

async function refuseChunks(files: Files, part: Part): Promise<void> {
  const contents = await part.scan(files, Number.MAX_SAFE_INTEGER)
  const { chunks, orphans, hasMarks, checksumFiles } = contents
  if (chunks.length + orphans.length + checksumFiles.length === 0 && !hasMarks) return
  const what = chunks.length + orphans.length > 0 ? 'chunk files' : 'checksums'
  const why = `holds ${what} of some other disk; choose an empty directory`
  throw new DiskError('EPART', `part ${part.directory} ${why}`)
}

async function makeParts(files: Files, descriptor: Descriptor): Promise<void> {
  const made = new Set<string>()
  for (const { directory, chunksMax } of descriptor.parts) {
    await makeDurableDirectory(files, directory).catch((error: Error) => {
      throw new DiskError('EPART', `part ${directory} cannot be made: ${error.message}`)
    })
    const part = new Part(directory, chunksMax)
    await part.open(files)
    await part.close(files)
    if (made.has(part.identity)) throw twice(directory)
    made.add(part.identity)
    if (descriptor.checksums === ChecksumKind.NONE) continue
    await MarkFile.create(files, directory, descriptor.geometry.chunkSize)
  }
}

function twice(directory: string): DiskError {
  return new DiskError('EPART', `part directory given twice: ${directory}; give it once`)
}

function wrong(file: string, what: string): DiskError {
  return new DiskError('EDESCRIPTOR', `${file}: ${what}`)
}
