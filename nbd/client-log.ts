/**
 * What single clients do, in the log: who comes, goes and fails. One address that does it all the
 * time cannot fill the log: in each period only so many lines of a kind are about it. At the level
 * "debug", which tells of every connection anyway, nothing is left out.
 */
import { CLIENT_LINES_MAX, CLIENT_LINES_MS } from './limits.ts'
import type { Log } from './log.ts'
import { hostOf } from './remote.ts'

/** Kinds and addresses that are remembered; then all are forgotten. */
const REMEMBERED_MAX = 10_000

interface Period {
  readonly begin: number
  told: number
  untold: number
}

export class ClientLog {
  readonly #log: Log
  readonly #periods = new Map<string, Period>()

  constructor(log: Log) {
    this.#log = log
  }

  /**
   * The first line of a period says how many of the one before were left out.
   * @param remote as `Stream.remote`
   * @returns false: this one is left out
   */
  tell(remote: string, fields: object, message: string): boolean {
    const period = this.#periodOf(`${message} ${hostOf(remote)}`)
    if (period.told === CLIENT_LINES_MAX && !this.#log.isLevelEnabled('debug')) {
      if (period.untold === 0) this.#log.info({ remote, what: message }, 'more are not logged')
      period.untold++
      return false
    }
    const more = period.told === 0 && period.untold > 0 ? { moreBefore: period.untold } : {}
    if (period.told === 0) period.untold = 0
    if (period.told < CLIENT_LINES_MAX) period.told++
    this.#log.info({ remote, ...fields, ...more }, message)
    return true
  }

  /** The one that goes on, or a new one, which has the `untold` of the last. */
  #periodOf(key: string): Period {
    const now = performance.now()
    const last = this.#periods.get(key)
    if (last !== undefined && now - last.begin < CLIENT_LINES_MS) return last
    if (this.#periods.size >= REMEMBERED_MAX) this.#periods.clear()
    const period = { begin: now, told: 0, untold: last?.untold ?? 0 }
    this.#periods.set(key, period)
    return period
  }
}
