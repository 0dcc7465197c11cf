/**
 * Lock files when the power is lost, or the process killed, at any moment; and when two machines
 * come at once that kernel locks do not reach.
 */
import test from 'ava'
import { ChunkDisk } from '../../chunkstore/disk.ts'
import type { MachineIdentity } from '../../io/io.ts'
import { SimulatedFile } from '../../io/simulated/file.ts'
import { SimulatedFiles } from '../../io/simulated/files.ts'
import { NOTHING_KEPT, SimulatedMachine } from '../../io/simulated/machine.ts'
import { SimulatedTree } from '../../io/simulated/tree.ts'
import { Driver } from '../io/simulated/driver.ts'
import { Random, seedFor } from '../helpers/random.ts'

const TRAITS = { holes: true, atOnce: 0.5 }
const OTHER: MachineIdentity = { host: 'other', machine: 'other', boot: 'x' }
const ROUNDS = 60
const RACES = 150
/** About as many as opening and closing takes. */
const CALLS_MAX = 120
const LOCK_FILES = { lockFiles: true }

function makeTree(): SimulatedTree {
  const tree = new SimulatedTree()
  for (const part of ['b', 'c', 'd']) tree.makeDirectory(`/d/${part}`)
  tree.putText('/d/base.chunkdisk', '65536\n8192\n8 b\n')
  tree.putText('/d/child.chunkdisk', 'base.chunkdisk\n65536\n8192\n4 c\n4 d\n')
  tree.syncAll()
  return tree
}

/** What the lock file of a part says: `write`, `read`, '' for chunkdisk's, or null. */
function lockIn({ tree }: SimulatedMachine, part: string): string | null {
  const node = tree.find(`/d/${part}/.lock`)
  if (!(node instanceof SimulatedFile)) return null
  return /"access":"(\w+)"/.exec(Buffer.from(node.cache.bytes).toString())?.[1] ?? ''
}

const locksIn = (machine: SimulatedMachine): (string | null)[] =>
  ['b', 'c', 'd'].map((part) => lockIn(machine, part))

function namesIn({ tree }: SimulatedMachine, part: string): string[] {
  return [...tree.directory(`/d/${part}`, 'list').names.keys()]
}

interface CutShort {
  /** Calls that are done before it is killed; 0: it is killed as soon as the disk is open. */
  readonly steps: number
  readonly readOnly?: boolean
}

/** Opens the child and closes it again, but is killed before that has ended. */
async function cutShort(machine: SimulatedMachine, { steps, readOnly }: CutShort): Promise<void> {
  const files = new SimulatedFiles(machine)
  const options = { ...LOCK_FILES, readOnly: readOnly === true }
  const opening = ChunkDisk.open(files, '/d/child.chunkdisk', options)
  if (steps === 0) {
    await new Driver(files, files).wait(opening)
    return machine.kill()
  }
  void opening.then((disk) => disk.close()).catch(() => {})
  for (let step = 0; step < steps; step++) {
    files.step()
    await new Promise((go) => setImmediate(go))
  }
  machine.kill()
}

async function openAndClose(machine: SimulatedMachine, file = 'child'): Promise<void> {
  const files = new SimulatedFiles(machine)
  const driver = new Driver(files, files)
  const disk = await driver.wait(ChunkDisk.open(files, `/d/${file}.chunkdisk`, LOCK_FILES))
  await driver.wait(disk.close())
}

test('an open disk has its lock files after a power loss, the parent too', async (t) => {
  const machine = new SimulatedMachine(new Random(1), TRAITS, makeTree())
  await cutShort(machine, { steps: 0 })
  const after = machine.afterPowerLoss(new Random(1), NOTHING_KEPT)
  t.deepEqual(locksIn(after), ['read', 'write', 'write'])
  const elsewhere = new SimulatedMachine(new Random(1), TRAITS, after.tree, OTHER)
  const message = /\/c\/\.lock exists: simulated is writing to the disk/
  await t.throwsAsync(openAndClose(elsewhere), { code: 'EINUSE', message })
  await openAndClose(after)
  t.deepEqual(locksIn(after), ['read', null, null])
})

test('a closed disk has none after a power loss, the parent has its own', async (t) => {
  const machine = new SimulatedMachine(new Random(1), TRAITS, makeTree())
  await openAndClose(machine)
  machine.kill()
  const after = machine.afterPowerLoss(new Random(1), NOTHING_KEPT)
  t.deepEqual(locksIn(after), ['read', null, null])
  await t.throwsAsync(openAndClose(after, 'base'), { code: 'EINUSE' })
})

test('what a reader takes over stays, also after a power loss', async (t) => {
  const machine = new SimulatedMachine(new Random(1), TRAITS, makeTree())
  await cutShort(machine, { steps: 0 })
  await cutShort(machine, { steps: 0, readOnly: true })
  const after = machine.afterPowerLoss(new Random(1), NOTHING_KEPT)
  t.deepEqual(locksIn(after), ['read', 'read', 'read'])
  await t.throwsAsync(openAndClose(after), { code: 'EINUSE', message: /for reading/ })
})

for (const [title, isPowerLost] of [
  ['killed', false],
  ['cut off from power', true],
] as const) {
  test(`whenever a start or end is ${title}, the next one is in order`, async (t) => {
    const random = new Random(seedFor(t))
    let left = 0
    let machine = new SimulatedMachine(random, TRAITS, makeTree())
    for (let round = 0; round < ROUNDS; round++) {
      await cutShort(machine, { steps: random.between(1, CALLS_MAX) })
      if (isPowerLost) machine = machine.afterPowerLoss(random)
      if (locksIn(machine).includes('write')) left++
      // Often one that was cut short follows another.
      if (random.chance(0.5)) continue
      await openAndClose(machine)
      t.deepEqual(locksIn(machine), ['read', null, null])
      t.deepEqual([...namesIn(machine, 'c'), ...namesIn(machine, 'd')], [])
      t.deepEqual(machine.violations, [])
      // The base's is made anew in the next round.
      if (random.chance(0.5)) machine.tree.remove('/d/b/.lock')
    }
    t.log(`${left} of ${ROUNDS} left a lock file`)
    t.true(left > 5)
  })
}

test('of two machines that start at once at most one has the disk', async (t) => {
  const random = new Random(seedFor(t))
  const wins = [0, 0, 0]
  for (let count = 0; count < RACES; count++) {
    const tree = makeTree()
    const machines = [
      new SimulatedMachine(random, TRAITS, tree),
      new SimulatedMachine(random, TRAITS, tree, OTHER),
    ]
    // A file left behind is taken over by one of them only.
    if (random.chance(0.3)) await cutShort(machines[0], { steps: 0 })
    const processes = machines.map((machine) => new SimulatedFiles(machine))
    const starts = processes.map((files) =>
      ChunkDisk.open(files, '/d/child.chunkdisk', LOCK_FILES).catch((error: Error) => {
        t.like(error, { code: 'EINUSE' }, error.message)
        return null
      }),
    )
    const race = { isOver: false }
    const ended = Promise.all(starts).finally(() => (race.isOver = true))
    while (!race.isOver) {
      random.pick(processes).step()
      await new Promise((go) => setImmediate(go))
    }
    const disks = (await ended).filter((disk) => disk !== null)
    t.true(disks.length <= 1)
    wins[disks.length]++
    for (const files of processes) files.isImmediate = true
    for (const disk of disks) await disk.close()
    t.not(lockIn(machines[0], 'b'), null)
  }
  t.log(`${wins[1]} of ${RACES} races had a winner`)
  t.true(wins[1] > RACES / 4)
})
