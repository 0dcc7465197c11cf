/** A chunk disk on a simulated machine: made by hand, opened, killed, found after a power loss. */
import { checkDisk, type Finding } from '../../chunkstore/check.ts'
import { ChunkDisk } from '../../chunkstore/disk.ts'
import type { DiskOptions } from '../../chunkstore/options.ts'
import { SimulatedFiles } from '../../io/simulated/files.ts'
import { NOTHING_KEPT, SimulatedMachine } from '../../io/simulated/machine.ts'
import { Driver } from '../io/simulated/driver.ts'
import { DeviceClient } from './device-client.ts'
import { Random } from './random.ts'

const FILE = '/d/a.chunkdisk'

export interface SimulatedShape {
  readonly size: number
  readonly chunkSize: number
  /** Directory and quota. */
  readonly parts: Readonly<Record<string, number>>
}

export class SimulatedDisk {
  machine: SimulatedMachine
  files: SimulatedFiles
  #driver: Driver
  #disk: ChunkDisk | null = null

  constructor(shape: SimulatedShape, seed = 1) {
    this.machine = new SimulatedMachine(new Random(seed), { holes: true, atOnce: 0.5 })
    const parts = Object.entries(shape.parts)
    for (const [directory] of parts) this.machine.tree.makeDirectory(`/d/${directory}`)
    const lines = [shape.size, shape.chunkSize, ...parts.map(([name, quota]) => `${quota} ${name}`)]
    this.machine.tree.putText(FILE, `${lines.join('\n')}\n`)
    this.machine.tree.syncAll()
    this.files = new SimulatedFiles(this.machine)
    this.#driver = new Driver(this.files, this.files)
  }

  async open(options: Partial<DiskOptions> = {}): Promise<DeviceClient> {
    this.#disk = await this.wait(ChunkDisk.open(this.files, FILE, options))
    return new DeviceClient(this.#disk)
  }

  /** Lets the process go on until the promise is settled. */
  wait<Result>(promise: Promise<Result>): Promise<Result> {
    return this.#driver.wait(promise)
  }

  async close(): Promise<void> {
    if (this.#disk !== null) await this.wait(this.#disk.close())
  }

  check(): Promise<Finding[]> {
    return this.wait(checkDisk(this.files, FILE))
  }

  /** The process is killed; what follows is another one. */
  kill(): void {
    this.machine.kill()
    this.#start(this.machine)
  }

  /** The power is lost, and nothing is there but what was synced, or what the seed says. */
  losePower(seed?: number): void {
    this.machine.kill()
    const fate = seed === undefined ? NOTHING_KEPT : undefined
    this.#start(this.machine.afterPowerLoss(new Random(seed ?? 1), fate))
  }

  #start(machine: SimulatedMachine): void {
    this.machine = machine
    this.files = new SimulatedFiles(machine)
    this.#driver = new Driver(this.files, this.files)
  }

  /** Names in a part, sorted. */
  list(part: string): string[] {
    return [...this.machine.tree.directory(`/d/${part}`, 'list').names.keys()].sort()
  }
}
