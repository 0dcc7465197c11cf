/**
 * The NBD server: listens, keeps the connections, and stops in good order. It owns neither the
 * exports nor their devices; whoever made them closes them after `stop`.
 */
import type { Files, Io, ListenAddress, Listener, SocketAddress, Stream } from '../io/io.ts'
import { Admission, Refusal } from './admission.ts'
import { ClientLog } from './client-log.ts'
import { Connection } from './connection.ts'
import type { ConnectionSettings, TlsSettings } from './connection-settings.ts'
import { type AccessPolicy, EVERYTHING } from './access.ts'
import type { Export, ExportTable } from './export.ts'
import {
  CONNECTIONS_MAX,
  CONNECTIONS_PER_ADDRESS_MAX,
  HANDSHAKE_MS_MAX,
  HOARD_LOOK_MS,
  HOARD_LOOKS,
  IDLE_LOOKS,
  SLABS_IDLE_MS,
  STOP_MS_MAX,
} from './limits.ts'
import { type Log, SILENT } from './log.ts'
import { RefusalLog } from './refusal-log.ts'
import { Resources } from './resources.ts'
import { checkLimits, type ServerLimits } from './server-limits.ts'

const DEFAULT_LIMITS: ServerLimits = {
  connections: CONNECTIONS_MAX,
  connectionsPerAddress: CONNECTIONS_PER_ADDRESS_MAX,
  connectionsPerExport: CONNECTIONS_MAX,
  handshakeMs: HANDSHAKE_MS_MAX,
  idleMs: 0,
}

export interface ServerSettings {
  readonly io: Pick<Io, 'listen' | 'soon' | 'giveBack'> & {
    /** Allocates the memory for payloads and replies. Default: anywhere. */
    readonly files?: Pick<Files, 'memory'>
  }
  readonly exports: ExportTable
  /** Who may have which export. Default: everybody all. */
  readonly policy?: AccessPolicy
  /** Default: no connection is encrypted. */
  readonly tls?: TlsSettings
  /** Those that are left out have their defaults (docs/protocol.md). */
  readonly limits?: Partial<ServerLimits>
  /** Default: none. */
  readonly log?: Log
}

export interface ServerStatistics {
  readonly connections: number
  /** Connections that a limit has refused or cut off. */
  readonly refused: number
  readonly requestsInFlight: number
  /** Payload and reply memory in use. */
  readonly memoryBytes: number
  /** Memory for what clients send next. */
  readonly receiveBytes: number
  /** Receive and reply buffers that are not in the pool. */
  readonly slabsInUse: number
  /** Bytes of those that are in the pool. */
  readonly slabsFreeBytes: number
}

export class Server {
  readonly #io: Pick<Io, 'listen'>
  readonly #settings: ConnectionSettings
  readonly #resources: Resources
  readonly #log: Log
  readonly #listeners: Listener[] = []
  readonly #connections = new Set<Connection>()
  readonly #admission: Admission
  readonly #sweep: NodeJS.Timeout
  readonly #hoardLook: NodeJS.Timeout
  readonly #idleLook: NodeJS.Timeout | undefined
  #stopped: Promise<void> | null = null
  #onEmpty: () => void = () => {}
  /** Who has connected and waits; null: nobody has to. */
  #held: Stream[] | null = null
  /** Whoever waits for some connections to be over. */
  readonly #leaving = new Set<(connection: Connection) => void>()

  constructor(settings: ServerSettings) {
    const { io, exports, policy = EVERYTHING, tls, limits: wanted, log = SILENT } = settings
    const limits = { ...DEFAULT_LIMITS, ...wanted }
    checkLimits(limits)
    this.#io = io
    this.#log = log
    this.#resources = new Resources(io)
    this.#admission = new Admission(limits, log)
    this.#settings = {
      exports,
      policy,
      tls: tls ?? null,
      handshakeMs: limits.handshakeMs,
      log,
      resources: this.#resources,
      admission: this.#admission,
      refusals: new RefusalLog(log),
      clients: new ClientLog(log),
      onOver: (connection) => this.#over(connection),
    }
    const giveBack = io.giveBack ?? (() => {})
    this.#sweep = setInterval(() => this.#resources.slabs.shrink(giveBack), SLABS_IDLE_MS)
    this.#sweep.unref()
    this.#hoardLook = setInterval(() => this.#cutOffHoarders(), HOARD_LOOK_MS)
    this.#hoardLook.unref()
    if (limits.idleMs === 0) return
    this.#idleLook = setInterval(() => this.#cutOffIdle(), limits.idleMs / IDLE_LOOKS)
    this.#idleLook.unref()
  }

  /** @returns the address with the real port. Throws if it cannot be had, saying why. */
  async listen(address: SocketAddress): Promise<SocketAddress>
  async listen(address: ListenAddress): Promise<ListenAddress>
  async listen(address: ListenAddress): Promise<ListenAddress> {
    const listener = await this.#io.listen(
      address,
      (stream) => this.#accept(stream),
      (remote) => this.#admission.report(Refusal.DESCRIPTORS, remote),
    )
    this.#listeners.push(listener)
    this.#log.debug({ address: listener.address }, 'listening')
    return listener.address
  }

  /** From now on whoever connects waits, until `release`. */
  hold(): void {
    this.#held ??= []
  }

  release(): void {
    const held = this.#held ?? []
    this.#held = null
    for (const stream of held) this.#accept(stream)
  }

  /**
   * Accepts nobody any more, answers what was received, closes all connections; those that do not
   * take their replies are cut off after a while. Resolves when nothing is with a device.
   */
  stop(): Promise<void> {
    this.#stopped ??= this.#stopAll()
    return this.#stopped
  }

  /**
   * Ends the connections of an export that nobody can find any more: what was received is answered
   * and flushed. Those that do not take their replies are cut off after a while. Resolves when
   * nothing of theirs is with its device.
   */
  async detach({ device }: Export): Promise<void> {
    const theirs = new Set([...this.#connections].filter((each) => each.device === device))
    for (const connection of theirs) connection.stop()
    const timer = setTimeout(() => {
      this.#log.warn({ connections: theirs.size }, 'cutting off slow clients')
      for (const connection of theirs) connection.destroy()
    }, STOP_MS_MAX)
    await new Promise<void>((resolve) => {
      const onLeft = (connection: Connection | null): void => {
        if (connection !== null) theirs.delete(connection)
        if (theirs.size > 0) return
        this.#leaving.delete(onLeft)
        resolve()
      }
      this.#leaving.add(onLeft)
      onLeft(null)
    })
    clearTimeout(timer)
  }

  statistics(): ServerStatistics {
    return {
      connections: this.#connections.size,
      refused: this.#admission.refused,
      requestsInFlight: this.#resources.requests.taken,
      memoryBytes: this.#resources.memory.bytes,
      receiveBytes: this.#resources.memory.receiveBytes,
      slabsInUse: this.#resources.slabs.taken,
      slabsFreeBytes: this.#resources.slabs.freeBytes,
    }
  }

  async #stopAll(): Promise<void> {
    for (const stream of this.#held ?? []) stream.destroy()
    const listeners = this.#listeners.splice(0)
    const closed = Promise.all(listeners.map((listener) => listener.close()))
    const empty = new Promise<void>((resolve) => (this.#onEmpty = resolve))
    for (const connection of this.#connections) connection.stop()
    if (this.#connections.size === 0) this.#onEmpty()
    const timer = setTimeout(() => {
      this.#log.warn({ connections: this.#connections.size }, 'cutting off slow clients')
      for (const connection of this.#connections) connection.destroy()
    }, STOP_MS_MAX)
    await Promise.all([closed, empty])
    clearTimeout(timer)
    clearInterval(this.#sweep)
    clearInterval(this.#hoardLook)
    clearInterval(this.#idleLook)
  }

  #accept(stream: Stream): void {
    if (this.#stopped !== null) return stream.destroy()
    if (this.#held !== null) return void this.#held.push(stream)
    if (!this.#admission.admits(stream)) return
    const connection = new Connection(stream, this.#settings)
    this.#connections.add(connection)
    this.#admission.enter(connection)
  }

  /** Only when there is too little memory for the others. */
  #cutOffHoarders(): void {
    if (!this.#resources.memory.isShort) return
    for (const connection of this.#connections) {
      if (connection.countStuck() < HOARD_LOOKS) continue
      this.#admission.report(Refusal.HOARDING, connection.remote)
      connection.destroy()
    }
  }

  #cutOffIdle(): void {
    for (const connection of this.#connections) {
      if (connection.countQuiet() < IDLE_LOOKS) continue
      this.#admission.report(Refusal.IDLE, connection.remote)
      connection.cutOff()
    }
  }

  #over(connection: Connection): void {
    this.#connections.delete(connection)
    this.#admission.leave(connection)
    for (const onLeft of this.#leaving) onLeft(connection)
    if (this.#connections.size === 0) this.#onEmpty()
  }
}
