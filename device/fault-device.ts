/**
 * Passes requests on late, in random order, and fails some of them: for tests, and for trying out
 * how a client copes. A late request reaches the lower device in one `run` and is completed in
 * another; one that fails has done a random part of its range before. No timers, no own randomness:
 * with seeded numbers, and `run` called by a test, everything can be replayed.
 *
 * Invariant: a request is waiting (run moves it on), at the lower device, or complete.
 */
import assert from 'node:assert/strict'
import { DONE, PENDING } from './device.ts'
import type { Device, Features, Request, Status } from './device.ts'
import type { ExtentList } from './extents.ts'

export interface FaultOptions {
  /** Numbers from 0 up to but not including 1. */
  readonly random: () => number
  /** Share of the requests that are completed late, 0 to 1. */
  readonly late: number
  /** Share of the requests that fail, 0 to 1. */
  readonly errors: number
  /** What they fail with; one is drawn. Not empty if `errors` is above 0. */
  readonly errnos: readonly number[]
  /** Called when a request starts to wait; calls `run` later. Without it the owner calls `run`. */
  readonly schedule?: () => void
}

const Command = { READ: 0, WRITE: 1, FLUSH: 2, TRIM: 3, ZERO: 4, BLOCK_STATUS: 5 } as const
type Command = (typeof Command)[keyof typeof Command]

/** What fills the range of a read until it is done, and the part that a failed one left out. */
const GARBAGE = 0xa5

export class FaultDevice implements Device {
  readonly alignment: number
  readonly features: Features

  readonly #lower: Device
  readonly #options: FaultOptions
  readonly #waiting: FaultRequest[] = []
  readonly #idle: FaultRequest[] = []
  #atLower = 0
  #returned: (() => void) | null = null

  constructor(lower: Device, options: FaultOptions) {
    assert(options.errors === 0 || options.errnos.length > 0, 'errors need errnos to draw from')
    this.alignment = lower.alignment
    this.features = lower.features
    this.#lower = lower
    this.#options = options
  }

  get size(): number {
    return this.#lower.size
  }

  read(request: Request): Status {
    return this.#start(Command.READ, request, null)
  }

  write(request: Request): Status {
    return this.#start(Command.WRITE, request, null)
  }

  flush(request: Request): Status {
    return this.#start(Command.FLUSH, request, null)
  }

  trim(request: Request): Status {
    return this.#start(Command.TRIM, request, null)
  }

  zero(request: Request): Status {
    return this.#start(Command.ZERO, request, null)
  }

  blockStatus(request: Request, extents: ExtentList): Status {
    return this.#start(Command.BLOCK_STATUS, request, extents)
  }

  submit(): void {
    this.#lower.submit()
  }

  async close(): Promise<void> {
    do {
      while (this.run());
      this.#lower.submit()
      if (this.#atLower > 0) await new Promise<void>((resolve) => (this.#returned = resolve))
    } while (this.#waiting.length > 0)
    await this.#lower.close()
  }

  /** Moves one waiting request on, a random one. @returns false: none was waiting */
  run(): boolean {
    const count = this.#waiting.length
    if (count === 0) return false
    const index = Math.floor(this.#options.random() * count)
    const chosen = this.#waiting[index]
    this.#waiting[index] = this.#waiting[count - 1]
    this.#waiting.pop()
    if (chosen.executed) this.#complete(chosen)
    else if (this.#execute(chosen) !== PENDING) this.#wait(chosen)
    this.#lower.submit()
    return true
  }

  #start(command: Command, request: Request, status: ExtentList | null): Status {
    const { random, late } = this.#options
    const own = this.#idle.pop() ?? new FaultRequest((done) => this.#backFromLower(done))
    own.begin(command, request, status)
    this.#drawFault(own)
    if (random() < late) {
      this.#wait(own)
      return PENDING
    }
    const result = this.#execute(own)
    if (result !== PENDING) this.#idle.push(own)
    return result
  }

  /** Decides that `own` fails, and how far it gets. */
  #drawFault(own: FaultRequest): void {
    const { random, errors, errnos } = this.#options
    if (random() >= errors) return
    own.fault = errnos[Math.floor(random() * errnos.length)]
    const unit = this.alignment
    own.length = own.transfers ? Math.floor(random() * (own.length / unit)) * unit : 0
  }

  #execute(own: FaultRequest): Status {
    const status = own.length === 0 && own.fault !== DONE ? DONE : own.call(this.#lower)
    if (status === PENDING) {
      this.#atLower++
      return PENDING
    }
    own.executedWith(status)
    return own.status
  }

  #backFromLower(own: FaultRequest): void {
    this.#atLower--
    this.#wait(own)
    if (this.#atLower === 0) this.#returned?.()
  }

  #wait(own: FaultRequest): void {
    this.#waiting.push(own)
    this.#options.schedule?.()
  }

  #complete(own: FaultRequest): void {
    const { parent, status } = own
    this.#idle.push(own)
    parent.complete(status)
  }
}

/** A request under way: what is handed to the lower device in place of `parent`. */
class FaultRequest implements Request {
  offset = 0
  length = 0
  flags = 0
  buffer: Uint8Array = new Uint8Array(0)
  bufferOffset = 0
  extents: ExtentList | null = null
  errorOffset = 0

  parent: Request = this
  /** The errno to fail with after `length` bytes, or DONE. */
  fault: Status = DONE
  /** The lower device has done it; `status` is what the parent will get. */
  executed = false
  status: Status = DONE

  readonly #back: (request: FaultRequest) => void
  #command: Command = Command.READ
  #statusExtents: ExtentList | null = null

  constructor(back: (request: FaultRequest) => void) {
    this.#back = back
  }

  /** Moves data or changes it, so that it can fail half way. */
  get transfers(): boolean {
    return this.#command !== Command.FLUSH && this.#command !== Command.BLOCK_STATUS
  }

  begin(command: Command, parent: Request, statusExtents: ExtentList | null): void {
    this.#command = command
    this.#statusExtents = statusExtents
    this.parent = parent
    this.offset = parent.offset
    this.length = parent.length
    this.flags = parent.flags
    this.buffer = parent.buffer
    this.bufferOffset = parent.bufferOffset
    this.extents = parent.extents
    this.fault = DONE
    this.executed = false
    if (command !== Command.READ || this.extents !== null) return
    this.buffer.fill(GARBAGE, this.bufferOffset, this.bufferOffset + this.length)
  }

  call(lower: Device): Status {
    switch (this.#command) {
      case Command.READ:
        return lower.read(this)
      case Command.WRITE:
        return lower.write(this)
      case Command.FLUSH:
        return lower.flush(this)
      case Command.TRIM:
        return lower.trim(this)
      case Command.ZERO:
        return lower.zero(this)
      default:
        return this.#statusExtents === null ? DONE : lower.blockStatus(this, this.#statusExtents)
    }
  }

  complete(status: Status): void {
    this.executedWith(status)
    this.#back(this)
  }

  executedWith(status: Status): void {
    this.executed = true
    this.status = status === DONE ? this.fault : status
    if (this.status === DONE) return
    this.parent.errorOffset = status === DONE ? this.offset + this.length : this.errorOffset
  }
}
