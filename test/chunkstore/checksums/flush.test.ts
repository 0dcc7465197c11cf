/** When data is verified after a crash: from the flush on that covers it. */
import test from 'ava'
import { createDisk } from '../../../chunkstore/create.ts'
import { ChunkDisk } from '../../../chunkstore/disk.ts'
import { ChecksumKind, type DiskOptions } from '../../../chunkstore/options.ts'
import { SimulatedFile } from '../../../io/simulated/file.ts'
import { SimulatedFiles } from '../../../io/simulated/files.ts'
import { SimulatedMachine } from '../../../io/simulated/machine.ts'
import { sameBytes } from '../../helpers/bytes.ts'
import { examine } from '../../helpers/checksum-oracle.ts'
import { DeviceClient } from '../../helpers/device-client.ts'
import { Random, seedFor } from '../../helpers/random.ts'

const PAGE = 4096
const REGION = 1008 * PAGE
const CHUNK = 2 * REGION
const FUA = 1

const filled = (length: number, value: number): Uint8Array => new Uint8Array(length).fill(value)

/** A disk of two chunks, each of two regions, on a machine that crashes when it is told to. */
class Scene {
  machine: SimulatedMachine
  files: SimulatedFiles
  #disk: ChunkDisk | null = null

  constructor(random: Random) {
    this.machine = new SimulatedMachine(random, { holes: true, atOnce: 0.5 })
    this.files = new SimulatedFiles(this.machine)
  }

  static async create(random: Random): Promise<Scene> {
    const scene = new Scene(random)
    scene.machine.tree.makeDirectory('/d')
    const shape = { file: '/d/a.chunkdisk', diskSize: 2 * CHUNK, chunkSize: CHUNK, parent: null }
    const parts = [{ directory: '/d/a', chunksMax: null }]
    const checksums = ChecksumKind.CRC32C
    await scene.wait(createDisk(scene.files, { ...shape, parts, checksums }))
    scene.machine.tree.syncAll()
    return scene
  }

  /** Lets the process go on until the promise is settled. */
  async wait<Result>(promise: Promise<Result>): Promise<Result> {
    const state = { isSettled: false }
    const settled = (): void => void (state.isSettled = true)
    promise.then(settled, settled)
    for (let idle = 0; !state.isSettled && idle < 1000; idle++) {
      if (this.files.step()) idle = 0
      await new Promise((go) => setImmediate(go))
    }
    return promise
  }

  async open(options: Partial<DiskOptions> = {}): Promise<DeviceClient> {
    const all = { settleMs: Infinity, ...options }
    this.#disk = await this.wait(ChunkDisk.open(this.files, '/d/a.chunkdisk', all))
    return new DeviceClient(this.#disk)
  }

  async settle(): Promise<void> {
    if (this.#disk !== null) await this.wait(this.#disk.settle())
  }

  async close(): Promise<void> {
    if (this.#disk !== null) await this.wait(this.#disk.close())
  }

  kill(): void {
    this.machine.kill()
    this.#start(this.machine)
  }

  losePower(random: Random): void {
    this.machine.kill()
    this.#start(this.machine.afterPowerLoss(random))
  }

  #start(machine: SimulatedMachine): void {
    this.machine = machine
    this.files = new SimulatedFiles(machine)
  }

  #file(name: string): SimulatedFile | null {
    const node = this.machine.tree.find(`/d/a/${name}`)
    return node instanceof SimulatedFile ? node : null
  }

  marks(): number {
    return examine((name) => this.#file(name)?.cache.bytes ?? null, CHUNK, 2).marks
  }

  /** Behind everybody's back. */
  flip(name: string, position: number): void {
    const file = this.#file(name)
    if (file === null) throw new Error(`${name} is not there`)
    file.cache.bytes[position] ^= 1
  }
}

const crashes = ['kill', 'losePower'] as const

for (const crash of crashes) {
  test(`after a flush damage is found, whatever happens then: ${crash}`, async (t) => {
    const random = new Random(seedFor(t))
    const scene = await Scene.create(random)
    const client = await scene.open()
    await scene.wait(client.write(0, filled(8 * PAGE, 1)))
    await scene.wait(client.write(CHUNK + REGION, filled(8 * PAGE, 2)))
    t.true(scene.marks() > 0)
    await scene.wait(client.flush())
    // A mark ahead of time, of a region that was not written to, goes with time; others are off.
    for (let pass = 0; pass < 6; pass++) await scene.settle()
    t.is(scene.marks(), 0)
    if (crash === 'kill') scene.kill()
    else scene.losePower(random)
    scene.flip('chunk0', 3 * PAGE + 7)
    scene.flip('chunk1', REGION + PAGE)
    const again = await scene.open()
    await t.throwsAsync(scene.wait(again.read(3 * PAGE, PAGE)), { message: /errno 5/ })
    await t.throwsAsync(scene.wait(again.read(CHUNK + REGION + PAGE, PAGE)), { message: /errno 5/ })
    sameBytes(t, await scene.wait(again.read(4 * PAGE, PAGE)), filled(PAGE, 1))
    await scene.close()
  })
}

test('a flush takes the marks off at once, without waiting for a rest', async (t) => {
  const random = new Random(seedFor(t))
  const scene = await Scene.create(random)
  const client = await scene.open()
  for (let round = 1; round < 4; round++) {
    await scene.wait(client.write(0, filled(PAGE, round)))
    t.is(scene.marks(), 1)
    await scene.wait(client.flush())
    t.is(scene.marks(), 0)
  }
  scene.kill()
  scene.flip('chunk0', 0)
  const again = await scene.open()
  await t.throwsAsync(scene.wait(again.read(0, PAGE)), { message: /errno 5/ })
})

test('what was not flushed is taken as it is found, and so is FUA', async (t) => {
  const random = new Random(seedFor(t))
  for (const flags of [0, FUA]) {
    const scene = await Scene.create(random)
    const client = await scene.open()
    await scene.wait(client.write(0, filled(PAGE, 1), flags))
    scene.kill()
    t.is(scene.marks(), 1)
    scene.flip('chunk0', 0)
    const again = await scene.open()
    sameBytes(t, await scene.wait(again.read(0, PAGE)), filled(PAGE, 1).fill(0, 0, 1))
    await scene.close()
    t.is(scene.marks(), 0)
    scene.flip('chunk0', 0)
    const third = await scene.open()
    await t.throwsAsync(scene.wait(third.read(0, PAGE)), { message: /errno 5/ })
  }
})
