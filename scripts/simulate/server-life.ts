/** The server from its start to its end, as `serve` puts it together, over simulated files. */
import { OPEN } from '../../cli/access-rules.ts'
import { Exports } from '../../cli/exports.ts'
import type { SharedOptions } from '../../cli/stack.ts'
import type { ExportSettings } from '../../cli/settings.ts'
import type { Device } from '../../device/device.ts'
import type { Io } from '../../io/io.ts'
import { SimulatedFiles } from '../../io/simulated/files.ts'
import type { SimulatedMachine } from '../../io/simulated/machine.ts'
import type { ExportTable } from '../../nbd/export.ts'
import { Server } from '../../nbd/server.ts'
import { FakeIo } from '../../test/helpers/fake-stream.ts'
import { silentLog } from '../../test/helpers/memory-session.ts'
import type { Style } from '../../test/helpers/wire-style.ts'
import type { Breakage } from './breakages.ts'
import { type Judge, SimulatedClient } from './client.ts'
import type { Setting } from './setting.ts'
import type { World } from './world.ts'

const STYLES: readonly Style[] = ['simple', 'structured', 'extended']

const NO_BREAKAGE: Breakage = { what: 'nothing is broken' }

/** @returns how `serve` opens the disk, with few open files */
function stackOptions(setting: Setting, note: (words: string) => void): StackOptions {
  const { cacheMode: cache, trim, movable, openFilesMax, layers } = setting
  const say = (fields: object, message: string): void => {
    note(`log: ${message} ${JSON.stringify(fields)}`)
  }
  const log = { info: () => {}, warn: say, error: say }
  const { file } = layers[0]
  const how = { movable, lockFiles: false, uuid: null, mapPath: [] }
  const disk = { file, cache, trim, pageCache: setting.pageCacheBytes, ...how }
  const settings = { name: 'simulated', readOnly: false, access: OPEN, disk }
  return { settings, shared: { openFilesMax, log } }
}

interface StackOptions {
  readonly settings: ExportSettings
  readonly shared: SharedOptions
}

export class ServerLife {
  readonly files: SimulatedFiles
  readonly exports: Exports
  readonly #world: World
  readonly #broken: Breakage
  readonly #network = new FakeIo()
  readonly #io: Io
  #server: Server | null = null
  readonly #clients = new Map<number, SimulatedClient>()
  /** Connections there have been: each has a number of its own. */
  #connections = 0

  /** @param isHurried its calls are done at once */
  constructor(
    world: World,
    machine: SimulatedMachine,
    breakage: Breakage | null,
    isHurried: boolean,
  ) {
    this.#world = world
    this.#broken = breakage ?? NO_BREAKAGE
    this.files = new SimulatedFiles(machine, isHurried)
    this.#io = {
      name: 'simulated',
      features: { systemCalls: machine.traits.holes, reason: '' },
      files: this.#broken.files?.(this.files) ?? this.files,
      listen: this.#network.io.listen,
      // Whoever reads it all the same shall see it.
      giveBack: (memory) => void memory.fill(0xdd),
    }
    this.exports = new Exports(this.#io)
    world.processes = [this.files]
    world.clients = []
  }

  /** @throws DiskError */
  async open(setting: Setting, note: (words: string) => void): Promise<void> {
    const { settings, shared } = stackOptions(setting, note)
    const opened = this.exports.open({ exports: [settings], defaultExport: null }, shared)
    await this.#world.wait(opened, 'opening the disk')
  }

  get device(): Device {
    return this.exports.list()[0].device
  }

  /** Begins to serve. */
  async serve(): Promise<void> {
    this.files.isImmediate = false
    const [entry] = this.exports.list()
    const device = this.#broken.device?.(entry.device) ?? entry.device
    const served = { ...entry, device }
    const table: ExportTable = { find: () => served, list: () => [served] }
    this.#server = new Server({ io: this.#io, exports: table, log: silentLog })
    const address = { kind: 'unix', path: 'simulated' } as const
    await this.#world.wait(this.#server.listen(address), 'listening')
  }

  get requestsInFlight(): number {
    return this.#server?.statistics().requestsInFlight ?? 0
  }

  /** Requests that clients wait for. */
  get outstandingCount(): number {
    return [...this.#clients.values()].reduce((sum, client) => sum + client.outstandingCount, 0)
  }

  /** @returns the client with this number, on a new connection if it has left */
  async client(number: number, judge: Judge): Promise<SimulatedClient> {
    const known = this.#clients.get(number)
    if (known !== undefined && !known.isLeaving) return known
    if (known !== undefined) await this.#world.until(() => known.isOver, 'a connection')
    const { schedule } = this.#world
    const stream = this.#network.connect()
    stream.pieceBytes = schedule.chance(0.2) ? schedule.between(1, 5000) : Infinity
    const style = schedule.pick(STYLES)
    const client = new SimulatedClient(this.#connections++, stream, style, judge)
    this.#clients.set(number, client)
    this.#world.clients = [...this.#clients.values()].map((each) => () => each.step())
    await this.#world.until(() => client.isAttached, 'a handshake')
    return client
  }

  /** Whether the client may be asked to leave. */
  attached(number: number): SimulatedClient | null {
    const client = this.#clients.get(number)
    return client === undefined || client.isLeaving ? null : client
  }

  /** As SIGTERM: finishes what was received, then says goodbye to everybody. */
  async stop(): Promise<void> {
    const server = this.#server
    if (server !== null) await this.#world.wait(server.stop(), 'stopping the server')
  }

  /** @throws DiskError */
  async close(): Promise<void> {
    await this.#world.wait(this.exports.close(), 'closing the disk')
  }
}
