/** What all connections of a server share: pools, limits, and the order of mutations. */
import type { Device } from '../device/device.ts'
import type { Files, Io } from '../io/io.ts'
import { ExtentListPool } from './extent-lists.ts'
import { MemoryUse } from './memory-use.ts'
import { MutationOrder } from './mutation-order.ts'
import { RequestPool } from './request.ts'
import { Scheduler } from './scheduler.ts'
import { SlabPool } from './slab.ts'

interface Engine {
  readonly soon?: Io['soon']
  readonly files?: Pick<Files, 'memory'>
}

export class Resources {
  readonly slabs: SlabPool
  readonly requests = new RequestPool()
  readonly lists = new ExtentListPool()
  readonly memory = new MemoryUse()
  readonly scheduler: Scheduler
  readonly #orders = new WeakMap<Device, MutationOrder>()

  /** @param engine what it has of these is used */
  constructor({ soon, files }: Engine = {}) {
    this.slabs = new SlabPool(files && ((bytes) => files.memory(bytes)))
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
