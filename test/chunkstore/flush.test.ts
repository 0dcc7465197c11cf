import test from 'ava'
import type { ExecutionContext } from 'ava'
import { CacheMode } from '../../chunkstore/options.ts'
import type { DiskOptions } from '../../chunkstore/options.ts'
import { RequestFlag } from '../../device/device.ts'
import { DiskFolder, nodeFiles } from '../helpers/chunk-disk.ts'
import type { OpenedDisk } from '../helpers/chunk-disk.ts'
import { requireDirect } from '../helpers/direct.ts'
import { TestFiles } from '../helpers/test-files.ts'

const CHUNK = 65_536
const PAGE = 4096
const { FUA } = RequestFlag
const SYNCS = /^sync/

interface Scene extends OpenedDisk {
  readonly folder: DiskFolder
  readonly files: TestFiles
}

async function open(t: ExecutionContext, options: Partial<DiskOptions> = {}): Promise<Scene> {
  const folder = new DiskFolder(t)
  folder.make('a', { size: 8 * CHUNK, parts: { p: 4, q: 4 } })
  const files = new TestFiles(nodeFiles())
  const opened = await folder.open('a', options, files)
  files.take()
  return { folder, files, ...opened }
}

const filled = (length: number, value = 7): Uint8Array => new Uint8Array(length).fill(value)

/** Whether a promise is settled by now, after all that can happen without the test's help. */
async function isSettled(promise: Promise<unknown>): Promise<boolean> {
  let settled = false
  const note = (): void => void (settled = true)
  promise.then(note, note)
  for (let turn = 0; turn < 20; turn++) await new Promise((go) => setImmediate(go))
  return settled
}

test('a flush syncs the data of every chunk before the names in the directories', async (t) => {
  const { client, files } = await open(t)
  await client.write(0, filled(6 * CHUNK))
  t.deepEqual(files.take(SYNCS), [])
  await client.flush()
  const calls = files.take(SYNCS)
  const chunks = [0, 1, 2, 3, 4, 5].map((index) => `sync chunk${index}`)
  t.deepEqual(calls.slice(0, 6).sort(), chunks)
  t.deepEqual(calls.slice(6), ['syncDirectory p', 'syncDirectory q'])
})

test('no name is synced while the data of a chunk is not', async (t) => {
  const { client, files } = await open(t)
  await client.write(0, filled(6 * CHUNK))
  const held = files.hold(/^sync chunk3/)
  const flush = client.flush()
  await held.reached
  t.false(await isSettled(flush))
  t.deepEqual(files.take(/^syncDirectory/), [])
  held.release()
  await flush
  t.deepEqual(files.take(/^syncDirectory/), ['syncDirectory p', 'syncDirectory q'])
})

test('a second flush has nothing to do', async (t) => {
  const { client, files } = await open(t)
  await client.flush()
  await client.write(0, filled(CHUNK))
  await client.flush()
  files.take()
  await client.flush()
  t.deepEqual(files.take(), [])
  await client.write(0, filled(CHUNK))
  await client.flush()
  t.deepEqual(files.take(SYNCS), ['sync chunk0'])
})

for (const [title, change] of [
  ['a trim inside a chunk', (scene: Scene) => scene.client.trim(0, PAGE)],
  ['a trim of a chunk', (scene: Scene) => scene.client.trim(0, CHUNK)],
  ['a zero', (scene: Scene) => scene.client.zero(0, PAGE)],
  ['an allocation', (scene: Scene) => scene.client.zero(0, PAGE, RequestFlag.NO_HOLE)],
] as const) {
  test(`a flush covers ${title}`, async (t) => {
    const scene = await open(t)
    await scene.client.write(0, filled(CHUNK))
    await scene.client.flush()
    scene.files.take()
    await change(scene)
    await scene.client.flush()
    t.deepEqual(scene.files.take(SYNCS), ['sync chunk0'])
  })
}

test('a write that completes while its chunk is synced is left to the next flush', async (t) => {
  const { client, files } = await open(t)
  await client.write(0, filled(PAGE))
  const held = files.hold(SYNCS)
  const flush = client.flush()
  await held.reached
  await client.write(PAGE, filled(PAGE))
  held.release()
  await flush
  files.take()
  await client.flush()
  t.deepEqual(files.take(SYNCS), ['sync chunk0'])
})

test('a write that is under way during a flush is left to the next one', async (t) => {
  const { client, files } = await open(t)
  await client.write(0, filled(PAGE))
  const held = files.hold(/^write/)
  const write = client.write(PAGE, filled(PAGE))
  await held.reached
  await client.flush()
  held.release()
  await write
  files.take()
  await client.flush()
  t.deepEqual(files.take(SYNCS), ['sync chunk0'])
})

test('flushes that come during a round wait for the next, and share it', async (t) => {
  const { client, files } = await open(t)
  await client.write(0, filled(PAGE))
  const first = files.hold(/^sync chunk0/)
  const early = client.flush()
  await first.reached
  await client.write(CHUNK, filled(PAGE))
  const second = files.hold(/^sync chunk1/)
  const late = [client.flush(), client.flush(), client.flush()]
  t.false(await isSettled(Promise.any(late)))
  t.deepEqual(files.take(SYNCS), ['sync chunk0'])
  first.release()
  await early
  await second.reached
  t.false(await isSettled(Promise.any(late)))
  second.release()
  await Promise.all(late)
  // The directory was synced when the name of the second chunk was in it.
  t.deepEqual(files.take(SYNCS), ['syncDirectory p', 'sync chunk1'])
})

test('FUA syncs its own chunk, and the directory if the name is new', async (t) => {
  const { client, files } = await open(t)
  await client.write(0, filled(PAGE))
  await client.flush()
  await client.write(CHUNK, filled(PAGE))
  files.take()
  await client.write(0, filled(PAGE), FUA)
  t.deepEqual(files.take(SYNCS)[0], 'sync chunk0')
  await client.write(CHUNK, filled(PAGE), FUA)
  await client.write(5 * CHUNK, filled(PAGE), FUA)
  files.take()
  await client.write(CHUNK, filled(PAGE), FUA)
  t.deepEqual(files.take(SYNCS), ['sync chunk1'])
  await client.write(2 * CHUNK, filled(PAGE), FUA)
  t.deepEqual(files.take(SYNCS), ['sync chunk2', 'syncDirectory p'])
})

test('FUA over a border syncs both chunks and leaves a third alone', async (t) => {
  const { client, files } = await open(t)
  await client.write(0, filled(3 * CHUNK))
  await client.flush()
  await client.write(0, filled(3 * CHUNK))
  files.take()
  await client.write(CHUNK - PAGE, filled(2 * PAGE), FUA)
  t.deepEqual(files.take(SYNCS).sort(), ['sync chunk0', 'sync chunk1'])
  await client.flush()
  t.deepEqual(files.take(SYNCS), ['sync chunk2'])
})

test('FUA on a trim and on a zero is kept too', async (t) => {
  const { client, files } = await open(t)
  await client.write(0, filled(CHUNK), FUA)
  files.take()
  await client.trim(0, PAGE, FUA)
  await client.zero(PAGE, PAGE, FUA)
  await client.trim(0, CHUNK, FUA)
  t.deepEqual(files.take(SYNCS), ['sync chunk0', 'sync chunk0', 'sync chunk0'])
  await client.trim(0, CHUNK, FUA)
  t.deepEqual(files.take(), [])
})

test('a request with FUA is not answered before its sync is done', async (t) => {
  const { client, files } = await open(t)
  const held = files.hold(/^syncDirectory/)
  const write = client.write(0, filled(PAGE), FUA)
  await held.reached
  t.false(await isSettled(write))
  held.release()
  await write
})

for (const cacheMode of [CacheMode.WRITETHROUGH, CacheMode.DIRECTSYNC]) {
  const isDirect = cacheMode === CacheMode.DIRECTSYNC
  test(`in ${cacheMode} mode every change is synced before it is answered`, async (t) => {
    if (isDirect && !requireDirect(t)) return
    const { client, files } = await open(t, { cacheMode })
    const held = files.hold(/^syncDirectory/)
    const write = client.write(0, filled(PAGE))
    await held.reached
    t.false(await isSettled(write))
    held.release()
    await write
    t.deepEqual(files.take(SYNCS), ['sync chunk0', 'syncDirectory p'])
    await client.trim(0, PAGE)
    t.deepEqual(files.take(SYNCS), ['sync chunk0'])
    await client.flush()
    t.deepEqual(files.take(), [])
  })
}

test('in writethrough mode what a failed change left is synced before the answer', async (t) => {
  const { client, files } = await open(t, { cacheMode: CacheMode.WRITETHROUGH })
  await client.write(0, filled(2 * CHUNK))
  files.take()
  files.fault = (call) => (/^(write|punchHole) chunk1/.test(call) ? 28 : 0)
  const message = /errno 28 at 65536/
  await t.throwsAsync(client.trim(CHUNK, PAGE), { message })
  t.deepEqual(files.take(SYNCS), ['sync chunk1'])
  await t.throwsAsync(client.write(CHUNK - PAGE, filled(2 * PAGE)), { message })
  t.deepEqual(files.take(SYNCS).sort(), ['sync chunk0', 'sync chunk1'])
})

test('in none mode a flush and FUA sync, O_DIRECT or not', async (t) => {
  if (!requireDirect(t)) return
  const { client, files } = await open(t, { cacheMode: CacheMode.NONE })
  await client.write(0, filled(PAGE))
  t.deepEqual(files.take(SYNCS), [])
  await client.flush()
  t.deepEqual(files.take(SYNCS), ['sync chunk0', 'syncDirectory p'])
  await client.write(PAGE, filled(PAGE), FUA)
  t.deepEqual(files.take(SYNCS), ['sync chunk0'])
})

test('in unsafe mode nothing is synced for a flush or FUA', async (t) => {
  const { client, files } = await open(t, { cacheMode: CacheMode.UNSAFE })
  await client.write(0, filled(PAGE), FUA)
  await client.flush()
  t.deepEqual(files.take(SYNCS), [])
})

test('closing the disk syncs what no flush has covered', async (t) => {
  const { client, files, disk } = await open(t)
  await client.write(0, filled(PAGE))
  files.take()
  await disk.close()
  t.deepEqual(files.take(/^(sync|close chunk)/), ['sync chunk0', 'syncDirectory p', 'close chunk0'])
})
