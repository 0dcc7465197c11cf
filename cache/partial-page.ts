/**
 * The part of an operation that lies inside one page: owns the page while it works, reads it from
 * the lower device if it must, and writes the whole page through after a change.
 *
 *   LOCK ──▶ FILL ──▶ copy out (read) ─────────▶ free
 *     valid ──▶└────▶ copy in (write, trim, zero) ──▶ STORE ──▶ free
 *
 * Invariant: from `start` or `granted` until it returns other than PENDING it owns its page, which
 * is valid only while the arena equals the lower device; a page that failed is thus not kept.
 */
import { DONE, PENDING, RequestFlag } from '../device/device.ts'
import type { Request, Status } from '../device/device.ts'
import { ExtentFlag } from '../device/extents.ts'
import type { ExtentList } from '../device/extents.ts'
import { callDevice, Command, IDLE_REQUEST } from './command.ts'
import { PAGE_SIZE } from './limits.ts'
import type { OperationContext } from './operation-context.ts'
import { ABSENT } from './page-locks.ts'
import { PageWaiter } from './page-waiter.ts'

/** What it waits for after PENDING. */
const Step = {
  /** The page belongs to somebody else. */
  LOCK: 0,
  /** The lower device reads it. */
  FILL: 1,
  /** The lower device writes it. */
  STORE: 2,
} as const

export class PartialPage extends PageWaiter implements Request {
  offset = 0
  readonly length = PAGE_SIZE
  flags = 0
  readonly buffer: Uint8Array
  bufferOffset = 0
  readonly extents: ExtentList | null = null
  errorOffset = 0

  readonly #context: OperationContext
  readonly #wake: () => void
  #step: number = Step.LOCK
  #parent: Request = IDLE_REQUEST
  #command: Command = Command.READ
  /** Absolute offset of the part. */
  #position = 0
  #length = 0
  #lowerStatus: Status = DONE

  /** @param wake called when `resume` shall be called */
  constructor(context: OperationContext, wake: () => void) {
    super()
    this.buffer = context.arena.bytes
    this.#context = context
    this.#wake = wake
  }

  /** Works on `length` bytes at the absolute `position` of `parent`, all in one page. */
  start(parent: Request, command: Command, position: number, length: number): Status {
    this.#parent = parent
    this.#command = command
    this.#position = position
    this.#length = length
    const { locks } = this.#context
    const page = Math.floor(position / PAGE_SIZE)
    this.page = page
    if (command === Command.READ) {
      this.slot = locks.peek(page)
      if (this.slot >= 0) {
        this.#context.hits++
        this.#copyOut()
        return DONE
      }
    }
    this.#step = Step.LOCK
    this.slot = locks.lock(page, this)
    if (this.slot === ABSENT) this.slot = locks.claim(page, this)
    return this.slot < 0 ? PENDING : this.#locked()
  }

  /** By the page locks. */
  override granted(): void {
    this.#wake()
  }

  /** By the lower device. */
  complete(status: Status): void {
    this.#lowerStatus = status
    this.#wake()
  }

  resume(): Status {
    switch (this.#step) {
      case Step.LOCK:
        return this.#locked()
      case Step.FILL:
        return this.#filled(this.#lowerStatus)
      default:
        return this.#stored(this.#lowerStatus)
    }
  }

  #locked(): Status {
    const { locks, lower } = this.#context
    if (locks.isValid(this.slot)) {
      this.#context.hits++
      return this.#work()
    }
    this.#context.misses++
    this.#aim(0)
    this.#step = Step.FILL
    const status = lower.read(this)
    return status === PENDING ? PENDING : this.#filled(status)
  }

  #filled(status: Status): Status {
    if (status !== DONE) return this.#finish(status)
    this.#context.locks.setValid(this.slot, true)
    return this.#work()
  }

  #work(): Status {
    switch (this.#command) {
      case Command.READ:
        this.#copyOut()
        return this.#finish(DONE)
      case Command.WRITE:
        this.#copyIn()
        return this.#store(Command.WRITE)
      default:
        return this.#clear()
    }
  }

  /** A page that ends up all zeros is trimmed or zeroed below, so that many small trims free it. */
  #clear(): Status {
    const { arena } = this.#context
    const from = this.#position % PAGE_SIZE
    const changes = !arena.isZero(this.slot, from, this.#length)
    arena.clear(this.slot, from, this.#length)
    const zeroPage = arena.isZero(this.slot, 0, PAGE_SIZE)
    // What reads as zeros already may still have to become durable, or allocated, or given back.
    const mustStore = (this.#parent.flags & (RequestFlag.FUA | RequestFlag.NO_HOLE)) !== 0
    const givesBack = zeroPage && this.#command === Command.TRIM
    if (!changes && !mustStore && !givesBack) return this.#finish(DONE)
    return this.#store(zeroPage ? this.#command : Command.WRITE)
  }

  #store(command: Command): Status {
    const kept = command === Command.ZERO ? ~RequestFlag.FAST_ZERO : RequestFlag.FUA
    this.#context.locks.setValid(this.slot, false)
    this.#aim(this.#parent.flags & kept)
    this.#step = Step.STORE
    const status = callDevice(this.#context.lower, command, this)
    return status === PENDING ? PENDING : this.#stored(status)
  }

  #stored(status: Status): Status {
    if (status === DONE) this.#context.locks.setValid(this.slot, true)
    return this.#finish(status)
  }

  #finish(status: Status): Status {
    const parent = this.#parent
    this.#parent = IDLE_REQUEST
    if (status !== DONE) parent.errorOffset = this.#position
    this.#context.locks.free(this.slot)
    return status
  }

  /** As a request for the lower device: the whole page, from or into the arena. */
  #aim(flags: number): void {
    this.offset = this.page * PAGE_SIZE
    this.flags = flags
    this.bufferOffset = this.slot * PAGE_SIZE
  }

  #copyOut(): void {
    const parent = this.#parent
    const from = this.#position % PAGE_SIZE
    const at = parent.bufferOffset + this.#position - parent.offset
    this.#context.arena.copyOut(this.slot, from, this.#length, parent.buffer, at)
    parent.extents?.append(this.#length, ExtentFlag.DATA)
  }

  #copyIn(): void {
    const parent = this.#parent
    const from = this.#position % PAGE_SIZE
    const at = parent.bufferOffset + this.#position - parent.offset
    this.#context.arena.copyIn(this.slot, from, this.#length, parent.buffer, at)
  }
}
