/** What `repair` does to a damaged disk: one table row is one test. */
import fs from 'node:fs'
import test, { type ExecutionContext } from 'ava'
import { repairDisk } from '../../chunkstore/repair.ts'
import type { RepairOptions } from '../../chunkstore/repair-plan.ts'
import { DiskFolder, nodeFiles } from '../helpers/chunk-disk.ts'

export const CHUNK = 4096
export const EMPTY = ''
export const A = 'a'.repeat(CHUNK)
export const B = 'b'.repeat(CHUNK)

/** A disk of eight chunks in the parts p and q, on the disk `base`. */
export function makeDisk(t: ExecutionContext): DiskFolder {
  const folder = new DiskFolder(t)
  const shape = { size: 8 * CHUNK, chunkSize: CHUNK }
  folder.make('base', shape)
  folder.make('a', { ...shape, parent: 'base', parts: { p: 8, q: 8 } })
  put(folder, 'base/chunk0', A)
  return folder
}

/** @param age seconds before now at which it was written last */
export function put(folder: DiskFolder, name: string, data: string, age = 100): void {
  const file = folder.path(name)
  fs.writeFileSync(file, data)
  const time = Math.floor(Date.now() / 1000) - age
  fs.utimesSync(file, time, time)
}

interface Expected {
  /** `rule: file: outcome` */
  readonly mends?: readonly string[]
  /** `rule: file`, and what the advice says */
  readonly left?: readonly (readonly [string, RegExp])[]
  readonly p?: readonly string[]
  readonly q?: readonly string[]
}

export const repairs = test.macro<
  [options: Partial<RepairOptions>, damage: (folder: DiskFolder) => void, expected: Expected]
>(async (t, options, damage, expected) => {
  const folder = makeDisk(t)
  damage(folder)
  const base = folder.fingerprint('base')
  const file = folder.path('a.chunkdisk')
  const before = ['p', 'q'].map((part) => tree(folder, part))
  const planned = await repairDisk(nodeFiles(), file, { ...options, dryRun: true })
  t.deepEqual(
    ['p', 'q'].map((part) => tree(folder, part)),
    before,
    'a dry run changes nothing',
  )
  const { mends, findings } = await repairDisk(nodeFiles(), file, options)
  t.deepEqual(planned.findings, findings)
  t.deepEqual(
    planned.mends.map(({ rule, file, message }) => [rule, file, message.replace('would be ', '')]),
    mends.map(({ rule, file, message }) => [rule, file, message]),
  )
  const short = (path: string): string => path.replace(`${folder.directory}/`, '')
  t.deepEqual(
    mends.map(({ rule, file, outcome }) => `${rule}: ${short(file)}: ${outcome}`),
    expected.mends ?? [],
  )
  const { left = [] } = expected
  t.deepEqual(
    findings.map(({ rule, file }) => `${rule}: ${short(file)}`),
    left.map(([what]) => what),
  )
  for (const [index, { advice }] of findings.entries()) t.regex(advice, left[index][1])
  if (expected.p !== undefined) t.deepEqual(tree(folder, 'p'), expected.p)
  if (expected.q !== undefined) t.deepEqual(tree(folder, 'q'), expected.q)
  t.deepEqual(folder.fingerprint('base'), base, 'a parent is never touched')
  const again = await repairDisk(nodeFiles(), file, options)
  t.deepEqual(again, { mends: [], findings }, 'a second time there is nothing to mend')
  t.deepEqual(folder.openDescriptors(), [])
})

/** Files with their sizes, those in directories too; null: there is no such directory. */
export function tree(folder: DiskFolder, part: string): string[] | null {
  if (!fs.statSync(folder.path(part), { throwIfNoEntry: false })?.isDirectory()) return null
  return fs
    .readdirSync(folder.path(part), { recursive: true, encoding: 'utf8' })
    .filter((name) => !fs.statSync(folder.path(part, name)).isDirectory())
    .map((name) => `${name} ${fs.statSync(folder.path(part, name)).size}`)
    .sort()
}
