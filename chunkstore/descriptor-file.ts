/**
 * The descriptor of a layer as an open file: it carries the lock. What was read before the lock
 * was had may be out of date by then (a resize replaces the file), so `verify` comes after it.
 */
import fs from 'node:fs'
import { type Files, LockKind } from '../io/io.ts'
import { type Descriptor, parseDescriptor } from './descriptor.ts'
import { DiskError } from './disk-error.ts'
import { DESCRIPTOR_BYTES_MAX } from './limits.ts'
import type { PathMap } from './path-map.ts'

export class DescriptorFile {
  readonly descriptor: Descriptor
  /** What it was parsed from. */
  readonly text: string
  /** Of the open file. */
  readonly identity: string
  #fd: number

  /** @throws DiskError EDESCRIPTOR */
  static async open(files: Files, file: string, paths: PathMap): Promise<DescriptorFile> {
    const text = await readDescriptorText(files, file)
    const descriptor = parseDescriptor(text, file, paths)
    const fd = await files.open(file, fs.constants.O_RDONLY)
    try {
      const { identity } = await files.statusOf(fd)
      return new DescriptorFile(descriptor, text, fd, identity)
    } catch (error) {
      await files.close(fd).catch(() => {})
      throw error
    }
  }

  /**
   * The file that has just taken the place of one whose lock, and whose parts' locks, are held:
   * those keep everybody out, so it does no harm if this one cannot be locked at this moment.
   */
  static async afterReplacing(
    files: Files,
    file: string,
    text: string,
    paths: PathMap,
  ): Promise<DescriptorFile> {
    const descriptor = parseDescriptor(text, file, paths)
    try {
      const source = await DescriptorFile.open(files, file, paths)
      await source.lock(files, LockKind.EXCLUSIVE).catch(() => {})
      return source
    } catch {
      return new DescriptorFile(descriptor, text, -1, '')
    }
  }

  private constructor(descriptor: Descriptor, text: string, fd: number, identity: string) {
    this.descriptor = descriptor
    this.text = text
    this.#fd = fd
    this.identity = identity
  }

  /** @throws DiskError EINUSE, naming who holds the lock */
  lock(files: Files, kind: LockKind): Promise<void> {
    return lockOne(files, this.#fd, this.descriptor.file, kind)
  }

  /** @throws DiskError EINUSE if the name leads to another file now, or its text has changed */
  async verify(files: Files): Promise<void> {
    const { file } = this.descriptor
    const { identity } = await files.status(file)
    const text = await readDescriptorText(files, file)
    if (identity === this.identity && text === this.text) return
    throw new DiskError('EINUSE', `${file} was changed by somebody else just now; try again`)
  }

  async close(files: Files): Promise<void> {
    if (this.#fd < 0) return
    const fd = this.#fd
    this.#fd = -1
    await files.close(fd)
  }
}

/** @throws DiskError EDESCRIPTOR */
export async function readDescriptor(
  files: Files,
  file: string,
  paths: PathMap,
): Promise<Descriptor> {
  return parseDescriptor(await readDescriptorText(files, file), file, paths)
}

async function readDescriptorText(files: Files, file: string): Promise<string> {
  let text: string
  try {
    text = await files.readText(file, DESCRIPTOR_BYTES_MAX)
  } catch (error) {
    const { code, message } = error as NodeJS.ErrnoException
    throw new DiskError('EDESCRIPTOR', `${file}: cannot be read: ${REASONS.get(code) ?? message}`)
  }
  if (text.includes('\0')) throw new DiskError('EDESCRIPTOR', `${file}: ${NO_DESCRIPTOR}`)
  return text
}

const NO_DESCRIPTOR =
  'it is no descriptor; to serve an image make a disk with "chunknbd create" and copy it there'

const REASONS: ReadonlyMap<string | undefined, string> = new Map([
  ['ENOENT', 'there is no such file'],
  ['EFBIG', NO_DESCRIPTOR],
  ['EINVAL', 'it is not a file'],
  ['EISDIR', 'it is a directory; name the descriptor, as in disk.chunkdisk'],
])

/**
 * @param name of the open file or directory, for the message
 * @throws DiskError EINUSE, naming who holds the lock
 */
export async function lockOne(
  files: Files,
  fd: number,
  name: string,
  kind: LockKind,
): Promise<void> {
  const locked = await files.lock(fd, kind).catch((error: Error) => {
    throw new DiskError('EINUSE', `${name} cannot be locked: ${error.message}`)
  })
  if (locked) return
  const holder = (await files.lockHolder(fd)) || 'another process'
  const wanted = kind === LockKind.EXCLUSIVE ? 'writing' : 'reading'
  const why = `it is in use by ${holder}; end that first`
  throw new DiskError('EINUSE', `${name} cannot be opened for ${wanted}: ${why}`)
}
