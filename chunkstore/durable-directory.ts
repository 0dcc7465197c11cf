/**
 * Makes directories that are there after a power loss. A new directory is a name in the one above
 * it, and durable only when that one is synced.
 */
import fs from 'node:fs'
import path from 'node:path'
import type { Files } from '../io/io.ts'
import { AwaitedOperation, orThrow } from './awaited-operation.ts'
import { statusOf } from './status-of.ts'

const { O_RDONLY, O_DIRECTORY } = fs.constants

/** @param directory absolute; those missing above it are made, too. Throws system errors. */
export async function makeDurableDirectory(files: Files, directory: string): Promise<void> {
  const missing: string[] = []
  for (let at = directory; (await statusOf(files, at)) === null; at = path.dirname(at)) {
    missing.push(at)
  }
  await files.makeDirectory(directory)
  for (const each of missing) await syncDirectory(files, path.dirname(each))
}

/** Makes the names in a directory durable. Throws system errors. */
export async function syncDirectory(files: Files, directory: string): Promise<void> {
  const operation = new AwaitedOperation()
  operation.fd = await files.open(directory, O_RDONLY | O_DIRECTORY)
  try {
    const result = await operation.run((each) => files.syncDirectory(each))
    orThrow(result, `syncing the directory ${directory}`)
  } finally {
    await files.close(operation.fd)
  }
}
