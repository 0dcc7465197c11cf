import test from 'ava'
import { CallKind } from '../../io/simulated/faults.ts'
import { sameBytes } from '../helpers/bytes.ts'
import { SimulatedDisk } from '../helpers/simulated-disk.ts'

const CHUNK = 65_536
const PAGE = 4096
const ENOSPC = 28
const EIO = 5
const SHAPE = { size: 8 * CHUNK, chunkSize: CHUNK, parts: { a: 8 } }

const filled = (length: number, value = 7): Uint8Array => new Uint8Array(length).fill(value)
const once = { after: 0, count: 1, reach: 0 }

test('a flush covers what a server that was killed had answered', async (t) => {
  const scene = new SimulatedDisk(SHAPE)
  const first = await scene.open()
  await scene.wait(first.write(PAGE, filled(PAGE)))
  scene.kill()
  const second = await scene.open()
  await scene.wait(second.flush())
  scene.losePower()
  const third = await scene.open()
  sameBytes(
    t,
    await scene.wait(third.read(0, 3 * PAGE)),
    filled(3 * PAGE, 0).fill(7, PAGE, 2 * PAGE),
  )
})

test('FUA to a chunk that a killed server wrote makes it durable', async (t) => {
  const scene = new SimulatedDisk(SHAPE)
  const first = await scene.open()
  await scene.wait(first.write(PAGE, filled(PAGE)))
  scene.kill()
  const second = await scene.open()
  await scene.wait(second.write(0, filled(PAGE, 8), 1))
  scene.losePower()
  const third = await scene.open()
  sameBytes(t, await scene.wait(third.read(0, PAGE)), filled(PAGE, 8))
  sameBytes(t, await scene.wait(third.read(PAGE, PAGE)), filled(PAGE))
})

test('where what a killed server left cannot be synced, flushes fail', async (t) => {
  const scene = new SimulatedDisk(SHAPE)
  const first = await scene.open()
  await scene.wait(first.write(PAGE, filled(PAGE)))
  scene.kill()
  scene.files.faults.arm({ kinds: [CallKind.SYNC], errno: EIO, ...once })
  const second = await scene.open()
  await t.throwsAsync(scene.wait(second.flush()), { message: /errno 5/ })
  await t.throwsAsync(scene.wait(second.write(0, filled(PAGE))), { message: /errno 5/ })
  await t.throwsAsync(scene.close(), { code: 'ESYNC' })
})

test('where what a killed server left cannot be opened, flushes fail until it can', async (t) => {
  const scene = new SimulatedDisk(SHAPE)
  const first = await scene.open()
  await scene.wait(first.write(PAGE, filled(PAGE)))
  scene.kill()
  // After the descriptor, the part and what it can do: in the background, and for the flush.
  const fault = { kinds: [CallKind.OPEN], errno: EIO, after: 3, count: 2, reach: 0 }
  scene.files.faults.arm(fault)
  const second = await scene.open()
  await t.throwsAsync(scene.wait(second.flush()), { message: /errno 5/ })
  await scene.wait(second.flush())
  scene.losePower()
  const third = await scene.open()
  sameBytes(t, await scene.wait(third.read(PAGE, PAGE)), filled(PAGE))
})

test('a chunk that may come back to its old part with a power loss is in no other', async (t) => {
  for (let seed = 0; seed < 30; seed++) {
    const scene = new SimulatedDisk({ ...SHAPE, parts: { a: 8, b: 8 } })
    scene.machine.tree.putText('/d/b/chunk0', '')
    scene.machine.tree.syncAll()
    // As `commit` moves it away, and is killed.
    await scene.wait(scene.files.remove('/d/b/chunk0'))
    scene.kill()
    const client = await scene.open()
    await scene.wait(client.write(0, filled(PAGE)))
    scene.losePower(seed)
    t.deepEqual(await scene.check(), [])
  }
})

test('a part whose names cannot be made durable is not opened for writing', async (t) => {
  const scene = new SimulatedDisk(SHAPE)
  scene.files.faults.arm({ kinds: [CallKind.SYNC_DIRECTORY], errno: EIO, ...once })
  const message = /^part directory \/d\/a cannot be synced: .*EIO.*--read-only$/
  await t.throwsAsync(scene.open(), { code: 'EPART', message })
  t.deepEqual(scene.files.openNames(), [])
  scene.files.faults.arm({ kinds: [CallKind.SYNC_DIRECTORY], errno: EIO, ...once })
  await scene.open({ readOnly: true })
})

test('names are synced first; in unsafe mode nothing else is', async (t) => {
  const scene = new SimulatedDisk(SHAPE)
  const calls: string[] = []
  scene.machine.onCall = (call) => void (call.startsWith('sync') && calls.push(call))
  const first = await scene.open()
  await scene.wait(first.flush())
  await scene.wait(first.write(0, filled(PAGE)))
  t.deepEqual(calls.splice(0), ['syncDirectory a'])
  scene.kill()
  const second = await scene.open({ cacheMode: 'unsafe' })
  await scene.wait(second.flush())
  t.deepEqual(calls.splice(0), ['syncDirectory a'])
  scene.kill()
  await scene.open()
  await scene.close()
  t.deepEqual(calls, ['syncDirectory a', 'sync chunk0'])
})

test('a chunk that was emptied although that failed goes on as an empty one', async (t) => {
  const scene = new SimulatedDisk(SHAPE)
  const client = await scene.open()
  await scene.wait(client.write(0, filled(CHUNK)))
  scene.files.faults.arm({ kinds: [CallKind.TRUNCATE], errno: ENOSPC, ...once, reach: 1 })
  await t.throwsAsync(scene.wait(client.trim(0, CHUNK)), { message: /errno 28 at 0/ })
  sameBytes(t, await scene.wait(client.read(0, CHUNK)), filled(CHUNK, 0))
  await scene.wait(client.write(PAGE, filled(PAGE, 9)))
  await scene.wait(client.flush())
  scene.losePower()
  t.deepEqual(await scene.check(), [])
  const again = await scene.open()
  sameBytes(t, await scene.wait(again.read(PAGE, PAGE)), filled(PAGE, 9))
})

test('a chunk of which nobody can say how large it is refuses everything', async (t) => {
  const scene = new SimulatedDisk(SHAPE)
  const client = await scene.open()
  await scene.wait(client.write(0, filled(CHUNK)))
  scene.files.faults.arm({ kinds: [CallKind.TRUNCATE], errno: EIO, ...once, reach: 1 })
  scene.files.faults.arm({ kinds: [CallKind.STATUS], errno: EIO, ...once })
  await t.throwsAsync(scene.wait(client.trim(0, CHUNK)), { message: /errno 5 at 0/ })
  await t.throwsAsync(scene.wait(client.read(0, PAGE)), { message: /errno 5/ })
  await t.throwsAsync(scene.wait(client.write(0, filled(PAGE))), { message: /errno 5/ })
})

for (const [title, kind, reach] of [
  ['could not be sized', CallKind.TRUNCATE, 0],
  ['was sized although that failed', CallKind.TRUNCATE, 1],
] as const) {
  test(`a chunk file that ${title} comes back in its own part only`, async (t) => {
    const shape = { ...SHAPE, parts: { first: 1, second: 8 } }
    const names = new Set<string>()
    for (let seed = 1; seed <= 100; seed++) {
      const scene = new SimulatedDisk(shape, seed)
      const client = await scene.open()
      scene.files.faults.arm({ kinds: [kind], errno: ENOSPC, ...once, reach })
      await t.throwsAsync(scene.wait(client.write(0, filled(PAGE))), { message: /errno 28 at 0/ })
      await scene.wait(client.write(CHUNK, filled(PAGE)))
      await scene.wait(client.write(0, filled(PAGE)))
      scene.losePower(seed)
      t.deepEqual(await scene.check(), [])
      names.add(`${scene.list('first')} ${scene.list('second')}`)
      await scene.open()
    }
    t.true(names.has('chunk0 chunk1') && names.has(' '), [...names].join('; '))
  })
}
