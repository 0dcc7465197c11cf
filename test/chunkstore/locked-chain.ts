/** A child on a base for tests of lock files, and machines that see the same directories. */
import fs from 'node:fs'
import type { ExecutionContext } from 'ava'
import { DiskError } from '../../chunkstore/disk-error.ts'
import type { MachineIdentity } from '../../io/io.ts'
import { DiskFolder, nodeFiles } from '../helpers/chunk-disk.ts'
import { TestFiles } from '../helpers/test-files.ts'

export const MAKE = { lockFiles: true }
export const READ = { ...MAKE, readOnly: true }

/** `child` with the parts c and d on `base` with the part b. */
export function makeChain(t: ExecutionContext): DiskFolder {
  const folder = new DiskFolder(t)
  folder.make('base', { parts: { b: 16 } })
  folder.make('child', { parent: 'base', parts: { c: 8, d: 8 } })
  return folder
}

export function lockIn(folder: DiskFolder, part: string): Record<string, unknown> | null {
  const file = folder.path(part, '.lock')
  if (!fs.existsSync(file)) return null
  return JSON.parse(fs.readFileSync(file, 'utf8')) as Record<string, unknown>
}

export const locked = (folder: DiskFolder): string[] =>
  ['b', 'c', 'd'].filter((part) => fs.existsSync(folder.path(part, '.lock')))

/** As a server leaves it that is killed while it has the disk open. */
export async function killed(folder: DiskFolder, name: string): Promise<void> {
  const { disk } = await folder.open(name, MAKE)
  const parts = ['b', 'c', 'd'].filter((part) => lockIn(folder, part)?.access === 'write')
  const texts = parts.map((part) => fs.readFileSync(folder.path(part, '.lock')))
  await disk.close()
  for (const [index, part] of parts.entries()) {
    fs.writeFileSync(folder.path(part, '.lock'), texts[index])
  }
}

/** Files of another machine, or of another start of this one. */
export function filesOf(identity: Partial<MachineIdentity>): TestFiles {
  const files = new TestFiles(nodeFiles())
  const own = nodeFiles()
  files.machineIdentity = async () => ({ ...(await own.machineIdentity()), ...identity })
  return files
}

export const ELSEWHERE = { host: 'nas', machine: 'f'.repeat(32), boot: 'b'.repeat(36) }

export async function refused(t: ExecutionContext, opening: Promise<unknown>, message: RegExp) {
  await t.throwsAsync(opening, { instanceOf: DiskError, code: 'EINUSE', message })
}
