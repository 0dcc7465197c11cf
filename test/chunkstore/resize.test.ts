import fs from 'node:fs'
import test, { type ExecutionContext } from 'ava'
import { sameBytes } from '../helpers/bytes.ts'
import { DiskFolder, nodeFiles, plainFiles, sameAsImage } from '../helpers/chunk-disk.ts'
import { TestFiles } from '../helpers/test-files.ts'

const CHUNK = 65_536
const PAGE = 4096
const ENOSPC = 28
const EINVAL = 22

const filled = (length: number, value = 7): Uint8Array => new Uint8Array(length).fill(value)

/** A disk of 3.5 chunks with data in the first and the last page. */
async function makeDisk(t: ExecutionContext) {
  const folder = new DiskFolder(t)
  folder.make('a', { size: 3.5 * CHUNK, chunkSize: CHUNK })
  const { disk, client } = await folder.open('a')
  await client.write(0, filled(PAGE))
  await client.write(3.5 * CHUNK - PAGE, filled(PAGE, 8))
  await disk.close()
  return folder
}

function descriptor(folder: DiskFolder): string {
  return fs.readFileSync(folder.path('a.chunkdisk'), 'utf8')
}

for (const makeFiles of [nodeFiles, plainFiles]) {
  const how = makeFiles === nodeFiles ? '' : ', without system calls'

  test(`a disk grows with zeros, whatever was behind the end${how}`, async (t) => {
    const folder = await makeDisk(t)
    // Nothing of ours writes there, but a file is always as long as a whole chunk.
    const handle = fs.openSync(folder.path('a', 'chunk3'), 'r+')
    fs.writeSync(handle, filled(CHUNK / 2, 9), 0, CHUNK / 2, CHUNK / 2)
    fs.closeSync(handle)
    const { disk, client } = await folder.open('a', {}, makeFiles())
    const result = await disk.resize({ size: 6 * CHUNK })
    t.deepEqual(result, {
      file: folder.path('a.chunkdisk'),
      sizeBefore: 3.5 * CHUNK,
      size: 6 * CHUNK,
      leftovers: [],
    })
    t.is(disk.size, 6 * CHUNK)
    const image = filled(6 * CHUNK, 0).fill(7, 0, PAGE)
    image.fill(8, 3.5 * CHUNK - PAGE, 3.5 * CHUNK)
    await sameAsImage(client, image)
    await client.write(5 * CHUNK, filled(CHUNK, 4))
    image.fill(4, 5 * CHUNK)
    await sameAsImage(client, image)
    await disk.close()
    t.is(descriptor(folder), `${6 * CHUNK}\n65536\n1000000 a\n`)
    const again = await folder.open('a')
    t.is(again.disk.size, 6 * CHUNK)
    await sameAsImage(again.client, image)
  })

  test(`a disk shrinks where nothing is lost, and grows again with zeros${how}`, async (t) => {
    const folder = await makeDisk(t)
    const { disk, client } = await folder.open('a', {}, makeFiles())
    await client.trim(3.5 * CHUNK - PAGE, PAGE)
    // Zeros that were written are no data.
    await client.write(2 * CHUNK, filled(PAGE, 0))
    await client.write(CHUNK, filled(PAGE, 5))
    await client.write(CHUNK + 2 * PAGE, filled(PAGE, 0))
    const { size } = await disk.resize({ size: CHUNK + 2 * PAGE })
    t.is(size, CHUNK + 2 * PAGE)
    t.deepEqual(folder.list('a'), ['chunk0 65536', 'chunk1 65536'])
    await t.throwsAsync(client.write(2 * CHUNK, filled(PAGE)), { message: /errno 28 at 131072$/ })
    await disk.resize({ size: 4 * CHUNK })
    const image = filled(4 * CHUNK, 0)
      .fill(7, 0, PAGE)
      .fill(5, CHUNK, CHUNK + PAGE)
    await sameAsImage(client, image)
  })

  test(`a tail with data is cut off on request only${how}`, async (t) => {
    const folder = await makeDisk(t)
    const before = folder.fingerprint('a')
    const { disk, client } = await folder.open('a', {}, makeFiles())
    const size = 3.25 * CHUNK
    const error = await t.throwsAsync(disk.resize({ size }), { code: 'ETAIL' })
    const place = `the first at offset ${3.5 * CHUNK - PAGE}; move it, or cut it off with --discard`
    t.true(error.message.includes(place), error.message)
    t.is(disk.size, 3.5 * CHUNK)
    t.deepEqual(folder.fingerprint('a'), before)
    await disk.resize({ size, discardTail: true })
    const image = filled(size, 0).fill(7, 0, PAGE)
    await sameAsImage(client, image)
    await disk.resize({ size: 4 * CHUNK })
    await sameAsImage(client, filled(4 * CHUNK, 0).fill(7, 0, PAGE))
    await disk.resize({ size: CHUNK, discardTail: true })
    t.deepEqual(folder.list('a'), ['chunk0 65536'])
    await disk.close()
    const again = await folder.open('a')
    await sameAsImage(again.client, filled(CHUNK, 0).fill(7, 0, PAGE))
  })
}

test('requests behind the new end are refused, each as a client expects it', async (t) => {
  const folder = await makeDisk(t)
  const { disk, client } = await folder.open('a')
  const size = CHUNK + PAGE
  await disk.resize({ size, discardTail: true })
  const requests = [
    [() => client.read(CHUNK, 2 * PAGE), EINVAL],
    [() => client.blockStatus(CHUNK, 2 * PAGE), EINVAL],
    [() => client.trim(CHUNK, 2 * PAGE), EINVAL],
    [() => client.write(CHUNK, filled(2 * PAGE)), ENOSPC],
    [() => client.zero(CHUNK, 2 * PAGE), ENOSPC],
  ] as const
  for (const [request, errno] of requests) await t.throwsAsync(request, { message: refusal(errno) })
  sameBytes(t, await client.read(CHUNK, PAGE), filled(PAGE, 0))
  await client.flush()
})

function refusal(errno: number): string {
  return `device fails with errno ${errno} at ${CHUNK}`
}

test('requests for the end wait while it moves, the others go on', async (t) => {
  const folder = await makeDisk(t)
  const files = new TestFiles(nodeFiles())
  const { disk, client } = await folder.open('a', {}, files)
  const held = files.hold(/^replaceText/)
  const resizing = disk.resize({ size: 5 * CHUNK })
  await held.reached
  const done: string[] = []
  const note = (name: string, promise: Promise<unknown>): Promise<unknown> =>
    promise.then(
      () => done.push(name),
      (error: Error) => done.push(`${name}: ${error.message}`),
    )
  const waiting = [
    note('read', client.read(3 * CHUNK, PAGE)),
    note('write', client.write(3 * CHUNK, filled(PAGE, 3))),
    note('write behind', client.write(4 * CHUNK, filled(PAGE, 4))),
    note('trim far behind', client.trim(5 * CHUNK, PAGE)),
  ]
  await client.write(2 * CHUNK, filled(PAGE, 2))
  await client.flush()
  t.deepEqual(done, [])
  held.release()
  await resizing
  await Promise.all(waiting)
  t.deepEqual(done.sort(), [
    'read',
    `trim far behind: device fails with errno 22 at ${5 * CHUNK}`,
    'write',
    'write behind',
  ])
  sameBytes(t, await client.read(3 * CHUNK, PAGE), filled(PAGE, 3))
  sameBytes(t, await client.read(4 * CHUNK, PAGE), filled(PAGE, 4))
})

test('the end moves when what is under way there is done', async (t) => {
  const folder = await makeDisk(t)
  const files = new TestFiles(nodeFiles())
  const { disk, client } = await folder.open('a', {}, files)
  const write = files.hold(/^create chunk2/)
  const writing = client.write(2 * CHUNK, filled(PAGE, 6))
  await write.reached
  await client.trim(3.5 * CHUNK - PAGE, PAGE)
  const resizing = disk.resize({ size: 2 * CHUNK })
  for (let turn = 0; turn < 20; turn++) await new Promise((go) => setImmediate(go))
  write.release()
  await writing
  const error = await t.throwsAsync(resizing, { code: 'ETAIL' })
  t.regex(error.message, /the first at offset 131072;/)
  sameBytes(t, await client.read(2 * CHUNK, PAGE), filled(PAGE, 6))
})

test('closing waits for a resize, which gives up what it can', async (t) => {
  const folder = await makeDisk(t)
  const files = new TestFiles(nodeFiles())
  const first = await folder.open('a', {}, files)
  await first.client.write(3.5 * CHUNK - PAGE, filled(PAGE, 0))
  const searching = files.hold(/^open chunk3/)
  const resizing = first.disk.resize({ size: CHUNK })
  await searching.reached
  const closing = first.disk.close()
  searching.release()
  await t.throwsAsync(resizing, { code: 'EINUSE', message: /is being closed/ })
  await closing
  const second = await folder.open('a', {}, files)
  const held = files.hold(/^replaceText/)
  const growing = second.disk.resize({ size: 5 * CHUNK })
  await held.reached
  const busy = await t.throwsAsync(second.disk.resize({ size: CHUNK }), { code: 'EINUSE' })
  t.regex(busy.message, /another resize is under way/)
  const waiting = second.client.write(4 * CHUNK, filled(PAGE, 3))
  const closed = second.disk.close()
  await t.throwsAsync(second.disk.resize({ size: CHUNK }), { message: /it is being closed/ })
  held.release()
  await Promise.all([growing, waiting, closed])
  t.deepEqual(folder.openDescriptors(), [])
  const third = await folder.open('a')
  sameBytes(t, await third.client.read(4 * CHUNK, PAGE), filled(PAGE, 3))
})

test('all is durable before the descriptor is replaced, and only then is data lost', async (t) => {
  const folder = await makeDisk(t)
  const files = new TestFiles(nodeFiles())
  const { disk, client } = await folder.open('a', {}, files)
  const calls = async (work: Promise<unknown>): Promise<string[]> => {
    files.take()
    await work
    return files.take(/^(write|sync|punchHole|remove|replaceText)/)
  }
  // What a server that was killed had answered: nothing here, but the disk cannot know.
  await client.flush()
  t.deepEqual(await calls(disk.resize({ size: 3.25 * CHUNK, discardTail: true })), [
    'replaceText a.chunkdisk',
    'punchHole chunk3 16384+49152',
    'syncDirectory a',
  ])
  await client.write(3 * CHUNK, filled(PAGE))
  const raw = fs.openSync(folder.path('a', 'chunk3'), 'r+')
  fs.writeSync(raw, filled(PAGE), 0, PAGE, CHUNK / 2)
  fs.closeSync(raw)
  t.deepEqual(await calls(disk.resize({ size: 3.5 * CHUNK })), [
    'sync chunk3',
    'punchHole chunk3 16384+49152',
    'sync chunk3',
    'syncDirectory a',
    'replaceText a.chunkdisk',
  ])
  await client.trim(3 * CHUNK, CHUNK / 2)
  await client.write(2 * CHUNK + PAGE, filled(PAGE, 0))
  t.deepEqual(await calls(disk.resize({ size: 2.5 * CHUNK })), [
    'sync chunk3',
    'sync chunk2',
    'syncDirectory a',
    'remove chunk3',
    'syncDirectory a',
    'replaceText a.chunkdisk',
  ])
})
