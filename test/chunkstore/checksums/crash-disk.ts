/**
 * A chain of two disks with checksums on a simulated machine, under random requests, crashed and
 * opened again. Sector by sector it is known what may be read, and what a power loss may leave.
 * After every crash the oracle says whether what has no mark has the right sum.
 */
import assert from 'node:assert/strict'
import { createDisk } from '../../../chunkstore/create.ts'
import { ChunkDisk } from '../../../chunkstore/disk.ts'
import { type CacheMode, ChecksumKind, type DiskOptions } from '../../../chunkstore/options.ts'
import type { Files } from '../../../io/io.ts'
import type { Fault } from '../../../io/simulated/faults.ts'
import { SimulatedFile } from '../../../io/simulated/file.ts'
import { SimulatedFiles } from '../../../io/simulated/files.ts'
import { SimulatedMachine } from '../../../io/simulated/machine.ts'
import { examine, type Truth } from '../../helpers/checksum-oracle.ts'
import { DeviceClient, DeviceError } from '../../helpers/device-client.ts'
import type { Random } from '../../helpers/random.ts'
import { SECTOR, SectorHistory } from './sector-history.ts'

const PAGE = 4096
const FUA = 1
const NO_HOLE = 2

export interface CrashShape {
  readonly chunkSize: number
  readonly chunkCount: number
  readonly cacheMode: CacheMode
  /** Most pages of one request. */
  readonly pagesMax: number
  /** Puts something between the disk and its files. */
  readonly wrap?: (files: SimulatedFiles) => Files
}

export class CrashDisk {
  machine: SimulatedMachine
  files: SimulatedFiles
  readonly #random: Random
  readonly #shape: CrashShape
  #disk: ChunkDisk | null = null
  readonly #history: SectorHistory
  #stamp = 0
  #isAfterPowerLoss = false
  readonly messages: string[] = []
  /** Requests may fail with EIO, as one that a fault has struck. */
  mayFail = false
  failures = 0

  constructor(random: Random, shape: CrashShape) {
    const holes = random.chance(0.7)
    this.#random = random
    this.#shape = shape
    this.machine = new SimulatedMachine(random, { holes, atOnce: random.pick([0, 0.3, 0.9]) })
    this.files = new SimulatedFiles(this.machine)
    this.#history = new SectorHistory(this.size)
  }

  get size(): number {
    return this.#shape.chunkSize * this.#shape.chunkCount
  }

  /** A sync failed and lost data: memory and disk differ, and nothing will make them equal. */
  get hasLost(): boolean {
    return this.#history.hasLost
  }

  /** Lets the process go on until the promise is settled. */
  async wait<Result>(promise: Promise<Result>): Promise<Result> {
    const state = { isSettled: false }
    const settled = (): void => void (state.isSettled = true)
    promise.then(settled, settled)
    for (let idle = 0; !state.isSettled; idle++) {
      if (this.files.step()) idle = 0
      assert(idle < 1000, 'stuck')
      await new Promise((go) => setImmediate(go))
    }
    return promise
  }

  async turns(count: number): Promise<void> {
    for (let left = count; left > 0; left--) {
      this.files.step()
      await new Promise((go) => setImmediate(go))
    }
  }

  /** Makes the two disks; some of the first one's data shows through the second. */
  async create(): Promise<void> {
    const { chunkSize } = this.#shape
    const parts = (name: string) => [{ directory: `/d/${name}`, chunksMax: null }]
    const checksums = ChecksumKind.CRC32C
    const base = { file: '/d/base.chunkdisk', diskSize: this.size, chunkSize }
    this.machine.tree.makeDirectory('/d')
    await this.wait(
      createDisk(this.files, { ...base, parts: parts('base'), parent: null, checksums }),
    )
    this.machine.tree.syncAll()
    await this.open('base')
    for (let count = 0; count < 4; count++) await this.wait(this.#request('write'))
    await this.close()
    const child = { file: '/d/child.chunkdisk', diskSize: null, chunkSize: null }
    const parent = base.file
    await this.wait(createDisk(this.files, { ...child, parts: parts('child'), parent }))
    this.machine.tree.syncAll()
  }

  async open(name = 'child', options: Partial<DiskOptions> = {}): Promise<void> {
    const log = {
      info: () => {},
      warn: (_fields: object, message: string) => this.messages.push(message),
      error: (_fields: object, message: string) => this.messages.push(message),
    }
    const { cacheMode, wrap } = this.#shape
    const files = wrap === undefined ? this.files : wrap(this.files)
    const openFilesMax = this.#random.pick([1, 2, 1000])
    const all = { cacheMode, settleMs: Infinity, openFilesMax, log, ...options }
    this.#disk = await this.wait(ChunkDisk.open(files, `/d/${name}.chunkdisk`, all))
  }

  async close(): Promise<void> {
    await this.wait(this.#open.close()).catch((error: unknown) => {
      if (!this.mayFail) throw error
    })
    this.#disk = null
  }

  get #open(): ChunkDisk {
    assert(this.#disk !== null)
    return this.#disk
  }

  /** From now on requests may fail, and a failed sync may lose what was not durable. */
  arm(fault: Fault): void {
    this.mayFail = true
    this.files.faults.arm(fault)
    this.machine.onLost = () => this.#history.lost()
  }

  settle(): Promise<void> {
    return this.#open.settle()
  }

  /** A random request, if what it wants is not busy; it is not waited for. */
  begin(): void {
    const dice = this.#random.next()
    if (dice < 0.15) void this.#flush()
    else if (dice < 0.2) void this.settle()
    else if (dice < 0.3) void this.#look()
    else void this.#request(this.#random.pick(['write', 'write', 'write', 'trim', 'zero']))
  }

  async #request(kind: 'write' | 'trim' | 'zero'): Promise<void> {
    const random = this.#random
    const { chunkSize, pagesMax } = this.#shape
    const isChunk = kind !== 'write' && random.chance(0.4)
    const unit = isChunk ? chunkSize : PAGE
    const units = this.size / unit
    const count = isChunk ? 1 : Math.min(units, random.logarithmic(1, pagesMax))
    const first = (random.between(0, units - count) * unit) / SECTOR
    const sectors = Array.from({ length: (count * unit) / SECTOR }, (_, index) => first + index)
    if (this.#history.isBusy(sectors)) return
    const stamp = kind === 'write' ? ++this.#stamp : 0
    this.#history.started(sectors, stamp)
    const disk = this.#open
    const client = new DeviceClient(disk)
    const flags = random.chance(0.1) ? FUA : 0
    const offset = first * SECTOR
    const length = sectors.length * SECTOR
    try {
      if (kind === 'write') await client.write(offset, filled(stamp, length), flags)
      else if (kind === 'trim') await client.trim(offset, length, flags)
      else await client.zero(offset, length, flags | (random.chance(0.3) ? NO_HOLE : 0))
    } catch (error) {
      return this.#failed(disk, sectors, error)
    }
    if (disk !== this.#disk) return
    const { cacheMode } = this.#shape
    const isDurable = flags === FUA && cacheMode !== 'unsafe'
    this.#history.done(sectors, stamp, isDurable || cacheMode === 'writethrough')
  }

  /** Any part of it may be there. */
  #failed(disk: ChunkDisk, sectors: readonly number[], error: unknown): void {
    this.#mayFail(disk, error)
    if (disk !== this.#disk) return
    this.#history.failed(sectors)
  }

  #mayFail(disk: ChunkDisk, error: unknown): void {
    // Its process was killed before anybody heard of it.
    if (disk !== this.#disk) return
    if (!this.mayFail || !(error instanceof DeviceError)) throw error
    this.failures++
  }

  async #flush(): Promise<void> {
    const versions = this.#history.versions()
    const disk = this.#open
    try {
      await new DeviceClient(disk).flush()
    } catch (error) {
      return this.#mayFail(disk, error)
    }
    if (disk !== this.#disk) return
    if (this.#shape.cacheMode === 'unsafe') return
    this.#history.flushed(versions)
  }

  async #look(): Promise<void> {
    const random = this.#random
    const pages = this.size / PAGE
    const count = Math.min(pages, random.logarithmic(1, this.#shape.pagesMax))
    const first = random.between(0, pages - count)
    const disk = this.#open
    const client = new DeviceClient(disk)
    try {
      if (random.chance(0.5)) await client.read(first * PAGE, count * PAGE)
      else await client.blockStatus(first * PAGE, count * PAGE)
    } catch (error) {
      this.#mayFail(disk, error)
    }
  }

  /** Everything can be read, and is what it may be: that it is from now on. */
  async verify(): Promise<void> {
    const client = new DeviceClient(this.#open)
    const step = 16 * PAGE
    for (let at = 0; at < this.size; at += step) {
      const length = Math.min(step, this.size - at)
      const bytes = await this.wait(client.read(at, length))
      this.#history.verify(at, bytes, this.#isAfterPowerLoss)
    }
    this.#isAfterPowerLoss = false
  }

  /** What the files of the disk `name` say. */
  examine(name = 'child', machine = this.machine): Truth {
    const { chunkSize, chunkCount } = this.#shape
    const read = (file: string): Uint8Array | null => {
      const node = machine.tree.find(`/d/${name}/${file}`)
      return node instanceof SimulatedFile ? node.cache.bytes : null
    }
    return examine(read, chunkSize, chunkCount)
  }

  /** The process dies; the kernel keeps what it wrote. */
  kill(): void {
    this.#crash()
    this.files = new SimulatedFiles(this.machine)
  }

  /** The machine dies. Some of the possible outcomes are examined, one is what is found. */
  losePower(outcomes: number): void {
    this.#crash()
    const machine = this.machine
    for (let count = 0; count < outcomes; count++) {
      this.machine = machine.afterPowerLoss(this.#random)
      assert.deepEqual(this.examine().wrong, [])
      assert.deepEqual(this.examine('base').wrong, [])
    }
    this.files = new SimulatedFiles(this.machine)
    this.#isAfterPowerLoss = true
    this.#history.lostPower()
  }

  #crash(): void {
    this.machine.kill()
    this.#disk = null
    this.mayFail = false
    this.#history.crashed()
    assert.deepEqual(this.machine.violations, [])
    assert.deepEqual(this.examine().wrong, [])
  }
}

function filled(stamp: number, length: number): Uint8Array {
  return new Uint8Array(new Uint32Array(length / 4).fill(stamp).buffer)
}
