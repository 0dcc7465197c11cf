/** What all connections of a server share: pools, limits, and the order of mutations. */
import type { Device } from '../device/device.ts'
import { ExtentListPool } from './extent-lists.ts'
import { MemoryUse } from './memory-use.ts'
import { MutationOrder } from './mutation-order.ts'
import { RequestPool } from './request.ts'
import { Scheduler } from './scheduler.ts'
import { SlabPool } from './slab.ts'

export class Resources {
  readonly slabs = new SlabPool()
  readonly requests = new RequestPool()
  readonly lists = new ExtentListPool()
  readonly memory = new MemoryUse()
  readonly scheduler: Scheduler
  readonly #orders = new WeakMap<Device, MutationOrder>()

  /** @param soon of the engine, if it has it */
  constructor(soon?: (callback: () => void) => void) {
    this.scheduler = new Scheduler(soon)
  }

  /** One for each device, whatever the number of exports and connections that lead to it. */
  orderOf(device: Device): MutationOrder {
    let order = this.#orders.get(device)
    if (order === undefined) {
      order = new MutationOrder()
      this.#orders.set(device, order)
    }
    return order
  }
}
