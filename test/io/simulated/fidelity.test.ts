/** The simulated files beside the real ones: the same calls, the same answers and contents. */
import fs from 'node:fs'
import test from 'ava'
import { type Files, Seek } from '../../../io/io.ts'
import { AwaitedOperation } from '../../../chunkstore/awaited-operation.ts'
import { SimulatedFiles } from '../../../io/simulated/files.ts'
import { SimulatedMachine } from '../../../io/simulated/machine.ts'
import { nodeFiles, systemCalls } from '../../helpers/chunk-disk.ts'
import { Random, seedFor } from '../../helpers/random.ts'
import { tempDirectory } from '../../helpers/temp.ts'
import { Driver } from './driver.ts'

const { O_CREAT, O_EXCL, O_RDWR, O_TRUNC } = fs.constants
const SIZE = 65_536
const PAGE = 4096
const STEPS = 1500
const NAMES = ['a', 'b', 'c']

const withHoles = systemCalls === null ? test.skip : test

/** One of the two sides, in a directory of its own. */
class Side {
  readonly files: Files
  readonly driver: Driver
  readonly directory: string
  readonly open = new Map<string, number>()

  constructor(files: Files, directory: string) {
    this.files = files
    this.directory = directory
    this.driver = new Driver(files, files instanceof SimulatedFiles ? files : null)
  }

  path(name: string): string {
    return `${this.directory}/${name}`
  }

  /** @returns what it comes to, or the code it fails with */
  async try(action: () => Promise<unknown>): Promise<string> {
    try {
      return String(await this.driver.wait(action()))
    } catch (error) {
      return (error as NodeJS.ErrnoException).code ?? String(error)
    }
  }

  async opens(name: string, flags: number): Promise<string> {
    const old = this.open.get(name)
    if (old !== undefined) await this.driver.wait(this.files.close(old))
    this.open.delete(name)
    return this.try(async () => {
      this.open.set(name, await this.files.open(this.path(name), O_RDWR | flags))
    })
  }

  async look(name: string): Promise<string> {
    return this.try(async () => {
      const { size, isFile } = await this.files.status(this.path(name))
      const text = await this.files.readText(this.path(name), 1 << 20)
      return `${size} ${isFile} ${Buffer.from(text).toString('base64')}`
    })
  }

  /** Where data and holes are, as far as both sides must agree: no data where one says hole. */
  seek(name: string, kind: 3 | 4, position: number): number {
    const operation = Object.assign(new AwaitedOperation(), { fd: this.open.get(name), position })
    this.files.seek(operation, kind)
    return operation.result
  }
}

type Action = (side: Side) => Promise<unknown>

function someAction(random: Random): Action {
  const name = random.pick(NAMES)
  const position = random.between(0, 15) * PAGE
  const length = random.between(1, 4) * PAGE
  const data = random.bytes(random.chance(0.5) ? length : random.between(1, length))
  const flags = random.pick([O_CREAT, O_CREAT | O_EXCL, O_CREAT | O_TRUNC, 0])
  const other = random.pick(NAMES)
  const size = random.pick([0, PAGE, SIZE])
  const onFile = (act: (side: Side, fd: number) => Promise<unknown>): Action => {
    return async (side) => {
      const fd = side.open.get(name)
      return fd === undefined ? 'not open' : act(side, fd)
    }
  }
  const read: Action = onFile(async ({ driver }, fd) => driver.read(fd, position, length))
  return random.pick<Action>([
    (side) => side.opens(name, flags),
    (side) => side.try(() => side.files.rename(side.path(name), side.path(other))),
    (side) => side.try(() => side.files.remove(side.path(name))),
    (side) => side.look(name),
    (side) => side.try(async () => (await side.files.list(side.directory)).sort().join(' ')),
    (side) => side.try(() => side.files.createText(side.path(name), 'text')),
    read,
    read,
    onFile(({ driver }, fd) => driver.write(fd, position, data)),
    onFile(({ driver }, fd) => driver.write(fd, position, data)),
    onFile(({ driver }, fd) => driver.run('truncate', fd, { length: size })),
    onFile(({ driver }, fd) => driver.run('punchHole', fd, { position, length })),
    onFile(({ driver }, fd) => driver.run('zeroRange', fd, { position, length })),
    onFile(({ driver }, fd) => driver.run('sync', fd)),
    onFile(async (side) => side.seek(name, Seek.HOLE, position) < 0),
  ])
}

withHoles('the simulated files answer as the real ones do', async (t) => {
  const random = new Random(seedFor(t))
  const machine = new SimulatedMachine(random, { holes: true, atOnce: 0.5 })
  machine.tree.makeDirectory('/d')
  const sides = [
    new Side(nodeFiles(), tempDirectory(t)),
    new Side(new SimulatedFiles(machine), '/d'),
  ]
  for (let step = 0; step < STEPS; step++) {
    const seed = random.between(0, 2 ** 30)
    const action = (): Action => someAction(new Random(seed))
    const [real, simulated] = [await action()(sides[0]), await action()(sides[1])]
    t.deepEqual(simulated, real, `step ${step}, seed of the action ${seed}`)
  }
  t.deepEqual(machine.violations, [])
})
