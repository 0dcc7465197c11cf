/** Disks in the modes with O_DIRECT: which files have it, what is refused, what is aligned. */
import fs from 'node:fs'
import path from 'node:path'
import test from 'ava'
import type { ExecutionContext } from 'ava'
import { CacheMode } from '../../chunkstore/options.ts'
import { RequestFlag } from '../../device/device.ts'
import { type FileOperation, type Files, Seek, type SeekKind } from '../../io/io.ts'
import { DiskFolder, nodeFiles, plainFiles, sameAsImage } from '../helpers/chunk-disk.ts'
import { filesOfEngines, openedDirect, requireDirect } from '../helpers/direct.ts'
import { Random, seedFor } from '../helpers/random.ts'
import { TestFiles } from '../helpers/test-files.ts'

const CHUNK = 65_536
const PAGE = 4096
const SECTOR = 512
const [EINVAL, EIO, EACCES, ENXIO] = [22, 5, 13, 6]
const MODES = [CacheMode.NONE, CacheMode.DIRECTSYNC] as const
const BUFFERED = [CacheMode.WRITEBACK, CacheMode.WRITETHROUGH, CacheMode.UNSAFE] as const
const SIZE = 6 * CHUNK + 3 * PAGE

const filled = (length: number, value = 7): Uint8Array => new Uint8Array(length).fill(value)

/** A parent with data in chunks 0 to 3, the last two of them with holes, and a child of it. */
async function chain(t: ExecutionContext): Promise<[DiskFolder, Uint8Array]> {
  const folder = new DiskFolder(t)
  folder.make('base', { size: SIZE })
  folder.make('child', { size: SIZE, parent: 'base' })
  const { client, disk } = await folder.open('base')
  const image = new Uint8Array(SIZE).fill(3, 0, 3 * CHUNK + PAGE)
  await client.write(0, image.subarray(0, 3 * CHUNK + PAGE))
  image.fill(0, 2 * CHUNK, 2 * CHUNK + 5 * PAGE)
  await client.trim(2 * CHUNK, 5 * PAGE)
  await disk.close()
  return [folder, image]
}

/** Every way a chunk file comes into being or is opened. */
async function touchAll(folder: DiskFolder, cacheMode: CacheMode, files: Files): Promise<void> {
  const { client, disk } = await folder.open('child', { cacheMode }, files)
  // Copied from the parent; new; empty; an empty one filled; freed in part.
  await client.write(0, filled(PAGE))
  await client.write(5 * CHUNK, filled(PAGE))
  await client.trim(CHUNK, CHUNK)
  await client.trim(2 * CHUNK, CHUNK)
  await client.write(2 * CHUNK, filled(PAGE))
  await client.trim(0, PAGE)
  await client.zero(3 * CHUNK, PAGE, RequestFlag.NO_HOLE)
  await disk.close()
}

for (const [engine, files] of filesOfEngines()) {
  for (const mode of [...MODES, ...BUFFERED]) {
    const isDirect = (MODES as readonly CacheMode[]).includes(mode)
    const some = isDirect ? 'all' : 'no'
    test(`${engine}, ${mode}: ${some} chunk files have O_DIRECT`, async (t) => {
      if (!requireDirect(t)) return
      const [folder, image] = await chain(t)
      await touchAll(folder, mode, files)
      const { client, disk } = await folder.open('child', { cacheMode: mode }, files)
      image
        .fill(7, 0, PAGE)
        .fill(0, 0, PAGE)
        .fill(7, 5 * CHUNK, 5 * CHUNK + PAGE)
      image.fill(0, CHUNK, 3 * CHUNK).fill(7, 2 * CHUNK, 2 * CHUNK + PAGE)
      image.fill(0, 3 * CHUNK, 3 * CHUNK + PAGE)
      await sameAsImage(client, image)
      // What a disk begins with, syncing the files it finds, is over then.
      await client.flush()
      const read = openedDirect('self', folder.directory)
      await disk.close()
      const names = ['child/chunk0', 'child/chunk2', 'child/chunk3', 'child/chunk5']
      const expected = Object.fromEntries(names.map((name) => [name, isDirect]))
      t.deepEqual(chunksOf(read), expected)
    })

    test(`${engine}, ${mode}: so have a parent's and a new copy's`, async (t) => {
      if (!requireDirect(t)) return
      const [folder] = await chain(t)
      const watched = new TestFiles(files)
      const { client } = await folder.open('child', { cacheMode: mode }, watched)
      const held = watched.hold(/^sync \.tmp-chunk0/)
      const write = client.write(0, filled(PAGE))
      await held.reached
      const expected = { 'base/chunk0': isDirect, 'child/.tmp-chunk0': isDirect }
      t.deepEqual(chunksOf(openedDirect('self', folder.directory)), expected)
      held.release()
      await write
    })
  }
}

function chunksOf(opened: Record<string, boolean>): Record<string, boolean> {
  return Object.fromEntries(
    Object.entries(opened).filter(([name]) => name.includes('chunk') && !name.endsWith('disk')),
  )
}

/** Finds data and holes in sectors, as a file system with small blocks does. */
class SmallBlocks extends TestFiles {
  override seek(operation: FileOperation, kind: SeekKind): boolean {
    const { size } = fs.fstatSync(operation.fd)
    const copy = fs.readFileSync(this.pathOf(operation.fd))
    const isData = (at: number): boolean =>
      copy.subarray(at, at + SECTOR).some((byte) => byte !== 0)
    let at = operation.position
    const wanted = kind === Seek.DATA
    while (at < size && isData(at) !== wanted) at += SECTOR - (at % SECTOR)
    operation.result = at < size || (!wanted && operation.position < size) ? at : -ENXIO
    return true
  }

  pathOf(fd: number): string {
    return fs.readlinkSync(`/proc/self/fd/${fd}`)
  }
}

for (const [engine, files] of filesOfEngines()) {
  test(`${engine}: blocks smaller than a page are read and copied in whole pages`, async (t) => {
    if (!requireDirect(t)) return
    const random = new Random(seedFor(t))
    const folder = new DiskFolder(t)
    folder.make('base', { size: SIZE })
    folder.make('child', { size: SIZE, parent: 'base' })
    const image = new Uint8Array(SIZE)
    for (let at = 0; at < SIZE; at += SECTOR) {
      if (random.chance(0.4)) image.fill(random.between(1, 255), at, at + SECTOR)
    }
    const base = await folder.open('base')
    await base.client.write(0, image)
    await base.disk.close()
    const small = new SmallBlocks(files)
    const cacheMode = CacheMode.NONE
    const { client } = await folder.open('child', { cacheMode }, small)
    await sameAsImage(client, image)
    // A page of each chunk is written: all else is copied.
    for (let at = 0; at < SIZE; at += CHUNK) {
      image.fill(9, at + PAGE, at + 2 * PAGE)
      await client.write(at + PAGE, filled(PAGE, 9))
    }
    await sameAsImage(client, image)
    const calls = small.take(/^(read|write) /)
    t.true(calls.length > 0)
    for (const call of calls) {
      const [position, length] = (call.split(' ').at(-1) ?? '').split('+').map(Number)
      if (position % PAGE !== 0 || length % PAGE !== 0) t.fail(call)
    }
  })
}

test('zeros are written where holes cannot be punched', async (t) => {
  if (!requireDirect(t)) return
  for (const [, real] of filesOfEngines()) {
    const files = new TestFiles(real)
    files.fixedAbilities = { punchHole: false, zeroRange: false }
    const folder = new DiskFolder(t)
    folder.make('a', { size: 8 * 2 ** 20, chunkSize: 8 * 2 ** 20 })
    const { client } = await folder.open('a', { cacheMode: CacheMode.NONE }, files)
    const image = filled(8 * 2 ** 20)
    await client.write(0, image)
    image.fill(0, PAGE, 5 * 2 ** 20)
    await client.trim(PAGE, 5 * 2 ** 20 - PAGE)
    await t.notThrowsAsync(sameAsImage(client, image))
  }
})

for (const cacheMode of MODES) {
  test(`${cacheMode}: a part that takes no O_DIRECT is named, with the fix`, async (t) => {
    const folder = new DiskFolder(t)
    folder.make('a', { parts: { p: 8, q: 8 } })
    const files = new TestFiles(nodeFiles())
    files.fixedAbilities = { direct: false, directRefusal: 'its file system refuses' }
    const error = await t.throwsAsync(folder.open('a', { cacheMode }, files), { code: 'EDIRECT' })
    const { p } = { p: folder.path('p') }
    const expected = `O_DIRECT cannot be used in part directory ${p}: its file system refuses; `
    t.true(error.message.startsWith(expected), error.message)
    t.regex(error.message, /--cache writeback/)
    t.deepEqual(folder.openDescriptors(), [])
    // Nothing stays locked either.
    await (await folder.open('a')).disk.close()
  })
}

test('buffered modes do not mind where O_DIRECT is refused', async (t) => {
  for (const cacheMode of BUFFERED) {
    const folder = new DiskFolder(t)
    folder.make('a')
    const files = new TestFiles(nodeFiles())
    files.fixedAbilities = { direct: false, directRefusal: 'its file system refuses' }
    const { client } = await folder.open('a', { cacheMode }, files)
    await t.notThrowsAsync(client.write(0, filled(PAGE)))
  }
})

test("a parent's directory that takes no O_DIRECT is named, and not written to", async (t) => {
  const [folder] = await chain(t)
  const before = folder.fingerprint('base')
  for (const readOnly of [false, true]) {
    const files = new TestFiles(nodeFiles())
    files.fixedAbilities = { direct: true, directRefusal: '' }
    files.fault = (call) => (call === 'open chunk0' ? EINVAL : 0)
    const options = { cacheMode: CacheMode.NONE, readOnly }
    const error = await t.throwsAsync(folder.open('child', options, files), { code: 'EDIRECT' })
    t.true(error.message.includes(`part directory ${folder.path('base')}: `), error.message)
    t.regex(error.message, /EINVAL/)
    t.deepEqual(files.take(/^abilities/), readOnly ? [] : ['abilities child'])
  }
  t.deepEqual(folder.fingerprint('base'), before)
  t.deepEqual(folder.openDescriptors(), [])
})

test("a parent's chunk that cannot be opened at all is left for those who read it", async (t) => {
  if (!requireDirect(t)) return
  const [folder, image] = await chain(t)
  const files = new TestFiles(nodeFiles())
  files.fault = (call) => (call === 'open chunk0' ? EACCES : 0)
  const { client } = await folder.open('child', { cacheMode: CacheMode.NONE }, files)
  t.deepEqual(files.take(/^open chunk/), ['open chunk0', 'open chunk1'], 'another one is tried')
  const read = client.read(0, PAGE)
  await t.throwsAsync(read, { message: `device fails with errno ${EIO} at 0` })
  t.deepEqual(await client.read(CHUNK, PAGE), image.slice(CHUNK, CHUNK + PAGE))
})

test('without system calls the modes are refused, and why', async (t) => {
  const [folder] = await chain(t)
  for (const readOnly of [false, true]) {
    const options = { cacheMode: CacheMode.NONE, readOnly }
    const open = folder.open('child', options, plainFiles())
    const error = await t.throwsAsync(open, { code: 'EDIRECT' })
    t.regex(error.message, /koffi/)
  }
})

test('a file that was cut gives an error, at whatever place', async (t) => {
  if (!requireDirect(t)) return
  for (const [, files] of filesOfEngines()) {
    const [folder, image] = await chain(t)
    const { client } = await folder.open('child', { cacheMode: CacheMode.NONE }, files)
    t.deepEqual(await client.read(0, CHUNK), image.slice(0, CHUNK))
    const file = folder.path('base', 'chunk0')
    for (const size of [CHUNK - PAGE, CHUNK - 1000, 1000]) {
      fs.truncateSync(file, size)
      await t.throwsAsync(
        client.read(0, CHUNK),
        { message: /errno 5/ },
        `${path.basename(file)} ${size}`,
      )
    }
    // Nor is it copied.
    await t.throwsAsync(client.write(0, filled(PAGE)), { message: /errno 5/ })
  }
})
