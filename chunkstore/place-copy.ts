/**
 * A copy of a chunk file in another part, where nobody serves the disk. It appears whole or not at
 * all, also across a crash; its name is durable when the directory is synced.
 */
import fs from 'node:fs'
import type { Files } from '../io/io.ts'
import { AwaitedOperation, orThrow } from './awaited-operation.ts'
import type { CopiedSums } from './checksums/copied-sums.ts'
import { copyData, type OpenFile } from './copy-data.ts'
import type { Part } from './part.ts'

const { O_CREAT, O_RDONLY, O_RDWR, O_TRUNC } = fs.constants

/**
 * @param from path of a chunk file of exactly `size` bytes, which may be 0
 * @param part where the copy goes; a file of that index there is replaced
 * @param sums of the source, which are verified, and of the copy
 */
export async function placeCopy(
  files: Files,
  from: string,
  part: Part,
  index: number,
  size: number,
  sums: CopiedSums,
): Promise<void> {
  const temporary = part.temporaryPath(index)
  const source = await files.open(from, O_RDONLY)
  try {
    await writeCopy(files, { fd: source, path: from }, temporary, size, sums)
    await sums.finish()
    await files.rename(temporary, part.chunkPath(index))
  } catch (error) {
    await files.remove(temporary).catch(() => {})
    throw error
  } finally {
    await files.close(source)
    await sums.close().catch(() => {})
  }
}

async function writeCopy(
  files: Files,
  source: OpenFile,
  temporary: string,
  size: number,
  sums: CopiedSums,
): Promise<void> {
  const target = await files.open(temporary, O_RDWR | O_CREAT | O_TRUNC)
  try {
    const operation = new AwaitedOperation()
    operation.fd = target
    operation.length = size
    orThrow(await operation.run((each) => files.truncate(each)), `cutting ${temporary}`)
    await copyData(files, source, { fd: target, path: temporary }, size, sums)
    await syncFile(files, target, temporary)
  } finally {
    await files.close(target)
  }
}

/** @param name for the message */
export async function syncFile(files: Files, fd: number, name: string): Promise<void> {
  const operation = new AwaitedOperation()
  operation.fd = fd
  orThrow(await operation.run((each) => files.sync(each)), `syncing ${name}`)
}

/** Makes the names in the parts' directories durable. */
export async function syncNames(files: Files, parts: Iterable<Part>): Promise<void> {
  for (const part of parts) {
    const operation = new AwaitedOperation()
    operation.fd = part.fd
    const result = await operation.run((each) => files.syncDirectory(each))
    orThrow(result, `syncing ${part.directory}`)
  }
}
