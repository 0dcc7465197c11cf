/**
 * Who may come in, and stay. Over a limit of connections the oldest one that has not finished its
 * handshake makes room: a good client needs milliseconds for it, one that says nothing stays.
 * Who is attached is never sent away; if all are, the newcomer is.
 *
 *   accepted ─▶ handshake ─▶ attached ─▶ gone
 *                   └── makes room ────────▲
 */
import type { Stream } from '../io/io.ts'
import type { Export } from './export.ts'
import { REFUSALS_LOGGED_MS } from './limits.ts'
import type { Log } from './log.ts'
import { hostOf } from './remote.ts'
import type { ServerLimits } from './server-limits.ts'

export interface Guest {
  /** As `Stream.remote`. */
  readonly remote: string
  /** Closes the connection at once. */
  destroy(): void
}

/** Why somebody was sent away: the message in the log. */
export const Refusal = {
  TOTAL: 'too many connections: newcomers are refused (--max-connections)',
  ADDRESS: 'too many connections of one address (--max-connections-per-address)',
  EXPORT: 'too many clients of one export (--max-connections-per-export)',
  DESCRIPTORS: 'too few file descriptors are left: newcomers are refused (ulimit -n)',
  HANDSHAKE: 'handshake not finished in time (--handshake-timeout)',
  CROWDED: 'handshake not finished: cut off to let others in (--max-connections)',
  HOARDING: 'memory is short: cut off with a request or replies that stand still',
  IDLE: 'nothing happened for too long (--idle-timeout)',
} as const

export type Refusal = (typeof Refusal)[keyof typeof Refusal]

/** Those of one address, or of all. In the order they came. */
interface Crowd {
  count: number
  readonly handshakes: Set<Guest>
}

export class Admission {
  readonly #limits: ServerLimits
  readonly #log: Log
  readonly #all: Crowd = { count: 0, handshakes: new Set() }
  readonly #addresses = new Map<string, Crowd>()
  /** How many are attached, by the export's name. */
  readonly #exports = new Map<string, number>()
  /** Whoever is in, and the export if attached. */
  readonly #guests = new Map<Guest, Export | null>()
  readonly #reported = new Map<Refusal, { at: number; since: number }>()
  /** Connections that were refused or cut off by a limit. */
  refused = 0

  constructor(limits: ServerLimits, log: Log) {
    this.#limits = limits
    this.#log = log
  }

  /** @returns false: no room, and none can be made; the stream is closed */
  admits(stream: Stream): boolean {
    const { connections, connectionsPerAddress } = this.#limits
    const crowd = this.#addresses.get(hostOf(stream.remote))
    if (crowd !== undefined && crowd.count >= connectionsPerAddress) {
      if (!this.#makeRoom(crowd)) return this.#refuse(stream, Refusal.ADDRESS)
    } else if (this.#all.count >= connections && !this.#makeRoom(this.#all)) {
      return this.#refuse(stream, Refusal.TOTAL)
    }
    return true
  }

  #makeRoom({ handshakes }: Crowd): boolean {
    for (const oldest of handshakes) {
      this.report(Refusal.CROWDED, oldest.remote)
      this.leave(oldest)
      oldest.destroy()
      return true
    }
    return false
  }

  #refuse(stream: Stream, why: Refusal): false {
    this.report(why, stream.remote)
    stream.destroy()
    return false
  }

  /** For one that was admitted. */
  enter(guest: Guest): void {
    this.#guests.set(guest, null)
    for (const crowd of this.#crowdsOf(guest)) {
      crowd.count++
      crowd.handshakes.add(guest)
    }
  }

  /** @returns false: no further client may be attached to the export */
  mayAttach({ name }: Export, remote: string): boolean {
    const isFree = (this.#exports.get(name) ?? 0) < this.#limits.connectionsPerExport
    if (!isFree) this.report(Refusal.EXPORT, remote)
    return isFree
  }

  attach(guest: Guest, entry: Export): void {
    if (!this.#guests.has(guest)) return
    this.#guests.set(guest, entry)
    this.#exports.set(entry.name, (this.#exports.get(entry.name) ?? 0) + 1)
    for (const crowd of this.#crowdsOf(guest)) crowd.handshakes.delete(guest)
  }

  /** Who has left already may leave again. */
  leave(guest: Guest): void {
    const entry = this.#guests.get(guest)
    if (entry === undefined) return
    this.#guests.delete(guest)
    for (const crowd of this.#crowdsOf(guest)) {
      crowd.count--
      crowd.handshakes.delete(guest)
    }
    const host = hostOf(guest.remote)
    if (this.#addresses.get(host)?.count === 0) this.#addresses.delete(host)
    if (entry === null) return
    const left = (this.#exports.get(entry.name) ?? 0) - 1
    if (left > 0) this.#exports.set(entry.name, left)
    else this.#exports.delete(entry.name)
  }

  #crowdsOf({ remote }: Guest): Crowd[] {
    const host = hostOf(remote)
    if (host === '') return [this.#all]
    let crowd = this.#addresses.get(host)
    if (crowd === undefined) {
      crowd = { count: 0, handshakes: new Set() }
      this.#addresses.set(host, crowd)
    }
    return [this.#all, crowd]
  }

  /** Counts it, and logs the first of a kind in each period. */
  report(why: Refusal, remote: string): void {
    this.refused++
    const now = performance.now()
    const last = this.#reported.get(why)
    if (last !== undefined && now - last.at < REFUSALS_LOGGED_MS) {
      last.since++
      return
    }
    this.#reported.set(why, { at: now, since: 0 })
    this.#log.warn({ remote, moreBefore: last?.since ?? 0 }, why)
  }
}
