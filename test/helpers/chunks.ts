/** Looks at a disk's files from outside: sizes, allocated bytes, digests. */
import { createHash } from 'node:crypto'
import { readdirSync, readFileSync, statSync } from 'node:fs'
import { join } from 'node:path'
import type { ExecutionContext } from 'ava'
import { createDisk } from '../../chunkstore/create.ts'
import type { ChecksumKind } from '../../chunkstore/options.ts'
import { parseSize } from '../../chunkstore/size.ts'
import { createNodeIo } from '../../io/node.ts'
import { COMMAND_LINE } from './serve.ts'
import { attempt, run, type RunResult } from './tools.ts'

/** Runs the command line; throws unless it exits with 0. */
export function chunknbd(t: ExecutionContext, args: readonly string[], cwd: string) {
  return run(t, process.execPath, [...COMMAND_LINE, ...args], { cwd })
}

/** Runs the command line, whatever its exit status. */
export function tryChunknbd(
  t: ExecutionContext,
  args: readonly string[],
  cwd: string,
): Promise<RunResult> {
  return attempt(t, process.execPath, [...COMMAND_LINE, ...args], { cwd })
}

export interface NewDisk {
  readonly size?: string
  readonly chunkSize?: string
  /** Path of a descriptor. */
  readonly parent?: string
  readonly checksums?: ChecksumKind
}

/** As `chunknbd create` makes it, without a process. @param file path of the new descriptor */
export async function makeDisk(file: string, disk: NewDisk): Promise<void> {
  const { size, chunkSize, parent, checksums } = disk
  await createDisk(createNodeIo().files, {
    file,
    diskSize: parseSize(size ?? ''),
    chunkSize: parseSize(chunkSize ?? ''),
    parts: [],
    parent: parent ?? null,
    checksums: checksums ?? null,
  })
}

/** Bytes of storage that the files of a directory take. */
export function allocatedBytes(directory: string): number {
  return names(directory).reduce((sum, name) => sum + stat(directory, name).blocks * 512, 0)
}

/** Size of each file by name. */
export function fileSizes(directory: string): Record<string, number> {
  return Object.fromEntries(names(directory).map((name) => [name, stat(directory, name).size]))
}

/** Changes when any file does, its content or its time of change; but for lock files. */
export function fingerprint(directory: string): string {
  const digest = createHash('sha256')
  for (const name of names(directory).filter((each) => each !== '.lock')) {
    digest.update(`${name} ${stat(directory, name).mtimeMs} `)
    digest.update(readFileSync(join(directory, name)))
  }
  return digest.digest('hex')
}

function names(directory: string): string[] {
  return readdirSync(directory).sort()
}

function stat(directory: string, name: string) {
  return statSync(join(directory, name))
}
