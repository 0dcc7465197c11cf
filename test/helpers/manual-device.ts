/**
 * A device that finishes nothing by itself: every request stays pending until the test completes
 * it, which also carries it out, on a device in memory.
 */
import assert from 'node:assert/strict'
import { DONE, PENDING } from '../../device/device.ts'
import type { Device, Features, Request, Status } from '../../device/device.ts'
import type { ExtentList } from '../../device/extents.ts'
import { MemoryDevice } from '../../device/memory.ts'

export type Method = 'read' | 'write' | 'flush' | 'trim' | 'zero' | 'blockStatus'

/** One call, and its arguments as they were then. */
export interface Call {
  readonly method: Method
  readonly offset: number
  readonly length: number
  readonly flags: number
  readonly request: Request
  readonly extents: ExtentList | null
}

export class ManualDevice implements Device {
  readonly size: number
  readonly alignment = 1
  readonly features: Features = { readOnly: false, trim: true, trimZeroes: true, fastZero: true }
  /** Oldest first. */
  readonly pending: Call[] = []
  /** All calls ever, `method offset+length`. */
  readonly history: string[] = []
  submits = 0
  readonly #memory: MemoryDevice

  constructor(size: number) {
    this.size = size
    this.#memory = new MemoryDevice(size)
  }

  read(request: Request): Status {
    return this.#start('read', request, null)
  }

  write(request: Request): Status {
    return this.#start('write', request, null)
  }

  flush(request: Request): Status {
    return this.#start('flush', request, null)
  }

  trim(request: Request): Status {
    return this.#start('trim', request, null)
  }

  zero(request: Request): Status {
    return this.#start('zero', request, null)
  }

  blockStatus(request: Request, extents: ExtentList): Status {
    return this.#start('blockStatus', request, extents)
  }

  submit(): void {
    this.submits++
  }

  async close(): Promise<void> {}

  /** Pending calls as in `history`. */
  get waiting(): string[] {
    return this.pending.map(describe)
  }

  /** Finishes the oldest pending call that is described so. */
  complete(what: string, status: Status = DONE, errorOffset = -1): void {
    const index = this.pending.findIndex((call) => describe(call) === what)
    assert(index >= 0, `${what} is not pending, but: ${this.waiting.join(', ')}`)
    const [call] = this.pending.splice(index, 1)
    const { request, method } = call
    if (status !== DONE) {
      if (errorOffset >= 0) request.errorOffset = errorOffset
    } else if (method === 'blockStatus') {
      if (call.extents !== null) this.#memory.blockStatus(request, call.extents)
    } else if (method === 'flush') this.#memory.flush()
    else this.#memory[method](request)
    request.complete(status)
  }

  completeAll(): void {
    for (const what of this.waiting) this.complete(what)
  }

  #start(method: Method, request: Request, extents: ExtentList | null): Status {
    const { offset, length, flags } = request
    const call = { method, offset, length, flags, request, extents }
    this.pending.push(call)
    this.history.push(describe(call))
    return PENDING
  }
}

function describe({ method, offset, length }: Call): string {
  return method === 'flush' ? method : `${method} ${offset}+${length}`
}
