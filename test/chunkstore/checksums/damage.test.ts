/** What happens to chunk files and checksum files behind the disk's back, and what a read says. */
import fs from 'node:fs'
import test from 'ava'
import { sameBytes } from '../../helpers/bytes.ts'
import { DiskFolder, type OpenedDisk } from '../../helpers/chunk-disk.ts'
import { type DeviceClient, DeviceError } from '../../helpers/device-client.ts'
import { Random, seedFor } from '../../helpers/random.ts'

const PAGE = 4096
const REGION = 1008 * PAGE
const EIO = 5
/** Two regions, and a bit of a third. */
const CHUNK = 2 * REGION + 8 * PAGE
const SHAPE = { size: 3 * CHUNK, chunkSize: CHUNK, checksums: true }

const filled = (length: number, value: number): Uint8Array => new Uint8Array(length).fill(value)

/** A disk with data in its first two chunks, closed. */
async function made(folder: DiskFolder): Promise<void> {
  folder.make('a', SHAPE)
  const { client, disk } = await folder.open('a')
  await client.write(0, filled(16 * PAGE, 1))
  await client.write(REGION - 2 * PAGE, filled(4 * PAGE, 2))
  await client.write(CHUNK, filled(CHUNK, 3))
  await disk.close()
}

function flip(file: string, position: number): void {
  const fd = fs.openSync(file, 'r+')
  const byte = Buffer.alloc(1)
  fs.readSync(fd, byte, 0, 1, position)
  byte[0] ^= 0x10
  fs.writeSync(fd, byte, 0, 1, position)
  fs.closeSync(fd)
}

async function failsAt(
  t: import('ava').ExecutionContext,
  client: DeviceClient,
  offset: number,
  length: number,
  bad = offset,
): Promise<void> {
  const error = await t.throwsAsync(client.read(offset, length), { instanceOf: DeviceError })
  t.deepEqual([error?.errno, error?.offset], [EIO, bad])
}

test('every flipped bit of data is EIO at its page; the neighbours can be read', async (t) => {
  const random = new Random(seedFor(t))
  const folder = new DiskFolder(t)
  await made(folder)
  for (let round = 0; round < 12; round++) {
    const page = random.between(0, CHUNK / PAGE - 1)
    flip(folder.path('a', 'chunk1'), page * PAGE + random.between(0, PAGE - 1))
    const { client, disk, messages } = await folder.open('a')
    const at = CHUNK + page * PAGE
    await failsAt(t, client, at, PAGE)
    const first = Math.max(CHUNK, at - 5 * PAGE)
    await failsAt(t, client, first, Math.min(10 * PAGE, 2 * CHUNK - first), at)
    t.regex(messages.join('\n'), new RegExp(`the page at ${at} of the disk does not match`))
    if (page > 0) sameBytes(t, await client.read(at - PAGE, PAGE), filled(PAGE, 3))
    if (at + PAGE < 2 * CHUNK) sameBytes(t, await client.read(at + PAGE, PAGE), filled(PAGE, 3))
    await client.write(at, filled(PAGE, 3))
    sameBytes(t, await client.read(at, PAGE), filled(PAGE, 3))
    await disk.close()
  }
})

test('data that appears in a hole is found, by reads with extents, too', async (t) => {
  const folder = new DiskFolder(t)
  await made(folder)
  const fd = fs.openSync(folder.path('a', 'chunk0'), 'r+')
  fs.writeSync(fd, filled(PAGE, 9), 0, PAGE, 40 * PAGE)
  fs.closeSync(fd)
  const { client } = await folder.open('a')
  await t.throwsAsync(client.readExtents(32 * PAGE, 64 * PAGE), { message: /errno 5/ })
  await failsAt(t, client, 40 * PAGE, PAGE)
  sameBytes(t, await client.read(41 * PAGE, PAGE), filled(PAGE, 0))
})

test('data that became a hole is found, and block status calls it data', async (t) => {
  const folder = new DiskFolder(t)
  await made(folder)
  const file = folder.path('a', 'chunk1')
  const bytes = fs.readFileSync(file)
  fs.truncateSync(file, 0)
  fs.truncateSync(file, CHUNK)
  const fd = fs.openSync(file, 'r+')
  fs.writeSync(fd, bytes, 0, REGION, 0)
  fs.closeSync(fd)
  const { client } = await folder.open('a')
  await failsAt(t, client, CHUNK + REGION, PAGE)
  await t.throwsAsync(client.readExtents(CHUNK + REGION, 64 * PAGE), { message: /errno 5/ })
  const extents = await client.blockStatus(CHUNK, CHUNK)
  t.true(
    extents.every(({ flags }) => flags === 0),
    'a hole nobody made is not told of as one',
  )
})

const isLost = test.macro<[damage: (file: string) => void, message: RegExp]>({
  exec: async (t, damage, message) => {
    const folder = new DiskFolder(t)
    await made(folder)
    damage(folder.path('a', 'chunk1'))
    for (const readOnly of [true, false]) {
      const { client, disk, messages } = await folder.open('a', { readOnly })
      await failsAt(t, client, CHUNK + 5 * PAGE, PAGE)
      await failsAt(t, client, 0, SHAPE.size, CHUNK)
      sameBytes(t, await client.read(0, PAGE), filled(PAGE, 1))
      sameBytes(t, await client.read(2 * CHUNK, PAGE), filled(PAGE, 0))
      t.regex(messages.join('\n'), message)
      if (!readOnly) await t.throwsAsync(client.write(CHUNK, filled(PAGE, 1)))
      await disk.close()
    }
  },
  title: (_, __, message) => `a chunk file is not what it was: ${message.source}`,
})

test(isLost, (file) => fs.rmSync(file), /the chunk file is gone/)
test(isLost, (file) => fs.truncateSync(file, 0), /the chunk file was emptied/)
test(isLost, (file) => fs.truncateSync(file, PAGE), /^$/)

test('a checksum file that is lost makes its chunk fail, but for its zeros', async (t) => {
  const folder = new DiskFolder(t)
  await made(folder)
  fs.rmSync(folder.path('a', 'crc32c-0'))
  const { client } = await folder.open('a')
  await failsAt(t, client, 0, PAGE)
  sameBytes(t, await client.read(100 * PAGE, PAGE), filled(PAGE, 0))
  sameBytes(t, await client.read(CHUNK, PAGE), filled(PAGE, 3))
  await client.write(0, filled(PAGE, 4))
  sameBytes(t, await client.read(0, PAGE), filled(PAGE, 4))
  await failsAt(t, client, PAGE, PAGE)
})

test('a checksum file that is damaged, or of another chunk, says so', async (t) => {
  const folder = new DiskFolder(t)
  await made(folder)
  flip(folder.path('a', 'crc32c-1'), 4 * 7)
  const { client, messages, disk } = await folder.open('a')
  await failsAt(t, client, CHUNK + 7 * PAGE, PAGE)
  sameBytes(t, await client.read(CHUNK + 8 * PAGE, PAGE), filled(PAGE, 3))
  t.regex(messages.join('\n'), /checksum file is damaged/)
  t.regex(messages.join('\n'), /it or its checksum file is damaged/)
  await disk.close()
  fs.copyFileSync(folder.path('a', 'crc32c-1'), folder.path('a', 'crc32c-0'))
  const second = await folder.open('a')
  await failsAt(t, second.client, 0, PAGE)
  t.regex(second.messages.join('\n'), /checksum file is damaged/)
})

test('an old version of a chunk file is found', async (t) => {
  const folder = new DiskFolder(t)
  await made(folder)
  const [file, old] = [folder.path('a', 'chunk1'), folder.path('old')]
  fs.copyFileSync(file, old)
  const { client, disk } = await folder.open('a')
  await client.write(CHUNK + REGION, filled(PAGE, 8))
  await disk.close()
  fs.copyFileSync(old, file)
  const second = await folder.open('a')
  await failsAt(t, second.client, CHUNK + REGION, PAGE)
  sameBytes(t, await second.client.read(CHUNK, PAGE), filled(PAGE, 3))
})

test('damage in a parent is not copied up, nor read through the child', async (t) => {
  const folder = new DiskFolder(t)
  await made(folder)
  for (const checksums of [true, false]) {
    const name = checksums ? 'with' : 'without'
    folder.make(name, { ...SHAPE, parent: 'a', checksums })
  }
  flip(folder.path('a', 'chunk1'), 3 * PAGE)
  for (const name of ['with', 'without']) {
    const { client, disk, messages } = await folder.open(name)
    await failsAt(t, client, CHUNK + 3 * PAGE, PAGE)
    await t.throwsAsync(client.write(CHUNK, filled(PAGE, 7)), { message: /errno 5/ })
    t.regex(messages.join('\n'), /chunk1 does not match its checksum|cannot be created/)
    await client.write(0, filled(PAGE, 7))
    sameBytes(t, await client.read(0, 2 * PAGE), filled(2 * PAGE, 1).fill(7, 0, PAGE))
    await disk.close()
    t.deepEqual(fs.readdirSync(folder.path(name)).includes('crc32c-0'), name === 'with')
  }
})

test('a parent without checksums, a child with: what is copied up is verified', async (t) => {
  const folder = new DiskFolder(t)
  folder.make('base', { ...SHAPE, checksums: false })
  const base = await folder.open('base')
  await base.client.write(0, filled(CHUNK, 5))
  await base.disk.close()
  folder.make('child', { ...SHAPE, parent: 'base' })
  const child = await folder.open('child')
  await child.client.write(PAGE, filled(PAGE, 6))
  await child.disk.close()
  flip(folder.path('base', 'chunk0'), 0)
  const again = await folder.open('child')
  sameBytes(t, await again.client.read(0, CHUNK), filled(CHUNK, 5).fill(6, PAGE, 2 * PAGE))
  await again.disk.close()
  flip(folder.path('child', 'chunk0'), REGION)
  const third: OpenedDisk = await folder.open('child')
  await failsAt(t, third.client, REGION, PAGE)
})
