import fs from 'node:fs'
import test from 'ava'
import type { ExecutionContext } from 'ava'
import type { DiskOptions } from '../../chunkstore/options.ts'
import { FLUSH_PARALLEL } from '../../chunkstore/limits.ts'
import { RequestFlag } from '../../device/device.ts'
import { sameBytes } from '../helpers/bytes.ts'
import { DiskFolder, nodeFiles } from '../helpers/chunk-disk.ts'
import type { OpenedDisk } from '../helpers/chunk-disk.ts'
import { TestFiles } from '../helpers/test-files.ts'

const CHUNK = 65_536
const PAGE = 4096
const EIO = { message: /errno 5 / }

interface Scene extends OpenedDisk {
  readonly folder: DiskFolder
  readonly files: TestFiles
}

async function open(t: ExecutionContext, options: Partial<DiskOptions> = {}): Promise<Scene> {
  const folder = new DiskFolder(t)
  folder.make('a', { size: 8 * CHUNK })
  const files = new TestFiles(nodeFiles())
  return { folder, files, ...(await folder.open('a', options, files)) }
}

const filled = (length: number, value = 7): Uint8Array => new Uint8Array(length).fill(value)

/** Everything that changes something fails, reads do not, until the disk is opened again. */
async function isFailed(t: ExecutionContext, scene: Scene): Promise<void> {
  const { client, disk, files, folder, messages } = scene
  files.fault = () => 0
  t.true(messages.some((message) => message.startsWith('sync failed: the disk refuses')))
  files.take()
  await t.throwsAsync(client.flush(), EIO)
  await t.throwsAsync(client.flush(), EIO)
  await t.throwsAsync(client.write(PAGE, filled(PAGE)), { message: /errno 5 at 4096/ })
  await t.throwsAsync(client.trim(0, CHUNK), EIO)
  await t.throwsAsync(client.zero(0, CHUNK), EIO)
  t.deepEqual(files.take(), [])
  sameBytes(t, await client.read(0, PAGE), filled(PAGE))
  await t.throwsAsync(disk.close(), {
    code: 'ESYNC',
    message: /a\.chunkdisk: .*could not be synced/,
  })
  t.deepEqual(folder.openDescriptors(), [])
  const again = await folder.open('a')
  await again.client.write(0, filled(PAGE, 9))
  await again.client.flush()
  await again.disk.close()
}

test('a chunk file that is cut during the sync at the start fails alone', async (t) => {
  const folder = new DiskFolder(t)
  const count = FLUSH_PARALLEL + 1
  folder.make('a', { size: count * CHUNK })
  for (let index = 0; index < count; index++) {
    fs.writeFileSync(folder.path('a', `chunk${index}`), filled(CHUNK))
  }
  const files = new TestFiles(nodeFiles())
  const held = files.hold(/^sync chunk/)
  const { client, disk } = await folder.open('a', {}, files)
  await held.reached
  // Its turn comes when it is open.
  const last = FLUSH_PARALLEL * CHUNK
  await client.read(last, PAGE)
  fs.truncateSync(folder.path('a', `chunk${FLUSH_PARALLEL}`), PAGE)
  files.take()
  held.release()
  await client.flush()
  t.true(files.take().includes(`sync chunk${FLUSH_PARALLEL}`))
  await t.throwsAsync(client.read(last, CHUNK), EIO)
  await client.write(CHUNK, filled(PAGE, 9))
  await client.flush()
  await disk.close()
})

for (const call of ['sync chunk1', 'syncDirectory a']) {
  test(`after a failed "${call}" of a flush the disk stays failed`, async (t) => {
    const scene = await open(t)
    const { client, files } = scene
    await client.write(0, filled(3 * CHUNK))
    files.fault = (each) => (each === call ? 28 : 0)
    await t.throwsAsync(client.flush(), EIO)
    await isFailed(t, scene)
  })

  test(`after a failed "${call}" for FUA the disk stays failed`, async (t) => {
    const scene = await open(t)
    const { client, files } = scene
    await client.write(0, filled(PAGE))
    files.fault = (each) => (each === call ? 5 : 0)
    await t.throwsAsync(client.write(CHUNK, filled(PAGE), RequestFlag.FUA), EIO)
    await isFailed(t, scene)
  })
}

test('flushes that wait behind a round that fails fail too', async (t) => {
  const scene = await open(t)
  const { client, files } = scene
  await client.write(0, filled(PAGE))
  files.fault = (call) => (call === 'sync chunk0' ? 5 : 0)
  const held = files.hold(/^sync chunk0/)
  const early = client.flush()
  await held.reached
  const late = [client.flush(), client.flush()]
  held.release()
  for (const flush of [early, ...late]) await t.throwsAsync(flush, EIO)
  await isFailed(t, scene)
})

test('a request with FUA that was under way when a sync failed fails', async (t) => {
  const scene = await open(t)
  const { client, files } = scene
  await client.write(0, filled(2 * CHUNK))
  const held = files.hold(/^write chunk1/)
  const write = client.write(CHUNK, filled(PAGE), RequestFlag.FUA)
  await held.reached
  files.fault = (call) => (call === 'sync chunk0' ? 5 : 0)
  await t.throwsAsync(client.flush(), EIO)
  files.fault = () => 0
  held.release()
  await t.throwsAsync(write, EIO)
  await isFailed(t, scene)
})

test('a sync that fails when a file has to be closed is not forgotten', async (t) => {
  const scene = await open(t, { openFilesMax: 1 })
  const { client, files } = scene
  await client.write(0, filled(PAGE))
  files.fault = (call) => (call === 'sync chunk0' ? 5 : 0)
  await client.write(CHUNK, filled(PAGE)).catch(() => {})
  await client.read(CHUNK, PAGE)
  t.deepEqual(files.take(/^close chunk0/), [])
  await isFailed(t, scene)
})

test('a failed sync of a copy fails the write, not the disk', async (t) => {
  const folder = new DiskFolder(t)
  folder.make('base', { size: 2 * CHUNK })
  folder.make('child', { size: 2 * CHUNK, parent: 'base' })
  const base = await folder.open('base')
  await base.client.write(0, filled(CHUNK))
  await base.disk.close()
  const files = new TestFiles(nodeFiles())
  const { client } = await folder.open('child', {}, files)
  files.fault = (call) => (call === 'sync .tmp-chunk0' ? 5 : 0)
  await t.throwsAsync(client.write(PAGE, filled(PAGE, 9)), EIO)
  t.deepEqual(folder.list('child'), [])
  files.fault = () => 0
  await client.write(PAGE, filled(PAGE, 9))
  await client.flush()
  sameBytes(t, await client.read(0, CHUNK), filled(CHUNK).fill(9, PAGE, 2 * PAGE))
})
