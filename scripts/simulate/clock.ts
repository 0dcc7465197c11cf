/**
 * Time and turns of the simulated process, in place of Node's: timers and immediates wait here
 * until they are run. Real time and real chance are out of reach once it is installed.
 *
 * Microtasks stay Node's: `settle` lets all of them run, and their order depends on nothing else.
 */

const realImmediate = globalThis.setImmediate

interface Timer {
  readonly callback: () => void
  at: number
  /** 0: once. */
  readonly period: number
}

class Handle {
  hasRef = (): boolean => true
  ref = (): this => this
  unref = (): this => this
  refresh = (): this => this
}

export class Clock {
  /** Milliseconds since the simulation began. */
  now = 0
  #immediates: (() => void)[] = []
  readonly #timers = new Map<Handle, Timer>()

  /** Replaces the functions of this process, for good. */
  install(): void {
    const handle = (callback: () => void, milliseconds: number, period: number): Handle => {
      const made = new Handle()
      this.#timers.set(made, { callback, at: this.now + milliseconds, period })
      return made
    }
    const clear = (made: Handle | undefined): void => {
      if (made !== undefined) this.#timers.delete(made)
    }
    Object.assign(globalThis, {
      setImmediate: (callback: (...all: unknown[]) => void, ...all: unknown[]) => {
        this.#immediates.push(() => callback(...all))
        return new Handle()
      },
      setTimeout: (callback: () => void, milliseconds = 0) => handle(callback, milliseconds, 0),
      setInterval: (callback: () => void, milliseconds: number) =>
        handle(callback, milliseconds, milliseconds),
      clearTimeout: clear,
      clearInterval: clear,
    })
    Date.now = () => this.now
    performance.now = () => this.now
    Math.random = () => {
      throw new Error('real chance in a simulation')
    }
  }

  /** The process is dead: what it waited for never comes. */
  clear(): void {
    this.#immediates = []
    this.#timers.clear()
  }

  /** Lets every microtask run. */
  settle(): Promise<void> {
    return new Promise((resolve) => realImmediate(resolve))
  }

  /** Runs the immediate that waits for longest. @returns false: there is none */
  runImmediate(): boolean {
    const callback = this.#immediates.shift()
    callback?.()
    return callback !== undefined
  }

  /** Goes on to the next timer, if it is due within that time. @returns false: none is */
  runTimer(millisecondsMax: number): boolean {
    let next: [Handle, Timer] | null = null
    for (const entry of this.#timers) if (next === null || entry[1].at < next[1].at) next = entry
    if (next === null || next[1].at > this.now + millisecondsMax) return false
    const [handle, timer] = next
    this.now = Math.max(this.now, timer.at)
    if (timer.period > 0) timer.at = this.now + timer.period
    else this.#timers.delete(handle)
    timer.callback()
    return true
  }
}
