/** Somebody takes files away: the chunk store says so, and goes on with the rest. */
import fs from 'node:fs'
import test from 'ava'
import type { ExecutionContext } from 'ava'
import { sameBytes } from '../helpers/bytes.ts'
import { DiskFolder, nodeFiles, sameAsImage } from '../helpers/chunk-disk.ts'
import type { OpenedDisk } from '../helpers/chunk-disk.ts'
import { TestFiles } from '../helpers/test-files.ts'

const CHUNK = 65_536
const PAGE = 4096
const SIZE = 16 * CHUNK
const [EIO, ENFILE, EMFILE, EROFS] = [5, 23, 24, 30]

interface Scene extends OpenedDisk {
  readonly folder: DiskFolder
  readonly files: TestFiles
}

const filled = (length: number, value = 7): Uint8Array => new Uint8Array(length).fill(value)
const failsWith = (errno: number) => ({ message: new RegExp(`errno ${errno} `) })

/** A disk full of sevens, just opened, and nothing is left of what that does in the background. */
async function open(t: ExecutionContext, size = SIZE): Promise<Scene> {
  const folder = new DiskFolder(t)
  folder.make('a', { size })
  const before = await folder.open('a')
  await before.client.write(0, filled(size))
  await before.disk.close()
  const files = new TestFiles(nodeFiles())
  const opened = await folder.open('a', {}, files)
  await opened.client.flush()
  return { folder, files, ...opened }
}

/** As many as this many files may be open. */
function limitOpenFiles(files: TestFiles, limit: number, errno = EMFILE): void {
  files.fault = (call) =>
    /^(open|create) /.test(call) && files.openNames.size >= limit ? errno : 0
}

test('a file that may only be read is read, and written again as soon as it may', async (t) => {
  const { client, files, messages, disk } = await open(t)
  let isReadOnly = true
  let opens = 0
  // For writing, which is tried first, it fails.
  files.fault = (call) => (isReadOnly && call === 'open chunk1' && opens++ % 2 === 0 ? EROFS : 0)
  sameBytes(t, await client.read(CHUNK, CHUNK), filled(CHUNK))
  t.deepEqual(messages, ['chunk file cannot be opened for writing'])
  await t.throwsAsync(client.write(CHUNK, filled(PAGE)), failsWith(EROFS))
  await t.throwsAsync(client.trim(CHUNK, CHUNK), failsWith(EROFS))
  await t.throwsAsync(client.trim(CHUNK, PAGE), failsWith(EROFS))
  const [read, write] = [client.read(CHUNK, PAGE), client.write(CHUNK, filled(PAGE, 8))]
  await t.throwsAsync(write, failsWith(EROFS))
  sameBytes(t, await read, filled(PAGE))
  await client.write(0, filled(PAGE, 8))
  await client.flush()

  isReadOnly = false
  await client.write(CHUNK, filled(PAGE, 9))
  await client.trim(CHUNK + PAGE, PAGE)
  await disk.close()
  t.is(files.openNames.size, 0)
})

for (const errno of [EMFILE, ENFILE]) {
  test(`errno ${errno}: files that nobody uses are closed for those that are needed`, async (t) => {
    const { client, files, messages, disk } = await open(t)
    // The descriptor, the part, and these.
    limitOpenFiles(files, 2 + 3, errno)
    const image = filled(SIZE)
    for (let index = 0; index < 16; index++) {
      image.fill(index + 1, index * CHUNK, index * CHUNK + PAGE)
      await client.write(index * CHUNK, filled(PAGE, index + 1))
      t.true(files.openNames.size <= 5)
    }
    await sameAsImage(client, image)
    t.is(messages.filter((each) => each.startsWith('too many open files')).length, 1)
    files.fault = () => 0
    await disk.close()
  })
}

test('copies of the parent make do with few descriptors', async (t) => {
  const chunks = 64
  const { folder, disk } = await open(t, chunks * CHUNK)
  await disk.close()
  folder.make('child', { size: chunks * CHUNK, parent: 'a' })
  const files = new TestFiles(nodeFiles())
  const child = await folder.open('child', {}, files)
  // The descriptors and parts, and sixteen copies of two files each.
  limitOpenFiles(files, 4 + 32)
  const image = filled(chunks * CHUNK)
  const writes = Array.from({ length: chunks }, (_, index) => {
    image.fill(8, index * CHUNK, index * CHUNK + PAGE)
    return child.client.write(index * CHUNK, filled(PAGE, 8))
  })
  await Promise.all(writes)
  await sameAsImage(child.client, image)
  t.true(child.messages.some((each) => each.startsWith('too many open files')))
  files.fault = () => 0
  await child.disk.close()
})

test('no descriptor for a long time is an I/O error, once there is one all is well', async (t) => {
  const { client, files, messages } = await open(t)
  limitOpenFiles(files, 0)
  const failing = [client.read(0, PAGE), client.write(CHUNK, filled(PAGE))]
  for (const each of failing) await t.throwsAsync(each, failsWith(EIO))
  t.true(messages.includes('chunk file cannot be opened'))
  files.fault = () => 0
  sameBytes(t, await client.read(0, PAGE), filled(PAGE))
  await client.write(CHUNK, filled(PAGE))
})

test('a part that was renamed gets nothing under its old name', async (t) => {
  const { client, folder, messages } = await open(t)
  await client.trim(3 * CHUNK, CHUNK)
  await client.read(0, PAGE)
  fs.renameSync(folder.path('a'), folder.path('elsewhere'))
  await t.throwsAsync(client.read(CHUNK, PAGE), failsWith(EIO))
  fs.mkdirSync(folder.path('a'))
  fs.writeFileSync(folder.path('a', 'chunk1'), filled(CHUNK, 1))
  await t.throwsAsync(client.read(CHUNK, PAGE), failsWith(EIO))
  await t.throwsAsync(client.write(CHUNK, filled(PAGE)), failsWith(EIO))
  t.deepEqual(folder.list('a'), ['chunk1 65536'])
  // What is open goes on, and is synced where it is.
  await client.write(0, filled(PAGE, 8))
  await client.flush()
  t.true(messages.includes('chunk file cannot be opened'))

  fs.rmSync(folder.path('a'), { recursive: true })
  fs.renameSync(folder.path('elsewhere'), folder.path('a'))
  await client.write(CHUNK, filled(PAGE, 9))
  await client.write(3 * CHUNK, filled(PAGE, 9))
  sameBytes(t, await client.read(0, PAGE), filled(PAGE, 8))
})

for (const [what, damage] of [
  ['deleted', (file: string) => fs.rmSync(file)],
  ['cut short', (file: string) => fs.truncateSync(file, PAGE)],
  ['emptied', (file: string) => fs.truncateSync(file, 0)],
] as const) {
  test(`a chunk file ${what} before it is opened is an I/O error, never zeros`, async (t) => {
    const { client, folder, messages, disk } = await open(t)
    damage(folder.path('a', 'chunk1'))
    await t.throwsAsync(client.read(CHUNK, PAGE), failsWith(EIO))
    await t.throwsAsync(client.write(CHUNK, filled(PAGE)), failsWith(EIO))
    await t.throwsAsync(client.trim(CHUNK, CHUNK), failsWith(EIO))
    t.true(messages.some((each) => /cannot be opened|wrong size/.test(each)))
    await client.write(2 * CHUNK, filled(PAGE, 8))
    await client.flush()
    sameBytes(t, await client.read(0, CHUNK), filled(CHUNK))
    await disk.close()
  })

  test(`a chunk file ${what} while it is written: no flush says that it is safe`, async (t) => {
    const { client, folder, messages, disk } = await open(t)
    await client.write(CHUNK, filled(PAGE, 8))
    damage(folder.path('a', 'chunk1'))
    await t.throwsAsync(client.flush(), failsWith(EIO))
    await t.throwsAsync(client.flush(), failsWith(EIO))
    await t.throwsAsync(client.write(0, filled(PAGE)), failsWith(EIO))
    t.true(messages.some((each) => each.startsWith('somebody deleted or cut the chunk file')))
    sameBytes(t, await client.read(0, CHUNK), filled(CHUNK))
    await t.throwsAsync(disk.close(), { code: 'ESYNC' })
  })
}

test('a chunk file deleted after it was synced is still read while it is open', async (t) => {
  const { client, folder, disk } = await open(t)
  await client.read(CHUNK, PAGE)
  fs.rmSync(folder.path('a', 'chunk1'))
  await client.write(0, filled(PAGE, 8))
  await client.flush()
  sameBytes(t, await client.read(CHUNK, PAGE), filled(PAGE))
  await disk.close()
})
