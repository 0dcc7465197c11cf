import test from 'ava'
import type { ExecutionContext } from 'ava'
import { sameBytes } from '../helpers/bytes.ts'
import { DiskFolder, nodeFiles, systemCalls } from '../helpers/chunk-disk.ts'
import { TestFiles } from '../helpers/test-files.ts'

const CHUNK = 65_536
const PAGE = 4096

const withHoles = systemCalls === null ? test.skip : test

const filled = (length: number, value = 7): Uint8Array => new Uint8Array(length).fill(value)
const turns = async (count = 10): Promise<void> => {
  for (let turn = 0; turn < count; turn++) await new Promise((go) => setImmediate(go))
}

/** A disk with `pages` written in its first chunk, opened again so that nothing is remembered. */
async function open(t: ExecutionContext, pages: readonly number[]) {
  const folder = new DiskFolder(t)
  folder.make('a')
  const first = await folder.open('a')
  for (const page of pages) await first.client.write(page * PAGE, filled(PAGE))
  await first.disk.close()
  const files = new TestFiles(nodeFiles())
  return { folder, files, ...(await folder.open('a', {}, files)) }
}

withHoles('a chunk is not freed under a write that has not reached its file', async (t) => {
  const { client, files, folder } = await open(t, [1])
  const held = files.hold(/^write/)
  const write = client.write(0, filled(PAGE, 9))
  await held.reached
  const trim = client.trim(PAGE, PAGE)
  await turns()
  held.release()
  await Promise.all([write, trim])
  sameBytes(t, await client.read(0, PAGE), filled(PAGE, 9))
  t.deepEqual(folder.list('a'), ['chunk0 65536'])
})

withHoles('a write that waits behind the freeing of its chunk finds it empty', async (t) => {
  const { client, files } = await open(t, [1])
  const held = files.hold(/^truncate chunk0 0/)
  const trim = client.trim(PAGE, PAGE)
  await held.reached
  const writes = [client.write(0, filled(PAGE, 8)), client.write(2 * PAGE, filled(PAGE, 9))]
  await turns()
  held.release()
  await Promise.all([trim, ...writes])
  const image = filled(CHUNK, 0)
    .fill(8, 0, PAGE)
    .fill(9, 2 * PAGE, 3 * PAGE)
  sameBytes(t, await client.read(0, CHUNK), image)
})

test('a chunk is not truncated while it is read', async (t) => {
  const { client, files, folder } = await open(t, [0, 1])
  const held = files.hold(/^read/)
  const read = client.read(0, 2 * PAGE)
  await held.reached
  const trim = client.trim(0, CHUNK)
  const later = client.read(0, PAGE)
  await turns()
  t.deepEqual(folder.list('a'), ['chunk0 65536'])
  held.release()
  sameBytes(t, await read, filled(2 * PAGE))
  await trim
  sameBytes(t, await later, filled(PAGE, 0))
  t.deepEqual(folder.list('a'), ['chunk0 0'])
})

test('a trim that fails half-way leaves no assumption behind for one that waits', async (t) => {
  const { client, files } = await open(t, [0, 15])
  const held = files.hold(/^(punchHole|write) chunk0 0/)
  files.fault = (call) => (/^(punchHole|write) chunk0 0/.test(call) ? 5 : 0)
  const failing = client.trim(0, 8 * PAGE)
  await held.reached
  const rest = client.trim(8 * PAGE, 8 * PAGE)
  await turns()
  held.release()
  await t.throwsAsync(failing, { message: /errno 5 at 0/ })
  await rest
  sameBytes(t, await client.read(0, PAGE), filled(PAGE))
})

test('many writes into a chunk that is missing make it once', async (t) => {
  const { client, files } = await open(t, [])
  await Promise.all(
    Array.from({ length: 16 }, (_, page) => client.write(page * PAGE, filled(PAGE, page + 1))),
  )
  t.deepEqual(files.take(/^create/), ['create chunk0'])
  for (let page = 0; page < 16; page++) {
    sameBytes(t, await client.read(page * PAGE, PAGE), filled(PAGE, page + 1))
  }
})

test('a read during the creation of a chunk sees zeros', async (t) => {
  const { client, files } = await open(t, [])
  const held = files.hold(/^truncate/)
  const write = client.write(0, filled(PAGE))
  await held.reached
  sameBytes(t, await client.read(0, 2 * PAGE), filled(2 * PAGE, 0))
  t.deepEqual(await client.blockStatus(0, CHUNK), [{ length: CHUNK, flags: 3 }])
  held.release()
  await write
  sameBytes(t, await client.read(0, PAGE), filled(PAGE))
})

test('a disk is closed after what is under way, and what that has written is synced', async (t) => {
  const { client, files, disk } = await open(t, [])
  files.take()
  const held = files.hold(/^truncate/)
  const write = client.write(0, filled(PAGE))
  await held.reached
  const closing = disk.close()
  await turns()
  held.release()
  await write
  await closing
  const calls = files.take(/^(write|sync|close chunk)/)
  t.deepEqual(calls, ['write chunk0 0+4096', 'sync chunk0', 'syncDirectory a', 'close chunk0'])
})

test('copying a large chunk leaves turns to others', async (t) => {
  const folder = new DiskFolder(t)
  const shape = { size: 2 ** 24, chunkSize: 2 ** 24 }
  folder.make('base', shape)
  folder.make('child', { ...shape, parent: 'base' })
  const base = await folder.open('base')
  await base.client.write(0, filled(2 ** 24))
  await base.disk.close()
  const files = new TestFiles(nodeFiles())
  const { client } = await folder.open('child', {}, files)
  const turnsSeen = watchTurns(t, files, /^write \.tmp/)
  await client.write(0, filled(PAGE, 9))
  t.is(turnsSeen.size, 16)
})

test('writing many zeros leaves turns to others', async (t) => {
  const folder = new DiskFolder(t)
  folder.make('a', { size: 2 ** 26, chunkSize: 2 ** 26 })
  const files = new TestFiles(nodeFiles())
  files.fixedAbilities = { punchHole: false, zeroRange: false }
  const { client } = await folder.open('a', {}, files)
  await client.write(0, filled(2 ** 26))
  const turnsSeen = watchTurns(t, files, /^write/)
  await client.zero(PAGE, 2 ** 26 - PAGE)
  t.true(turnsSeen.size >= 16, `${turnsSeen.size} turns`)
  t.is((await client.read(2 ** 26 - PAGE, PAGE))[0], 0)
})

/** @returns the turns of the event loop in which calls that match are made, as they come */
function watchTurns(t: ExecutionContext, files: TestFiles, pattern: RegExp): Set<number> {
  const seen = new Set<number>()
  let turn = 0
  let done = false
  const next = (): void => {
    turn++
    if (!done) setImmediate(next)
  }
  next()
  t.teardown(() => (done = true))
  files.fault = (call) => {
    if (pattern.test(call)) seen.add(turn)
    return 0
  }
  return seen
}
