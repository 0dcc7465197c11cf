import test from 'ava'
import type { ExecutionContext } from 'ava'
import { CacheMode, TrimMode } from '../../chunkstore/options.ts'
import type { DiskOptions } from '../../chunkstore/options.ts'
import { DiskFolder, nodeFiles } from '../helpers/chunk-disk.ts'
import { TestFiles } from '../helpers/test-files.ts'

const CHUNK = 65_536
const PAGE = 4096

/** Opens a disk; `sweep` is what its timer would do, and waits until nothing is left to do. */
async function open(t: ExecutionContext, options: Partial<DiskOptions> = {}) {
  const folder = new DiskFolder(t)
  folder.make('a')
  const files = new TestFiles(nodeFiles())
  const { setInterval } = globalThis
  const timers: (() => void)[] = []
  const capture = (callback: () => void): object => {
    timers.push(callback)
    return { unref: () => {} }
  }
  Reflect.set(globalThis, 'setInterval', capture)
  const { client, disk } = await folder.open('a', options, files).finally(() => {
    Reflect.set(globalThis, 'setInterval', setInterval)
  })
  const sweep = async (): Promise<void> => {
    for (const timer of timers) timer()
    for (let turn = 0; turn < 20; turn++) await new Promise((go) => setImmediate(go))
  }
  return { folder, files, client, disk, sweep }
}

const filled = (length: number): Uint8Array => new Uint8Array(length).fill(7)

test.serial('a file nobody used between two sweeps is closed, and opened again', async (t) => {
  const { client, files, sweep } = await open(t)
  await client.write(0, filled(PAGE))
  await client.write(CHUNK, filled(PAGE))
  await client.flush()
  await sweep()
  t.deepEqual(files.take(/^close/), [])
  await client.read(0, PAGE)
  await sweep()
  await files.made(/^close/)
  t.deepEqual(files.take(/^close/), ['close chunk1'])
  await sweep()
  await files.made(/^close/)
  t.deepEqual(files.take(/^close/), ['close chunk0'])
  t.is((await client.read(CHUNK, PAGE))[0], 7)
})

test.serial('an idle dirty file is synced before it is closed', async (t) => {
  const { client, files, sweep } = await open(t)
  await client.write(0, filled(PAGE))
  await sweep()
  const held = files.hold(/^sync chunk0/)
  await sweep()
  await held.reached
  t.false(files.log.some((call) => call.startsWith('close')))
  held.release()
  await files.made(/^close/)
  const calls = files.take(/^(sync|close) /)
  t.deepEqual(calls, ['sync chunk0', 'close chunk0'])
})

test.serial('a file that is used again while idle files are synced stays open', async (t) => {
  const { client, files, sweep } = await open(t)
  await client.write(0, filled(PAGE))
  await sweep()
  const held = files.hold(/^sync chunk0/)
  await sweep()
  await held.reached
  await client.write(PAGE, filled(PAGE))
  held.release()
  await files.made(/^syncDirectory/)
  await sweep()
  t.deepEqual(files.take(/^close/), [])
  await client.flush()
})

test.serial('a file that is being read when idle files are closed stays open', async (t) => {
  const { client, files, sweep } = await open(t)
  await client.write(0, filled(PAGE))
  await sweep()
  const sync = files.hold(/^sync chunk0/)
  await sweep()
  await sync.reached
  const held = files.hold(/^read/)
  const read = client.read(0, PAGE)
  await held.reached
  sync.release()
  await files.made(/^syncDirectory/)
  for (let turn = 0; turn < 20; turn++) await new Promise((go) => setImmediate(go))
  t.deepEqual(files.take(/^close/), [])
  held.release()
  t.is((await read)[0], 7)
})

test.serial('an idle file whose sync fails stays open, and the disk fails', async (t) => {
  const { client, files, disk, sweep } = await open(t)
  await client.write(0, filled(PAGE))
  await sweep()
  files.fault = (call) => (call === 'sync chunk0' ? 5 : 0)
  await sweep()
  await files.made(/^sync chunk0/)
  await sweep()
  files.fault = () => 0
  await sweep()
  t.deepEqual(files.take(/^close/), [])
  await t.throwsAsync(client.flush(), { message: /errno 5 / })
  await t.throwsAsync(disk.close(), { code: 'ESYNC' })
})

test.serial('an idle file whose close fails is only logged', async (t) => {
  const { client, files, sweep } = await open(t)
  await client.write(0, filled(PAGE))
  await client.flush()
  await sweep()
  files.fault = (call) => (call === 'close chunk0' ? 5 : 0)
  await sweep()
  await files.made(/^close/)
  t.is((await client.read(0, PAGE))[0], 7)
})

test.serial('in unsafe mode an idle dirty file is closed, and the disk all the same', async (t) => {
  const { client, files, disk, folder, sweep } = await open(t, { cacheMode: CacheMode.UNSAFE })
  await client.write(0, filled(PAGE))
  await sweep()
  await sweep()
  await files.made(/^close chunk0/)
  await disk.close()
  t.deepEqual(folder.openDescriptors(), [])
})

test.serial('what was trimmed in part is forgotten when the disk was idle', async (t) => {
  const { client, folder, sweep } = await open(t, { trim: TrimMode.CHUNKS })
  await client.write(0, filled(3 * CHUNK))
  await client.trim(0, CHUNK / 2)
  await sweep()
  await client.trim(CHUNK, CHUNK / 2)
  await sweep()
  await client.trim(CHUNK / 2, CHUNK / 2)
  t.deepEqual(folder.list('a'), ['chunk0 0', 'chunk1 65536', 'chunk2 65536'], 'it was not idle')
  await sweep()
  await sweep()
  await client.trim(CHUNK + CHUNK / 2, CHUNK / 2)
  t.deepEqual(folder.list('a'), ['chunk0 0', 'chunk1 65536', 'chunk2 65536'])
  await client.trim(CHUNK, CHUNK / 2)
  t.deepEqual(folder.list('a'), ['chunk0 0', 'chunk1 0', 'chunk2 65536'])
})
