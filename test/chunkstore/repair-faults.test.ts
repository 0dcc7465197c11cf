/** Repair of randomly damaged disks: undisturbed, failing at any call, and cut off at any call. */
import fs from 'node:fs'
import test, { type ExecutionContext } from 'ava'
import { checkDisk } from '../../chunkstore/check.ts'
import { repairDisk } from '../../chunkstore/repair.ts'
import type { RepairOptions } from '../../chunkstore/repair-plan.ts'
import { DiskFolder, nodeFiles } from '../helpers/chunk-disk.ts'
import { Random, seedFor } from '../helpers/random.ts'
import { TestFiles } from '../helpers/test-files.ts'
import { A, B, CHUNK, EMPTY, put } from './repair-macro.ts'

const EIO = 5
const CHUNKS = 8
const PARTS = ['p', 'q', 'r'] as const
const ROUNDS = 25

function damagedDisk(t: ExecutionContext, random: Random): DiskFolder {
  const folder = new DiskFolder(t)
  const parts = { p: random.between(2, 8), q: random.between(2, 8), r: 8 }
  folder.make('a', { size: CHUNKS * CHUNK, chunkSize: CHUNK, parts })
  for (const part of PARTS) {
    for (let index = 0; index < CHUNKS + 2; index++) {
      const name = random.chance(0.1) ? `CHUNK${index}` : `chunk${index}`
      const data = random.pick([A, A, B, EMPTY, EMPTY, A.slice(0, 100), B.slice(0, 99)])
      if (random.chance(0.4)) put(folder, `${part}/${name}`, data, random.pick([50, 100, 200]))
      if (random.chance(0.1)) put(folder, `${part}/.tmp-chunk${index}`, A)
    }
    if (random.chance(0.3)) {
      fs.mkdirSync(folder.path(part, '.chunknbd-aside'))
      put(folder, `${part}/.chunknbd-aside/chunk${random.between(0, 9)}`, 'earlier')
    }
  }
  return folder
}

/** Every file and what it holds, but for temporary ones; sorted. */
function contents(folder: DiskFolder): [path: string, data: string][] {
  return fs
    .readdirSync(folder.directory, { recursive: true, encoding: 'utf8' })
    .filter((name) => !name.includes('.tmp-') && fs.statSync(folder.path(name)).isFile())
    .sort()
    .map((name) => [name, fs.readFileSync(folder.path(name), 'latin1')])
}

function data(files: [string, string][]): string[] {
  return files.map(([, text]) => text).sort()
}

function copyOf(t: ExecutionContext, folder: DiskFolder): DiskFolder {
  const copy = new DiskFolder(t)
  fs.cpSync(folder.directory, copy.directory, { recursive: true, preserveTimestamps: true })
  return copy
}

async function repair(folder: DiskFolder, options: Partial<RepairOptions>, files: TestFiles) {
  const { mends, findings } = await repairDisk(files, folder.path('a.chunkdisk'), options)
  const text = JSON.stringify({ mends, findings }).replaceAll(folder.directory, '')
  return { mends, findings, text }
}

function testFiles(): TestFiles {
  return Object.assign(new TestFiles(nodeFiles()), { syncs: false })
}

test('random damage: nothing is lost, a dry run foretells it, one run is enough', async (t) => {
  const random = new Random(seedFor(t))
  let mended = 0
  for (let round = 0; round < ROUNDS; round++) {
    const options = { preferFull: random.chance(0.3) }
    const folder = damagedDisk(t, random)
    const before = contents(folder)
    const dry = await repair(folder, { ...options, dryRun: true }, testFiles())
    t.deepEqual(contents(folder), before)
    const real = await repair(folder, options, testFiles())
    mended += real.mends.length
    t.is(
      dry.text.replaceAll('would be ', '').replaceAll('"planned"', '"mended"'),
      real.text,
      `round ${round}`,
    )
    const after = contents(folder)
    t.deepEqual(data(after), data(before), 'every byte is still somewhere')
    const moved = real.mends.map(({ file }) => file.slice(folder.directory.length + 1))
    const stayed = before.map(([name]) => name).filter((name) => !moved.includes(name))
    const places = new Set(after.map(([name]) => name))
    t.deepEqual(
      stayed.filter((name) => !places.has(name)),
      [],
      'what is not told of is where it was',
    )
    t.deepEqual(await repairDisk(nodeFiles(), folder.path('a.chunkdisk'), options), {
      mends: [],
      findings: real.findings,
    })
    const checked = await checkDisk(nodeFiles(), folder.path('a.chunkdisk'))
    t.is(checked.length, real.findings.length)
  }
  t.true(mended > 3 * ROUNDS, `${mended} mended`)
})

for (const lasting of [true, false]) {
  const what = lasting ? 'cut off at' : 'failing at'
  test(`${what} any call, a repair loses nothing, and the next one finishes it`, async (t) => {
    const random = new Random(seedFor(t))
    const damaged = damagedDisk(t, random)
    const before = contents(damaged)
    const whole = copyOf(t, damaged)
    const undisturbed = await repair(whole, {}, testFiles())
    for (let n = 1; ; n++) {
      const folder = copyOf(t, damaged)
      const files = testFiles()
      let count = 0
      let hit = ''
      files.fault = (call) => {
        if (++count < n || (!lasting && hit !== '')) return 0
        if (hit === '') hit = call
        return EIO
      }
      await repair(folder, {}, files).catch(() => null)
      t.is(files.openNames.size, 0, hit)
      t.deepEqual(data(contents(folder)), data(before), hit)
      const second = await repair(folder, {}, testFiles())
      t.is(
        JSON.stringify(second.findings).replaceAll(folder.directory, ''),
        JSON.stringify(undisturbed.findings).replaceAll(whole.directory, ''),
        hit,
      )
      t.deepEqual(contents(folder), contents(whole), hit)
      fs.rmSync(folder.directory, { recursive: true })
      if (hit !== '') continue
      t.true(n > 40, `${n} calls`)
      break
    }
  })
}

test('what is moved aside is durable before the next step begins', async (t) => {
  const folder = new DiskFolder(t)
  folder.make('a', { size: CHUNKS * CHUNK, chunkSize: CHUNK, parts: { p: 8 } })
  for (const name of ['.tmp-chunk1', 'chunk8', 'chunk9']) put(folder, `p/${name}`, A)
  const files = new TestFiles(nodeFiles())
  await repairDisk(files, folder.path('a.chunkdisk'))
  const moved = (name: string): string[] => [
    `rename ${name} ${name}`,
    'syncDirectory .chunknbd-aside',
    'syncDirectory p',
  ]
  t.deepEqual(files.take(/^(remove|rename|makeDirectory|syncDirectory)/), [
    'remove .tmp-chunk1',
    'syncDirectory p',
    'makeDirectory .chunknbd-aside',
    'syncDirectory p',
    ...moved('chunk8'),
    ...moved('chunk9'),
  ])
})
