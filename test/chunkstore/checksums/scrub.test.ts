import fs from 'node:fs'
import test from 'ava'
import { rebuildSums } from '../../../chunkstore/rebuild-sums.ts'
import { PathMap } from '../../../chunkstore/path-map.ts'
import { scrubDisk } from '../../../chunkstore/scrub.ts'
import { sameBytes } from '../../helpers/bytes.ts'
import { DiskFolder, nodeFiles } from '../../helpers/chunk-disk.ts'
import { Random, seedFor } from '../../helpers/random.ts'

const PAGE = 4096
const REGION = 1008 * PAGE
const CHUNK = REGION + 16 * PAGE
const SHAPE = { size: 4 * CHUNK, chunkSize: CHUNK, checksums: true }
const LOG = { info: () => {}, warn: () => {}, error: () => {} }

const filled = (length: number, value: number): Uint8Array => new Uint8Array(length).fill(value)

async function made(folder: DiskFolder, name = 'a', shape: object = {}): Promise<void> {
  folder.make(name, { ...SHAPE, ...shape })
  const { client, disk } = await folder.open(name)
  await client.write(0, filled(16 * PAGE, 1))
  await client.write(CHUNK, filled(CHUNK, 3))
  await client.trim(3 * CHUNK, CHUNK)
  await disk.close()
}

function put(file: string, position: number, bytes: Uint8Array): void {
  const fd = fs.openSync(file, 'r+')
  fs.writeSync(fd, bytes, 0, bytes.length, position)
  fs.closeSync(fd)
}

const scrub = (folder: DiskFolder, name = 'a', isDirect = true) =>
  scrubDisk(nodeFiles(), folder.path(`${name}.chunkdisk`), { isDirect, returns: 0 })

for (const isDirect of [true, false]) {
  test(`damaged pages are told of with their places, direct: ${isDirect}`, async (t) => {
    const folder = new DiskFolder(t)
    await made(folder)
    const before = folder.fingerprint('a')
    const clean = await scrub(folder, 'a', isDirect)
    t.deepEqual(clean.findings, [])
    t.deepEqual(clean.isServed, false)
    t.like(clean.layers, [{ hasChecksums: true, verifiedBytes: 2 * CHUNK, unknownBytes: 0 }])
    t.deepEqual(folder.fingerprint('a'), before)
    put(folder.path('a', 'chunk1'), REGION - 1, filled(2, 9))
    put(folder.path('a', 'chunk1'), REGION + 5 * PAGE, filled(3 * PAGE, 9))
    put(folder.path('a', 'chunk0'), REGION, filled(1, 9))
    const { findings } = await scrub(folder, 'a', isDirect)
    t.deepEqual(
      findings.map(({ file, position, length, offset }) => [file, position, length, offset]),
      [
        [folder.path('a', 'chunk0'), REGION, PAGE, REGION],
        [folder.path('a', 'chunk1'), REGION - PAGE, PAGE, CHUNK + REGION - PAGE],
        [folder.path('a', 'chunk1'), REGION, PAGE, CHUNK + REGION],
        [folder.path('a', 'chunk1'), REGION + 5 * PAGE, 3 * PAGE, CHUNK + REGION + 5 * PAGE],
      ],
    )
    t.deepEqual(
      [...new Set(findings.map(({ message }) => message))],
      ['the data does not match its checksum'],
    )
  })
}

const tellsOf = test.macro<[damage: (file: string) => void, message: RegExp]>({
  exec: async (t, damage, message) => {
    const folder = new DiskFolder(t)
    await made(folder)
    damage(folder.path('a', 'chunk1'))
    const { findings } = await scrub(folder)
    t.deepEqual(
      findings.map(({ position, length }) => [position, length]),
      [
        [0, REGION],
        [REGION, 16 * PAGE],
      ],
    )
    for (const each of findings) t.regex(each.message, message)
  },
  title: (_, __, message) => `a chunk file that is not what it was: ${message.source}`,
})

test(tellsOf, (file) => fs.rmSync(file), /the chunk file is gone/)
test(tellsOf, (file) => fs.truncateSync(file), /the chunk file was emptied/)
test(tellsOf, (file) => fs.truncateSync(file, PAGE), /wrong size/)

test('parents are verified as well; who has no checksums is named', async (t) => {
  const folder = new DiskFolder(t)
  await made(folder, 'base')
  folder.make('middle', { ...SHAPE, parent: 'base', checksums: false })
  folder.make('top', { ...SHAPE, parent: 'middle' })
  const { client, disk } = await folder.open('top')
  await client.write(0, filled(PAGE, 2))
  await disk.close()
  put(folder.path('base', 'chunk1'), 0, filled(1, 9))
  const { layers, findings } = await scrub(folder, 'top')
  t.deepEqual(
    layers.map((each) => each.hasChecksums),
    [true, false, true],
  )
  t.like(findings, [{ disk: folder.path('base.chunkdisk'), position: 0, offset: CHUNK }])
  folder.make('none', { ...SHAPE, checksums: false })
  await t.throwsAsync(scrub(folder, 'none'), { code: 'EDESCRIPTOR', message: /no checksums/ })
})

test('while the disk is written to nothing is found, and what is damaged then is', async (t) => {
  const random = new Random(seedFor(t))
  const folder = new DiskFolder(t)
  await made(folder)
  const { client, disk } = await folder.open('a', { settleMs: 20 })
  const state = { isOver: false }
  let writes = 0
  const writer = async (): Promise<void> => {
    while (!state.isOver) {
      const length = random.between(1, 40) * PAGE
      const at = random.between(0, (SHAPE.size - length) / PAGE) * PAGE
      const dice = random.next()
      if (dice < 0.1) await client.flush()
      else if (dice < 0.2) await client.trim(at, length)
      else if (dice < 0.25) await client.trim(random.between(0, 3) * CHUNK, CHUNK)
      else await client.write(at, filled(length, random.between(1, 255)))
      writes++
      if (random.chance(0.2)) await new Promise((go) => setTimeout(go, 1))
    }
  }
  const writing = Promise.all([writer(), writer(), writer()])
  let verified = 0
  for (let round = 0; round < 8; round++) {
    const { findings, layers } = await scrub(folder, 'a', round % 2 === 0)
    t.deepEqual(findings, [])
    verified += layers[0].verifiedBytes
  }
  state.isOver = true
  await writing
  t.log(`${writes} changes, ${verified} bytes verified`)
  await client.flush()
  await client.write(CHUNK, filled(PAGE, 7))
  await client.flush()
  put(folder.path('a', 'chunk1'), 77, filled(1, 9))
  const { findings, isServed } = await scrub(folder)
  t.true(isServed)
  t.like(findings, [{ position: 0, length: PAGE, offset: CHUNK }])
  await disk.close()
})

test('the rate is kept', async (t) => {
  const folder = new DiskFolder(t)
  await made(folder)
  const started = performance.now()
  const file = folder.path('a.chunkdisk')
  const bytes = CHUNK + 16 * PAGE
  await scrubDisk(nodeFiles(), file, { rate: 4 * bytes })
  // A quarter of a second, less what a burst may take: it cannot have been faster.
  t.true(performance.now() - started > 100)
})

test('rebuilding believes the data, and gives checksums to a disk that had none', async (t) => {
  const folder = new DiskFolder(t)
  await made(folder)
  put(folder.path('a', 'chunk1'), 5 * PAGE, filled(PAGE, 9))
  fs.rmSync(folder.path('a', 'crc32c-0'))
  fs.rmSync(folder.path('a', 'checksums'))
  const file = folder.path('a.chunkdisk')
  await t.throwsAsync(folder.open('a'), { code: 'EPART', message: /scrub .*--rebuild/ })
  t.deepEqual(await rebuildSums(nodeFiles(), file, PathMap.NONE, LOG), { left: 0 })
  t.like(await scrub(folder), { findings: [], layers: [{ unknownBytes: 0 }] })
  const { client, disk } = await folder.open('a')
  sameBytes(t, await client.read(CHUNK, CHUNK), filled(CHUNK, 3).fill(9, 5 * PAGE, 6 * PAGE))
  await t.throwsAsync(rebuildSums(nodeFiles(), file, PathMap.NONE, LOG), { code: 'EINUSE' })
  await disk.close()

  await made(folder, 'plain', { checksums: false })
  const plain = folder.path('plain.chunkdisk')
  await t.throwsAsync(rebuildSums(nodeFiles(), plain, PathMap.NONE, LOG), {
    message: /add the line "checksums crc32c"/,
  })
  fs.appendFileSync(plain, 'checksums crc32c\n')
  t.deepEqual(await rebuildSums(nodeFiles(), plain, PathMap.NONE, LOG), { left: 0 })
  t.like(await scrub(folder, 'plain'), { findings: [], layers: [{ verifiedBytes: 2 * CHUNK }] })
  put(folder.path('plain', 'chunk1'), 5 * PAGE, filled(PAGE, 9))
  t.is((await scrub(folder, 'plain')).findings.length, 1)
})
