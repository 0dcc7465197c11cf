/** A resize on a machine that loses its power at any moment: the old size or the new one, whole. */
import test from 'ava'
import { ChunkDisk } from '../../chunkstore/disk.ts'
import { FileImage } from '../../io/simulated/file-image.ts'
import { SimulatedFile } from '../../io/simulated/file.ts'
import { SimulatedFiles } from '../../io/simulated/files.ts'
import { SimulatedMachine } from '../../io/simulated/machine.ts'
import { Driver } from '../io/simulated/driver.ts'
import { Random, seedFor } from '../helpers/random.ts'

const FILE = '/d/a.chunkdisk'
const PAGE = 4096
const CHUNK = 4 * PAGE
const SIZE = 4.5 * CHUNK
const LARGEST = 8 * CHUNK
const ROUNDS = 120
/** What may be found after one loss of power is asked for so many times. */
const OUTCOMES = 4

function install(machine: SimulatedMachine, file: string, data: Uint8Array): void {
  const image = new FileImage()
  image.apply({ kind: 'write', sequence: 0, position: 0, data, extends: true })
  machine.tree.install(file, image)
}

/** @param zeroFrom first page that holds nothing but zeros; behind the end there is always data */
function makeDisk(random: Random, zeroFrom: number): SimulatedMachine {
  const machine = new SimulatedMachine(random, { holes: random.chance(0.5), atOnce: 0.3 })
  machine.tree.makeDirectory('/d/a')
  install(machine, FILE, Buffer.from(`${SIZE}\n${CHUNK}\n100 a\n`))
  for (let index = 0; index * CHUNK < SIZE; index++) {
    const kind = random.between(0, 3)
    if (kind === 0) continue
    const data = kind === 1 ? new Uint8Array(0) : random.bytes(CHUNK)
    for (let page = 0; page * PAGE < data.length; page++) {
      const at = index * CHUNK + page * PAGE
      if (at < SIZE && at / PAGE >= zeroFrom) data.fill(0, page * PAGE, (page + 1) * PAGE)
    }
    install(machine, `/d/a/chunk${index}`, data)
  }
  return machine
}

/** The disk as a reader of the format sees it, not the code under test. */
function imageOf(machine: SimulatedMachine): Buffer {
  const size = Number(bytesOf(machine, FILE)?.toString().split('\n')[0])
  const chunks: Buffer[] = []
  for (let index = 0; index * CHUNK < size; index++) {
    const bytes = bytesOf(machine, `/d/a/chunk${index}`)
    chunks.push(bytes === null || bytes.length === 0 ? Buffer.alloc(CHUNK) : bytes)
  }
  return Buffer.concat(chunks).subarray(0, size)
}

function bytesOf(machine: SimulatedMachine, file: string): Buffer | null {
  const node = machine.tree.find(file)
  return node instanceof SimulatedFile ? Buffer.from(node.cache.bytes) : null
}

/** What a disk shows when it got another size. */
function resized(image: Buffer, size: number): Buffer {
  return Buffer.concat([image, Buffer.alloc(size)]).subarray(0, size)
}

interface Attempt {
  readonly machine: SimulatedMachine
  readonly before: Buffer
  readonly size: number
  /** It said that it was done. */
  readonly isDone: boolean
}

/** Resizes a random disk, and kills the process after so many steps. */
async function attempt(random: Random, steps: number, breakIt?: (files: SimulatedFiles) => void) {
  const size = random.between(4, LARGEST / PAGE) * PAGE
  const discardTail = random.chance(0.5)
  const machine = makeDisk(random, discardTail ? Infinity : size / PAGE)
  const before = imageOf(machine)
  const files = new SimulatedFiles(machine)
  breakIt?.(files)
  const state = { isDone: false }
  const work = async (): Promise<void> => {
    const disk = await ChunkDisk.open(files, FILE)
    await disk.resize({ size, discardTail })
    state.isDone = true
  }
  work().catch(() => {})
  for (; steps > 0 && !state.isDone; steps--) {
    files.step()
    await new Promise((go) => setImmediate(go))
  }
  machine.kill()
  return { machine, before, size, isDone: state.isDone } satisfies Attempt
}

/** By hand: what `check --repair` would move aside. */
function removeStrangers(machine: SimulatedMachine): void {
  const count = Math.ceil(imageOf(machine).length / CHUNK)
  for (let index = count; index * CHUNK < LARGEST; index++) {
    const file = `/d/a/chunk${index}`
    if (machine.tree.find(file) !== null) machine.tree.remove(file)
  }
}

test('after a power loss at any moment the disk has one of both sizes, and its data', async (t) => {
  const random = new Random(seedFor(t))
  const seen = { old: 0, new: 0, done: 0 }
  for (let round = 0; round < ROUNDS; round++) {
    const { machine, before, size, isDone } = await attempt(random, random.logarithmic(10, 300))
    if (isDone) seen.done++
    for (let outcome = 0; outcome < OUTCOMES; outcome++) {
      const after = machine.afterPowerLoss(random)
      const found = imageOf(after)
      t.true(found.length === size || (found.length === SIZE && !isDone), `${found.length}`)
      seen[found.length === size ? 'new' : 'old']++
      t.true(found.equals(resized(before, found.length)), 'its data')
      removeStrangers(after)
      const files = new SimulatedFiles(after)
      const driver = new Driver(files, files)
      const disk = await driver.wait(ChunkDisk.open(files, FILE))
      await driver.wait(disk.resize({ size: LARGEST }))
      t.true(imageOf(after).equals(resized(found, LARGEST)), 'what is new is zeros')
      await driver.wait(disk.close())
      t.deepEqual(after.violations, [])
      t.deepEqual(files.openNames(), [])
      after.kill()
      const last = imageOf(after.afterPowerLoss(random))
      t.true(last.equals(resized(found, LARGEST)), 'durably')
    }
  }
  for (const [what, count] of Object.entries(seen)) t.true(count > 5, `${what}: ${count}`)
})

test('the order of syncs matters: a resize without them does not pass', async (t) => {
  const random = new Random(seedFor(t))
  let broken = 0
  for (let round = 0; round < ROUNDS; round++) {
    const { machine, before, size } = await attempt(random, 10_000, (files) => {
      files.sync = (operation) => {
        operation.result = 0
        return true
      }
    })
    const after = machine.afterPowerLoss(random, { names: 1, sizes: 1, data: 0.5 })
    if (!imageOf(after).equals(resized(before, size))) broken++
  }
  t.true(broken > ROUNDS / 20, `${broken}`)
})
