/** What may be found after a power loss, and what may not: all of it is found, nothing else. */
import fs from 'node:fs'
import test from 'ava'
import { SimulatedFile } from '../../../io/simulated/file.ts'
import { SimulatedFiles } from '../../../io/simulated/files.ts'
import { CallKind } from '../../../io/simulated/faults.ts'
import { SimulatedMachine } from '../../../io/simulated/machine.ts'
import { LockKind } from '../../../io/io.ts'
import { Random } from '../../helpers/random.ts'
import { Driver } from './driver.ts'

const { O_CREAT, O_DIRECTORY, O_RDONLY, O_RDWR } = fs.constants
const SECTOR = 512
const STATES = 300

interface Scene {
  readonly machine: SimulatedMachine
  readonly files: SimulatedFiles
  readonly driver: Driver
  /** Of the directory `/d`. */
  readonly directory: number
}

async function scene(seed = 1): Promise<Scene> {
  const machine = new SimulatedMachine(new Random(seed), { holes: true, atOnce: 0.3 })
  machine.tree.makeDirectory('/d')
  machine.tree.syncAll()
  const files = new SimulatedFiles(machine)
  const driver = new Driver(files, files)
  return { machine, files, driver, directory: await driver.open('/d', O_RDONLY | O_DIRECTORY) }
}

/** Two sectors as text: the first letter of each, `-` for zeros. */
function letters(machine: SimulatedMachine, file: string): string {
  const node = machine.tree.find(file)
  if (!(node instanceof SimulatedFile)) return 'none'
  const { bytes } = node.cache
  let text = ''
  for (let at = 0; at < bytes.length; at += SECTOR) {
    text += bytes[at] === 0 ? '-' : String.fromCharCode(bytes[at])
  }
  return text === '' ? 'empty' : text
}

/** Everything that is found after many power losses, sorted, each with its names if asked for. */
function found({ machine }: Scene, look: (after: SimulatedMachine) => string): string {
  machine.kill()
  const seen = new Set<string>()
  for (let seed = 0; seed < STATES; seed++) seen.add(look(machine.afterPowerLoss(new Random(seed))))
  return [...seen].sort().join(' ')
}

const of = (text: string): Uint8Array =>
  Buffer.concat([...text].map((letter) => Buffer.alloc(SECTOR, letter)))
const inFile = (after: SimulatedMachine): string => letters(after, '/d/f')
const names = (after: SimulatedMachine): string =>
  [...after.tree.directory('/d', 'test').names.keys()].sort().join('+') || 'none'

/** A file `/d/f` that holds `text`, all of it durable. */
async function durable(text: string, seed?: number): Promise<Scene & { readonly fd: number }> {
  const all = await scene(seed)
  const fd = await all.driver.open('/d/f', O_RDWR | O_CREAT)
  await all.driver.write(fd, 0, of(text))
  all.machine.tree.syncAll()
  return { ...all, fd }
}

test('what was written and not synced is there or not, sector by sector', async (t) => {
  const all = await durable('aa')
  await all.driver.write(all.fd, 0, of('bc'))
  t.is(found(all, inFile), 'aa ac ba bc')
})

test('of two writes the older can be found, the newer, or none', async (t) => {
  const all = await durable('a')
  await all.driver.write(all.fd, 0, of('b'))
  await all.driver.write(all.fd, 0, of('c'))
  t.is(found(all, inFile), 'a b c')
})

test('what was synced is there', async (t) => {
  const all = await durable('aa')
  await all.driver.write(all.fd, 0, of('bc'))
  t.is(await all.driver.run('sync', all.fd), 0)
  t.is(found(all, inFile), 'bc')
})

test('a sync does not cover what was written after it began', async (t) => {
  const all = await durable('a')
  const sync = all.driver.start('sync', all.fd)
  await all.driver.write(all.fd, 0, of('b'))
  t.is(await all.driver.wait(sync), 0)
  t.is(found(all, inFile), 'a b')
})

test('size and data come apart', async (t) => {
  const all = await durable('')
  await all.driver.run('truncate', all.fd, { length: 2 * SECTOR })
  await all.driver.write(all.fd, 0, of('bc'))
  t.is(found(all, inFile), '-- -c b- bc empty')
})

test('a file cut off and made longer again has its old data, none, or is empty', async (t) => {
  const all = await durable('aa')
  await all.driver.run('truncate', all.fd, { length: 0 })
  await all.driver.run('truncate', all.fd, { length: 2 * SECTOR })
  t.is(found(all, inFile), '-- aa empty')
})

test('a hole may be lost', async (t) => {
  const all = await durable('a'.repeat(8))
  await all.driver.run('punchHole', all.fd, { position: 0, length: 8 * SECTOR })
  t.is(found(all, inFile), '-------- aaaaaaaa')
})

test('a new name may be missing until its directory is synced', async (t) => {
  const all = await scene()
  const fd = await all.driver.open('/d/f', O_RDWR | O_CREAT)
  await all.driver.write(fd, 0, of('a'))
  await all.driver.run('sync', fd)
  t.is(found(all, inFile), 'a none')
  const synced = await scene()
  await synced.driver.open('/d/f', O_RDWR | O_CREAT)
  t.is(await synced.driver.run('syncDirectory', synced.directory), 0)
  t.is(found(synced, names), 'f')
})

test('a file has its old or its new name, and one of them', async (t) => {
  const all = await durable('a')
  await all.driver.wait(all.files.rename('/d/f', '/d/g'))
  t.is(found(all, names), 'f g')
})

test('a new file that was renamed has either name or none', async (t) => {
  const all = await scene()
  await all.driver.open('/d/f', O_RDWR | O_CREAT)
  await all.driver.wait(all.files.rename('/d/f', '/d/g'))
  t.is(found(all, names), 'f g none')
})

test('a file that was removed may be there again', async (t) => {
  const all = await durable('a')
  await all.driver.wait(all.files.remove('/d/f'))
  t.is(found(all, names), 'f none')
})

test('a directory is a name in another one', async (t) => {
  const all = await scene()
  await all.driver.wait(all.files.makeDirectory('/d/e'))
  await all.driver.wait(all.files.createText('/d/e/f', 'text'))
  t.is(found(all, names), 'e none')
})

test('what a failed sync lost is lost, whatever later syncs say', async (t) => {
  const seen = new Set<string>()
  const inMemory = new Set<string>()
  for (let seed = 0; seed < STATES; seed++) {
    const all = await durable('a', seed)
    await all.driver.write(all.fd, 0, of('b'))
    all.files.faults.arm({ kinds: [CallKind.SYNC], errno: 5, after: 0, count: 1, reach: 0 })
    t.is(await all.driver.run('sync', all.fd), -5)
    t.is(await all.driver.run('sync', all.fd), 0)
    inMemory.add(letters(all.machine, '/d/f'))
    all.machine.kill()
    const states = [0, 1, 2].map((each) => inFile(all.machine.afterPowerLoss(new Random(each))))
    t.is(new Set(states).size, 1)
    seen.add(states[0])
  }
  t.deepEqual([...seen].sort(), ['a', 'b'])
  t.deepEqual([...inMemory].sort(), ['a', 'b'])
})

test('a killed process leaves what it wrote, and no lock', async (t) => {
  const all = await durable('aa')
  const { machine, driver, fd } = all
  t.true(await driver.wait(all.files.lock(fd, LockKind.EXCLUSIVE)))
  await driver.write(fd, 0, of('bc'))
  const other = new SimulatedFiles(machine)
  const otherDriver = new Driver(other, other)
  const otherFd = await otherDriver.open('/d/f', O_RDONLY)
  t.false(await otherDriver.wait(other.lock(otherFd, LockKind.SHARED)))
  all.files.kill()
  t.is(letters(machine, '/d/f'), 'bc')
  t.true(await otherDriver.wait(other.lock(otherFd, LockKind.SHARED)))
})

test('a call under way when its process is killed is done in part, wholly or not', async (t) => {
  const seen = new Set<string>()
  for (let seed = 0; seed < STATES; seed++) {
    const all = await durable('aaaa', seed)
    void all.driver.start('write', all.fd, { buffer: of('bbbb'), length: 4 * SECTOR })
    all.machine.kill()
    seen.add(letters(all.machine, '/d/f'))
  }
  t.deepEqual([...seen].sort(), ['aaaa', 'baaa', 'bbaa', 'bbba', 'bbbb'])
})

test('a call that fails may have had a part of its effect', async (t) => {
  const all = await durable('aaaa')
  all.files.faults.arm({ kinds: [CallKind.WRITE], errno: 28, after: 1, count: 1, reach: 0.6 })
  t.is(await all.driver.write(all.fd, 0, of('bbbb')), 4 * SECTOR)
  t.is(await all.driver.write(all.fd, 0, of('cccc')), -28)
  t.is(letters(all.machine, '/d/f'), 'ccbb')
  t.is(await all.driver.write(all.fd, 0, of('dddd')), 4 * SECTOR)
})

test('the use of a closed descriptor is a violation', async (t) => {
  const { driver, files, fd, machine } = await durable('a')
  await driver.wait(files.close(fd))
  t.is(await driver.run('sync', fd), -9)
  await driver.wait(files.close(fd))
  t.deepEqual(machine.violations, [
    `sync on descriptor ${fd}: not open`,
    `close of descriptor ${fd}: not open`,
  ])
})

/** Where the file is: `/d/f`, `/d/e/f`, both or none. */
const places = (after: SimulatedMachine): string =>
  ['/d/f', '/d/e/f'].filter((file) => after.tree.find(file) !== null).join('+') || 'none'

async function inTwoDirectories(): Promise<Scene> {
  const all = await durable('a')
  all.machine.tree.makeDirectory('/d/e')
  all.machine.tree.makeDirectory('/other')
  all.machine.tree.syncAll()
  return all
}

test('a file moved to another directory is in one of them, never in both or none', async (t) => {
  const all = await inTwoDirectories()
  await all.driver.wait(all.files.rename('/d/f', '/d/e/f'))
  t.is(found(all, places), '/d/e/f /d/f')
})

test('a move is durable when either directory is synced', async (t) => {
  for (const directory of ['/d', '/d/e']) {
    const all = await inTwoDirectories()
    await all.driver.wait(all.files.rename('/d/f', '/d/e/f'))
    const fd = await all.driver.open(directory, O_RDONLY | O_DIRECTORY)
    t.is(await all.driver.run('syncDirectory', fd), 0)
    t.is(found(all, places), '/d/e/f')
  }
})

test('nothing is renamed from one file system to another', async (t) => {
  const all = await inTwoDirectories()
  const renamed = all.driver.wait(all.files.rename('/d/f', '/other/f'))
  await t.throwsAsync(renamed, { code: 'EXDEV' })
  t.is(found(all, places), '/d/f')
})
