import fs from 'node:fs'
import path from 'node:path'
import test, { type ExecutionContext } from 'ava'
import { checkDisk } from '../../../chunkstore/check.ts'
import { repairDisk } from '../../../chunkstore/repair.ts'
import { scrubDisk } from '../../../chunkstore/scrub.ts'
import { DiskFolder, nodeFiles, plainFiles, sameAsImage } from '../../helpers/chunk-disk.ts'
import { Random, seedFor } from '../../helpers/random.ts'

const PAGE = 4096
/** More than a region. */
const CHUNK = 1024 * PAGE

const filled = (length: number, value: number): Uint8Array => new Uint8Array(length).fill(value)

async function isClean(t: ExecutionContext, folder: DiskFolder): Promise<void> {
  const file = folder.path('a.chunkdisk')
  const { findings } = await scrubDisk(nodeFiles(), file, { returns: 0 })
  t.deepEqual(findings, [])
  t.deepEqual(await checkDisk(nodeFiles(), file), [])
}

for (const makeFiles of [nodeFiles, plainFiles]) {
  const how = makeFiles === nodeFiles ? '' : ', without system calls'

  test(`grown and shrunk at random a disk with checksums is right${how}`, async (t) => {
    const random = new Random(seedFor(t))
    const folder = new DiskFolder(t)
    let size = 3 * CHUNK
    folder.make('a', { size, chunkSize: CHUNK, checksums: true })
    let image = filled(size, 0)
    let { disk, client } = await folder.open('a', {}, makeFiles())
    for (let round = 1; round <= 24; round++) {
      for (let count = 0; count < 4; count++) {
        const length = random.logarithmic(1, 40) * PAGE
        const at = random.between(0, (size - length) / PAGE) * PAGE
        await client.write(at, filled(length, round))
        image.fill(round, at, at + length)
      }
      if (random.chance(0.3)) await client.flush()
      if (random.chance(0.3)) await disk.settle()
      size = random.between(CHUNK / PAGE, (5 * CHUNK) / PAGE) * PAGE
      await disk.resize({ size, discardTail: true })
      const before = image
      image = filled(size, 0)
      image.set(before.subarray(0, size))
      if (random.chance(0.5)) {
        await disk.close()
        await isClean(t, folder)
        ;({ disk, client } = await folder.open('a', {}, makeFiles()))
      }
      await sameAsImage(client, image)
    }
    await disk.close()
    await isClean(t, folder)
  })
}

test('what was behind the end of a disk with checksums does not come back', async (t) => {
  const folder = new DiskFolder(t)
  folder.make('a', { size: 2.5 * CHUNK, chunkSize: CHUNK, checksums: true })
  const { disk, client } = await folder.open('a')
  await client.write(2 * CHUNK, filled(CHUNK / 2, 1))
  await disk.close()
  const fd = fs.openSync(folder.path('a', 'chunk2'), 'r+')
  fs.writeSync(fd, filled(PAGE, 9), 0, PAGE, CHUNK - PAGE)
  fs.closeSync(fd)
  fs.writeFileSync(folder.path('a', 'crc32c-3'), filled(PAGE, 7))
  const again = await folder.open('a')
  await again.disk.resize({ size: 4 * CHUNK })
  const image = filled(4 * CHUNK, 0).fill(1, 2 * CHUNK, 2.5 * CHUNK)
  await sameAsImage(again.client, image)
  await again.disk.close()
  await isClean(t, folder)
})

test('a part that a resize adds has checksums; the line of the descriptor stays', async (t) => {
  const folder = new DiskFolder(t)
  folder.make('a', { size: CHUNK, chunkSize: CHUNK, checksums: true, parts: { one: 1 } })
  const { disk, client } = await folder.open('a')
  const parts = [{ directory: folder.path('two'), isRelative: true, chunksMax: 3 }]
  await disk.resize({ size: 3 * CHUNK, parts })
  await client.write(0, filled(3 * CHUNK, 2))
  await disk.close()
  const text = fs.readFileSync(folder.path('a.chunkdisk'), 'utf8')
  t.is(text, `${3 * CHUNK}\n${CHUNK}\n3 one\nchecksums crc32c\n3 two\n`)
  t.deepEqual(folder.list('two').filter((name) => name.startsWith('checksums')).length, 1)
  await isClean(t, folder)
  const again = await folder.open('a')
  await sameAsImage(again.client, filled(3 * CHUNK, 2))
})

test('what a killed --discard-tail leaves is moved aside, with its checksums', async (t) => {
  const folder = new DiskFolder(t)
  const file = folder.make('a', { size: 4 * CHUNK, chunkSize: CHUNK, checksums: true })
  const { disk, client } = await folder.open('a')
  await client.write(0, filled(4 * CHUNK, 1))
  await disk.close()
  // The descriptor was replaced, and no file has gone yet.
  const text = fs.readFileSync(file, 'utf8')
  fs.writeFileSync(file, text.replace(`${4 * CHUNK}`, `${2 * CHUNK}`))
  const orphans = ['chunk2', 'chunk3', 'crc32c-2', 'crc32c-3']
  const told = (found: readonly { rule: string; file: string }[]) =>
    found.map((each) => `${each.rule}: ${path.basename(each.file)}`).sort()
  const all = orphans.map((name) => `orphan: ${name}`)
  t.deepEqual(told(await checkDisk(nodeFiles(), file)), all)
  const planned = await repairDisk(nodeFiles(), file, { dryRun: true })
  t.deepEqual([told(planned.mends), planned.findings], [all, []])
  const { mends, findings } = await repairDisk(nodeFiles(), file)
  t.deepEqual([told(mends), findings], [all, []])
  t.deepEqual(fs.readdirSync(folder.path('a', '.chunknbd-aside')).sort(), orphans)
  await isClean(t, folder)
})
