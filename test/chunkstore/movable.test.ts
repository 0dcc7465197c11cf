import fs from 'node:fs'
import test from 'ava'
import type { ExecutionContext } from 'ava'
import { checkDisk } from '../../chunkstore/check.ts'
import { LockKind } from '../../io/io.ts'
import { sameBytes } from '../helpers/bytes.ts'
import { DiskFolder, nodeFiles, plainFiles, sameAsImage } from '../helpers/chunk-disk.ts'
import { Random, seedFor } from '../helpers/random.ts'
import { TestFiles } from '../helpers/test-files.ts'
import { Mover } from './mover.ts'
import { RandomLoad } from './random-load.ts'

const CHUNK = 16_384
const PAGE = 4096
const SHAPE = { size: 8 * CHUNK, chunkSize: CHUNK, parts: { a: 8, b: 8, c: 8 } }
const EIO = { message: /errno 5 / }

const filled = (length: number, value = 7): Uint8Array => new Uint8Array(length).fill(value)

/** A disk with chunks 0 to 2 in part `a`, all of them closed but the last. */
async function open(t: ExecutionContext, real = nodeFiles()) {
  const folder = new DiskFolder(t)
  folder.make('d', SHAPE)
  const files = new TestFiles(real)
  const opened = await folder.open('d', { movable: true, openFilesMax: 1 }, files)
  for (const index of [0, 1, 2]) await opened.client.write(index * CHUNK, filled(CHUNK, index + 1))
  await opened.client.flush()
  await opened.client.read(2 * CHUNK, PAGE)
  files.take()
  return { folder, files, ...opened, mover: new Mover(folder) }
}

for (const [name, makeFiles] of [
  ['the FFI', nodeFiles],
  ['flock(1)', plainFiles],
] as const) {
  test(`a chunk that was renamed to another part is found there: ${name}`, async (t) => {
    const { client, mover, folder } = await open(t, makeFiles())
    t.true(await mover.rename(0, 'a', 'c'))
    sameBytes(t, await client.read(0, CHUNK), filled(CHUNK, 1))
    await client.write(0, filled(PAGE, 9))
    sameBytes(t, fs.readFileSync(folder.path('c', 'chunk0')).subarray(0, PAGE), filled(PAGE, 9))
    t.deepEqual(folder.list('a'), ['chunk1 16384', 'chunk2 16384'])
  })
}

test('a chunk in use cannot be locked by who moves it, one that was closed can', async (t) => {
  const { client, mover } = await open(t)
  t.false(await mover.rename(2, 'a', 'b'))
  t.true(await mover.rename(1, 'a', 'b'))
  sameBytes(t, await client.read(CHUNK, CHUNK), filled(CHUNK, 2))
  t.false(await mover.rename(1, 'b', 'c'))
  t.true(await mover.rename(2, 'a', 'b'))
})

/** Waits until the chunk was found locked so often. */
async function tries(files: TestFiles, count: number): Promise<void> {
  while (files.log.filter((call) => call.startsWith('lock chunk0')).length < count) {
    await new Promise((go) => setImmediate(go))
  }
}

test('requests wait for a chunk that is being copied elsewhere, and find it there', async (t) => {
  const { client, files, mover, folder } = await open(t)
  const move = await mover.begin(0, 'a', 'b')
  const write = client.write(PAGE, filled(PAGE, 9))
  const read = client.read(0, PAGE)
  await tries(files, 2)
  move.copy()
  await tries(files, 4)
  await move.end()
  await write
  sameBytes(t, await read, filled(PAGE, 1))
  const image = filled(CHUNK, 1).fill(9, PAGE, 2 * PAGE)
  sameBytes(t, await client.read(0, CHUNK), image)
  t.deepEqual(folder.list('a'), ['chunk1 16384', 'chunk2 16384'])
  sameBytes(t, fs.readFileSync(folder.path('b', 'chunk0')), image)
})

test('a file that lost its name between being opened and being locked is not used', async (t) => {
  const { client, files, mover, folder } = await open(t)
  const held = files.hold(/^lock chunk0/)
  const write = client.write(0, filled(PAGE, 9))
  await held.reached
  t.true(await mover.copy(0, 'a', 'b'))
  held.release()
  await write
  t.is(fs.readFileSync(folder.path('b', 'chunk0'))[0], 9)
})

test('in the middle of a move, in two parts or in none, a chunk is waited for', async (t) => {
  for (const state of ['two', 'none']) {
    const { client, files, folder } = await open(t)
    const from = folder.path('a', 'chunk0')
    fs.renameSync(from, folder.path('aside'))
    if (state === 'two') {
      fs.copyFileSync(folder.path('aside'), folder.path('b', 'chunk0'))
      fs.copyFileSync(folder.path('aside'), folder.path('c', 'chunk0'))
    }
    const read = client.read(0, CHUNK)
    await files.made(/^list c/)
    await files.made(/^list c/)
    if (state === 'two') fs.unlinkSync(folder.path('b', 'chunk0'))
    else fs.renameSync(folder.path('aside'), folder.path('c', 'CHUNK0'))
    sameBytes(t, await read, filled(CHUNK, 1))
  }
})

/** From now on the clock goes on by this at every look. */
function hurry(t: ExecutionContext, milliseconds: number): void {
  const { now } = performance
  let time = now.call(performance)
  Reflect.set(performance, 'now', () => (time += milliseconds))
  t.teardown(() => void Reflect.set(performance, 'now', now))
}

test.serial('a chunk that stays locked is an I/O error in the end, told in the log', async (t) => {
  const { client, mover, messages } = await open(t)
  const move = await mover.begin(0, 'a', 'b')
  hurry(t, 10_000)
  await t.throwsAsync(client.read(0, PAGE), EIO)
  t.deepEqual(messages, ['chunk file cannot be opened'])
  await move.end()
  sameBytes(t, await client.read(0, PAGE), filled(PAGE, 1))
})

test.serial('so is one that is found in no part, or in two', async (t) => {
  const { client, folder } = await open(t)
  fs.renameSync(folder.path('a', 'chunk0'), folder.path('aside'))
  hurry(t, 1000)
  await t.throwsAsync(client.read(0, PAGE), EIO)
  fs.copyFileSync(folder.path('aside'), folder.path('b', 'chunk0'))
  fs.copyFileSync(folder.path('aside'), folder.path('c', 'chunk0'))
  await t.throwsAsync(client.write(0, filled(PAGE)), EIO)
  fs.unlinkSync(folder.path('c', 'chunk0'))
  await client.write(0, filled(PAGE))
})

test('an empty chunk that was moved is filled where it is now', async (t) => {
  const { client, mover, folder } = await open(t)
  await client.trim(0, CHUNK)
  await client.read(CHUNK, PAGE)
  t.true(await mover.rename(0, 'a', 'b'))
  await client.write(0, filled(PAGE, 9))
  t.deepEqual(folder.list('b'), ['chunk0 16384'])
  t.deepEqual(folder.list('a'), ['chunk1 16384', 'chunk2 16384'])
})

test('new chunks go by what the parts hold now, not at the start', async (t) => {
  const folder = new DiskFolder(t)
  folder.make('d', { ...SHAPE, parts: { a: 2, b: 2, c: 8 } })
  for (const [part, index] of [
    ['a', 0],
    ['a', 1],
    ['c', 2],
    ['c', 3],
  ] as const) {
    fs.writeFileSync(folder.path(part, `chunk${index}`), filled(CHUNK))
  }
  const { client, disk } = await folder.open('d', { movable: true })
  const mover = new Mover(folder)
  t.true(await mover.rename(0, 'a', 'c'))
  t.true(await mover.rename(2, 'c', 'b'))
  t.true(await mover.rename(3, 'c', 'b'))
  await client.write(4 * CHUNK, filled(2 * CHUNK))
  await disk.close()
  t.deepEqual(folder.list('a'), ['chunk1 16384', 'chunk4 16384'])
  t.deepEqual(folder.list('b'), ['chunk2 16384', 'chunk3 16384'])
  t.deepEqual(folder.list('c'), ['chunk0 16384', 'chunk5 16384'])
})

test('a new chunk file has its lock before it has its name', async (t) => {
  const { client, files, mover } = await open(t)
  for (const work of [
    () => client.write(5 * CHUNK, filled(PAGE)),
    () => client.zero(6 * CHUNK, PAGE, 2),
  ]) {
    files.take()
    await work()
    const calls = files.take(/^(create|lock|rename) /)
    const [index] = calls[0].match(/\d+/) ?? []
    const [temporary, name] = [`.tmp-chunk${index}`, `chunk${index}`]
    const expected = [`create ${temporary}`, `lock ${temporary}`, `rename ${temporary} ${name}`]
    t.deepEqual(calls, expected)
    t.false(await mover.rename(Number(index), 'a', 'b'))
  }
})

test('a chunk that hides the parent is locked from the start as well', async (t) => {
  const folder = new DiskFolder(t)
  folder.make('d', SHAPE)
  folder.make('child', { ...SHAPE, parts: { x: 8 }, parent: 'd' })
  fs.writeFileSync(folder.path('a', 'chunk0'), filled(CHUNK))
  fs.writeFileSync(folder.path('a', 'chunk1'), filled(CHUNK))
  const { client } = await folder.open('child', { movable: true })
  await client.trim(0, CHUNK)
  await client.write(CHUNK, filled(PAGE, 9))
  t.deepEqual(folder.list('x'), ['chunk0 0', 'chunk1 16384'])
  const files = nodeFiles()
  for (const index of [0, 1]) {
    const fd = await files.open(folder.path('x', `chunk${index}`), fs.constants.O_RDONLY)
    t.false(await files.lock(fd, LockKind.EXCLUSIVE))
    await files.close(fd)
  }
  sameBytes(t, await client.read(0, 2 * PAGE), filled(2 * PAGE, 0))
})

test('what is moved while the parts are read at the start is not missed', async (t) => {
  const folder = new DiskFolder(t)
  folder.make('d', SHAPE)
  fs.writeFileSync(folder.path('c', 'chunk0'), filled(CHUNK, 1))
  const files = new TestFiles(nodeFiles())
  const held = files.hold(/^list b/)
  const opening = folder.open('d', { movable: true }, files)
  await held.reached
  fs.renameSync(folder.path('c', 'chunk0'), folder.path('a', 'chunk0'))
  held.release()
  const { client } = await opening
  sameBytes(t, await client.read(0, CHUNK), filled(CHUNK, 1))
})

test.serial('a chunk seen twice at the start is waited for, not for ever', async (t) => {
  const folder = new DiskFolder(t)
  folder.make('d', SHAPE)
  for (const part of ['a', 'b']) fs.writeFileSync(folder.path(part, 'chunk0'), filled(CHUNK, 1))
  const files = new TestFiles(nodeFiles())
  const opening = folder.open('d', { movable: true }, files)
  await files.made(/^list b/)
  fs.unlinkSync(folder.path('a', 'chunk0'))
  const { client, disk } = await opening
  sameBytes(t, await client.read(0, CHUNK), filled(CHUNK, 1))
  await disk.close()
  fs.copyFileSync(folder.path('b', 'chunk0'), folder.path('a', 'chunk0'))
  hurry(t, 1000)
  const again = folder.open('d', { movable: true })
  await t.throwsAsync(again, { code: 'EPART', message: /chunk 0 exists twice/ })
})

test('without the option a chunk that was moved is an error at once', async (t) => {
  const folder = new DiskFolder(t)
  folder.make('d', SHAPE)
  fs.writeFileSync(folder.path('a', 'chunk0'), filled(CHUNK))
  const { client } = await folder.open('d')
  fs.renameSync(folder.path('a', 'chunk0'), folder.path('b', 'chunk0'))
  await t.throwsAsync(client.read(0, PAGE), EIO)
})

test('a random load agrees with a model while chunks are moved all the time', async (t) => {
  const random = new Random(seedFor(t))
  const shape = { size: 40 * PAGE * 2, chunkSize: 2 * PAGE, parts: { a: 15, b: 15, c: 20 } }
  const folder = new DiskFolder(t)
  folder.make('base', { ...shape, parts: { base: 40 } })
  folder.make('d', { ...shape, parent: 'base' })
  const base = await folder.open('base')
  const load = new RandomLoad(shape.size, random)
  await load.run(base.client, { clients: 2, steps: 30, pagesMax: 8 })
  await base.disk.close()
  const files = Object.assign(new TestFiles(nodeFiles()), { syncs: false, late: random })
  const { client, disk } = await folder.open('d', { movable: true, openFilesMax: 4 }, files)
  const mover = new Mover(folder)
  const moving = mover.run(random, { a: 15, b: 15, c: 20 })
  await load.run(client, { clients: 8, steps: 1500, pagesMax: 8 })
  const moves = await moving.stop()
  await sameAsImage(client, load.image)
  await disk.close()
  t.true(moves > 10, `${moves} moves`)
  t.deepEqual(await checkDisk(nodeFiles(), folder.path('d.chunkdisk')), [])
  const again = await folder.open('d', { readOnly: true })
  await sameAsImage(again.client, load.image)
})
