/**
 * Everything that moves in a simulation, and the only one who lets it move: one event at a time,
 * of which chance says which, then all microtasks. So a seed is enough to have it all again.
 */
import type { SimulatedFiles } from '../../io/simulated/files.ts'
import type { Clock } from './clock.ts'
import type { Schedule } from './schedule.ts'

/** Longest that anybody waits for a timer, milliseconds: longer than any limit of the server. */
const TIMER_MS_MAX = 60_000

/** Within so many milliseconds idle files are closed, and checksums at rest are saved. */
const IDLE_MS = 61_000

/** So many timers without an event in between: nothing will ever happen. */
const TIMERS_MAX = 20

/** Something that can have an event. @returns false: it has none */
export type Source = () => boolean

export class World {
  readonly clock: Clock
  readonly schedule: Schedule
  /** Of the process that runs. */
  processes: SimulatedFiles[] = []
  /** Connections, from the clients' side. */
  clients: Source[] = []
  /** Called after every event: throws if something is wrong. */
  check: () => void = () => {}
  /** Events so far. */
  turns = 0
  /** What was thrown where nobody catches it. */
  static readonly uncaught: unknown[] = []

  constructor(clock: Clock, schedule: Schedule) {
    this.clock = clock
    this.schedule = schedule
  }

  /** One event. @returns false: nothing can happen but that time passes */
  async turn(): Promise<boolean> {
    if (!this.#choose()) return false
    this.turns++
    await this.clock.settle()
    if (World.uncaught.length > 0) throw World.uncaught.splice(0)[0]
    this.check()
    return true
  }

  #choose(): boolean {
    const { clients, processes } = this
    const count = clients.length + 2 * processes.length + 1
    const start = this.schedule.between(0, count - 1)
    for (let index = 0; index < count; index++) if (this.#try((start + index) % count)) return true
    return false
  }

  /** Files are twice as likely as a client, for a call takes several turns. */
  #try(index: number): boolean {
    const { clients, processes } = this
    if (index < clients.length) return clients[index]()
    const process = processes[(index - clients.length) >> 1]
    return process === undefined ? this.clock.runImmediate() : process.step()
  }

  async turnsOrLess(count: number): Promise<void> {
    for (let left = count; left > 0; left--) if (!(await this.turn())) return
  }

  /** A minute, in which nothing happens but what timers begin. */
  async passTime(): Promise<void> {
    const end = this.clock.now + IDLE_MS
    while (this.clock.runTimer(end - this.clock.now)) await this.clock.settle()
  }

  /** @throws if it does not come about although nothing else can happen */
  until(condition: () => boolean, what: string): Promise<void> {
    return this.untilOrLess(condition, what, Infinity)
  }

  /** @param turns events after which nobody waits any longer. As `until`. */
  async untilOrLess(condition: () => boolean, what: string, turns: number): Promise<void> {
    let timers = 0
    const last = this.turns + turns
    while (!condition() && this.turns < last) {
      if (await this.turn()) timers = 0
      else if (timers++ === TIMERS_MAX || !this.clock.runTimer(TIMER_MS_MAX)) {
        throw new Error(`stuck: ${what} does not come to an end`)
      } else await this.clock.settle()
    }
  }

  /** Lets everything go on until the promise is settled. */
  async wait<Result>(promise: Promise<Result>, what: string): Promise<Result> {
    const state = { isSettled: false }
    const settled = (): void => void (state.isSettled = true)
    promise.then(settled, settled)
    await this.clock.settle()
    await this.until(() => state.isSettled, what)
    return promise
  }
}
