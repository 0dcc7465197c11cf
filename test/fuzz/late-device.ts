/** A device in memory that, where it is told to, finishes requests later and in any order. */
import { PENDING, type Request, type Status } from '../../device/device.ts'
import type { ExtentList } from '../../device/extents.ts'
import { MemoryDevice } from '../../device/memory.ts'
import type { Random } from '../helpers/random.ts'

interface Late {
  readonly request: Request
  readonly perform: () => Status
}

export class LateDevice extends MemoryDevice {
  override readonly alignment: number
  /** How many requests are late, 0 to 1. */
  lateness = 0
  random: Random | null = null
  /** For the test of the fuzzer: a write loses its last byte where it ends in a certain place. */
  isFaulty = false
  readonly #late: Late[] = []

  constructor(size: number, alignment: number) {
    super(size)
    this.alignment = alignment
  }

  /** Finishes some of what is late. @returns false: nothing is */
  finishSome(): boolean {
    const { random } = this
    if (this.#late.length === 0 || random === null) return false
    for (let count = random.between(1, this.#late.length); count > 0; count--) {
      const [{ request, perform }] = this.#late.splice(random.between(0, this.#late.length - 1), 1)
      request.complete(perform())
    }
    return true
  }

  override read(request: Request): Status {
    return this.#now(request, () => super.read(request))
  }

  override write(request: Request): Status {
    const isLost = this.isFaulty && (request.offset + request.length) % 4096 === 100
    if (isLost) request.buffer[request.bufferOffset + request.length - 1] ^= 1
    return this.#now(request, () => super.write(request))
  }

  override trim(request: Request): Status {
    return this.#now(request, () => super.trim(request))
  }

  override zero(request: Request): Status {
    return this.#now(request, () => super.zero(request))
  }

  override blockStatus(request: Request, extents: ExtentList): Status {
    return this.#now(request, () => super.blockStatus(request, extents))
  }

  #now(request: Request, perform: () => Status): Status {
    if (this.lateness === 0 || this.random?.chance(this.lateness) !== true) return perform()
    this.#late.push({ request, perform })
    return PENDING
  }
}
