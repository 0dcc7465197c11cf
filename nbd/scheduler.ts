/**
 * Who may work next. Connections that have something to do stand in a queue; a pass gives each one
 * turn, ends the batch of every device that was used, and sends what has accumulated. A connection
 * that is not through goes to the back, and the sockets come in between.
 *
 * Completions only put their connection into the queue: a batch of them leaves as one send.
 */
import type { Device } from '../device/device.ts'

/** A connection in the transmission phase. */
export interface Worker {
  readonly device: Device
  /** Stands in the queue. The scheduler's. */
  queued: boolean
  /** Is having its turn. The scheduler's. */
  serving: boolean
  /** Works until its share is used up. */
  turn(): void
  /** After the devices had their `submit`: sends the replies. @returns there is more to do */
  afterTurn(): boolean
}

export class Scheduler {
  #queue: Worker[] = []
  /** The other array: the workers of the pass that is going on. */
  #pass: Worker[] = []
  readonly #devices: Device[] = []
  #armed = false
  readonly #soon: (callback: () => void) => void
  readonly #onSoon = (): void => this.#runPass()

  /** @param soon calls back when the sockets had their turn */
  constructor(soon: (callback: () => void) => void = setImmediate) {
    this.#soon = soon
  }

  /** Gives the worker a turn soon. */
  wake(worker: Worker): void {
    if (worker.queued) return
    worker.queued = true
    this.#queue.push(worker)
    if (this.#armed) return
    this.#armed = true
    this.#soon(this.#onSoon)
  }

  /**
   * Gives the worker a turn now, if nobody waits: the short way for what has just arrived.
   * @returns false: it stands in the queue
   */
  serve(worker: Worker): boolean {
    if (this.#queue.length > 0 || this.#pass.length > 0) {
      this.wake(worker)
      return false
    }
    worker.serving = true
    worker.turn()
    worker.device.submit()
    worker.serving = false
    if (worker.afterTurn()) this.wake(worker)
    return true
  }

  #runPass(): void {
    this.#armed = false
    const pass = this.#queue
    this.#queue = this.#pass
    this.#pass = pass
    for (const worker of pass) {
      worker.queued = false
      worker.serving = true
      worker.turn()
      if (!this.#devices.includes(worker.device)) this.#devices.push(worker.device)
    }
    for (const device of this.#devices) device.submit()
    this.#devices.length = 0
    for (const worker of pass) {
      worker.serving = false
      if (worker.afterTurn()) this.wake(worker)
    }
    pass.length = 0
  }
}
