/** commit and flatten on a machine that loses its power at any moment: the disk reads the same. */
import test from 'ava'
import { checkDisk, Rule } from '../../chunkstore/check.ts'
import { commitDisk } from '../../chunkstore/commit.ts'
import { flattenDisk } from '../../chunkstore/flatten.ts'
import type { Files } from '../../io/io.ts'
import { FileImage } from '../../io/simulated/file-image.ts'
import { SimulatedFile } from '../../io/simulated/file.ts'
import { SimulatedFiles } from '../../io/simulated/files.ts'
import { SimulatedMachine } from '../../io/simulated/machine.ts'
import { Driver } from '../io/simulated/driver.ts'
import { Random, seedFor } from '../helpers/random.ts'

const CHUNK = 8192
const CHUNKS = 5
const LAYERS = ['base', 'mid', 'child']
const ROUNDS = 40
/** What may be found after one loss of power is asked for so many times. */
const OUTCOMES = 5

function install(machine: SimulatedMachine, file: string, data: Uint8Array): void {
  const image = new FileImage()
  image.apply({ kind: 'write', sequence: 0, position: 0, data, extends: true })
  machine.tree.install(file, image)
}

/** On the simulated machine each directory below the root is a file system. */
const PLACES = { together: '/d', apart: '' } as const

/**
 * Three layers of absent, empty and full chunks, all durable.
 * @param place of the part directories: on one file system, or each on its own
 */
function makeChain(random: Random, place: string): SimulatedMachine {
  const machine = new SimulatedMachine(random, { holes: random.chance(0.5), atOnce: 0.3 })
  for (const [depth, name] of LAYERS.entries()) {
    const parent = depth === 0 ? '' : `${LAYERS[depth - 1]}.chunkdisk\n`
    const text = `${parent}${CHUNKS * CHUNK}\n${CHUNK}\n${CHUNKS} ${place}/${name}\n`
    machine.tree.makeDirectory('/d')
    machine.tree.makeDirectory(`${place}/${name}`)
    install(machine, `/d/${name}.chunkdisk`, Buffer.from(text))
    for (let index = 0; index < CHUNKS; index++) {
      const kind = random.between(0, 2)
      const data = kind === 1 ? new Uint8Array(0) : random.bytes(CHUNK)
      if (kind > 0) install(machine, `${place}/${name}/chunk${index}`, data)
    }
  }
  return machine
}

/** What a disk reads as: by the rules of the format, not by the code under test. */
function imageOf(machine: SimulatedMachine, name: string): string {
  const descriptor = bytesOf(machine, `/d/${name}.chunkdisk`)?.toString() ?? ''
  const parent = /^(\w+)\.chunkdisk$/m.exec(descriptor)?.[1]
  const layers = LAYERS.slice(0, LAYERS.indexOf(name) + 1).toReversed()
  let image = ''
  for (let index = 0; index < CHUNKS; index++) {
    const visible = parent === undefined ? layers.slice(0, 1) : layers
    const found = visible
      .flatMap((layer) => Object.values(PLACES).map((place) => `${place}/${layer}`))
      .map((part) => bytesOf(machine, `${part}/chunk${index}`))
      .find((bytes) => bytes !== null)
    const isZeros = found === undefined || found === null || found.length === 0
    image += isZeros ? '\0'.repeat(CHUNK) : found.toString('latin1')
  }
  return image
}

function bytesOf(machine: SimulatedMachine, file: string): Buffer | null {
  const node = machine.tree.find(file)
  return node instanceof SimulatedFile ? Buffer.from(node.cache.bytes) : null
}

const isAlone = (machine: SimulatedMachine): boolean =>
  bytesOf(machine, '/d/child.chunkdisk')
    ?.toString()
    .startsWith(String(CHUNKS * CHUNK)) ?? false

for (const [title, work, readsAs] of [
  [
    'commit',
    (files: Files) => commitDisk(files, '/d/child.chunkdisk'),
    (machine: SimulatedMachine) => imageOf(machine, 'mid'),
  ],
  [
    'flatten',
    async (files: Files) => flattenDisk(files, '/d/child.chunkdisk'),
    (machine: SimulatedMachine) => imageOf(machine, 'child'),
  ],
] as const) {
  test(`${title}: after a power loss at any moment the disk reads the same`, async (t) => {
    const random = new Random(seedFor(t))
    for (let round = 0; round < ROUNDS; round++) {
      const machine = makeChain(random, random.pick(Object.values(PLACES)))
      const expected = imageOf(machine, 'child')
      const files = new SimulatedFiles(machine)
      const working = work(files)
      void working.catch(() => {})
      for (let steps = random.logarithmic(1, 300); steps > 0; steps--) {
        files.step()
        await new Promise((go) => setImmediate(go))
      }
      machine.kill()
      t.true(imageOf(machine, 'child') === expected, 'the process was killed')
      for (let outcome = 0; outcome < OUTCOMES; outcome++) {
        const after = machine.afterPowerLoss(random)
        t.true(imageOf(after, 'child') === expected, 'the power was lost')
        const again = new SimulatedFiles(after)
        // A flatten that was done finds no parent.
        if (title === 'commit' || !isAlone(after)) await new Driver(again, again).wait(work(again))
        t.true(readsAs(after) === expected, 'it was run again')
        t.deepEqual(after.violations, [])
        after.kill()
        const final = after.afterPowerLoss(random)
        t.true(readsAs(final) === expected, 'what was done is durable')
      }
    }
  })
}

test('a flatten after a commit that was killed leaves no chunk twice', async (t) => {
  const random = new Random(seedFor(t))
  for (let round = 0; round < ROUNDS; round++) {
    const machine = new SimulatedMachine(random, { holes: true, atOnce: 0.3 })
    const size = `${CHUNKS * CHUNK}\n${CHUNK}\n`
    for (const name of ['base', 'first', 'second']) machine.tree.makeDirectory(`/d/${name}`)
    install(machine, '/d/base.chunkdisk', Buffer.from(`${size}5 base\n`))
    const child = `base.chunkdisk\n${size}5 first\n5 second\n`
    install(machine, '/d/child.chunkdisk', Buffer.from(child))
    install(machine, '/d/second/chunk0', random.bytes(CHUNK))
    const has = (file: string): boolean => bytesOf(machine, file) !== null
    await runUntil(machine, commitDisk, () => !has('/d/second/chunk0'))
    await runUntil(machine, flattenDisk, () => has('/d/first/chunk0'))
    const after = machine.afterPowerLoss(random)
    const files = new SimulatedFiles(after)
    const findings = await new Driver(files, files).wait(checkDisk(files, '/d/child.chunkdisk'))
    t.deepEqual(
      findings.filter(({ rule }) => rule !== Rule.TEMPORARY),
      [],
    )
  }
})

/** Until the process is killed. */
async function runUntil(
  machine: SimulatedMachine,
  work: (files: Files, file: string) => Promise<unknown>,
  isReached: () => boolean,
): Promise<void> {
  const files = new SimulatedFiles(machine)
  work(files, '/d/child.chunkdisk').catch(() => {})
  while (!isReached()) {
    files.step()
    await new Promise((go) => setImmediate(go))
  }
  machine.kill()
}

test('the order of syncs matters: a commit without them does not pass', async (t) => {
  const random = new Random(seedFor(t))
  let broken = 0
  for (let round = 0; round < ROUNDS; round++) {
    const machine = makeChain(random, PLACES.apart)
    const expected = imageOf(machine, 'child')
    const files = new SimulatedFiles(machine)
    files.syncDirectory = files.sync = (operation) => {
      operation.result = 0
      return true
    }
    await new Driver(files, files).wait(commitDisk(files, '/d/child.chunkdisk'))
    machine.kill()
    const after = machine.afterPowerLoss(random, { names: 0.5, sizes: 0.5, data: 0.5 })
    if (imageOf(after, 'child') !== expected) broken++
  }
  t.true(broken > ROUNDS / 4)
})
