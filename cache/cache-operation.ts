/**
 * One read, write, trim or zero on its way through the cache. Splits it; pooled by `CachedDevice`,
 * which runs `resume` and completes the parent.
 *
 *   offset             bodyStart                    bodyEnd            end
 *   |  unaligned head  |        aligned body        |  unaligned tail  |
 *      PartialPage       lower device, own buffer      PartialPage
 *
 * Parts run one after the other in ascending order; the first error stops those not started.
 * Invariant: at most one part is under way, so it never owns two pages and cannot deadlock.
 */
import { DONE, PENDING, RequestFlag } from '../device/device.ts'
import type { Request, Status } from '../device/device.ts'
import { ExtentFlag } from '../device/extents.ts'
import type { ExtentList } from '../device/extents.ts'
import { callDevice, Command, IDLE_REQUEST } from './command.ts'
import { PAGE_SIZE } from './limits.ts'
import type { OperationContext } from './operation-context.ts'
import { PartialPage } from './partial-page.ts'

const NO_BODY = -1

export class CacheOperation implements Request {
  // As a request for the lower device: the body.
  offset = 0
  length = 0
  flags = 0
  buffer: Uint8Array = IDLE_REQUEST.buffer
  bufferOffset = 0
  extents: ExtentList | null = null
  errorOffset = 0

  /** The request that is served. */
  parent: Request = IDLE_REQUEST
  /** Link of the queue or pool it is in. */
  next: CacheOperation | null = null

  readonly #context: OperationContext
  readonly #partialPage: PartialPage
  #command: Command = Command.READ
  /** All parts before it are done. */
  #position = 0
  #end = 0
  #bodyStart = NO_BODY
  #bodyEnd = 0
  #bodyDone = false
  /** The part under way is a partial page, and ends here. */
  #inPage = false
  #pageEnd = 0
  #lowerStatus: Status = DONE

  constructor(context: OperationContext) {
    this.#context = context
    this.#partialPage = new PartialPage(context, () => context.ready(this))
  }

  /** Takes `parent` through all parts, or as far as it goes now. */
  start(parent: Request, command: Command): Status {
    const { offset, length } = parent
    this.parent = parent
    this.#command = command
    this.#position = offset
    this.#end = offset + length
    const bodyStart = Math.ceil(offset / PAGE_SIZE) * PAGE_SIZE
    this.#bodyEnd = Math.floor(this.#end / PAGE_SIZE) * PAGE_SIZE
    this.#bodyStart = bodyStart < this.#bodyEnd ? bodyStart : NO_BODY
    this.#bodyDone = false
    const fast = command === Command.ZERO && (parent.flags & RequestFlag.FAST_ZERO) !== 0
    if (fast && this.#bodyStart !== NO_BODY) {
      // ENOTSUP must leave the range untouched, and it is the body that may answer so.
      const status = this.#startBody()
      if (status !== DONE) return status
    }
    return this.#run()
  }

  /** Goes on after PENDING, once `ready` was called for it. */
  resume(): Status {
    const status = this.#inPage ? this.#resumePage() : this.#resumeBody()
    return status === DONE ? this.#run() : status
  }

  /** By the lower device, for the body. */
  complete(status: Status): void {
    this.#lowerStatus = status
    this.#context.ready(this)
  }

  #run(): Status {
    while (this.#position < this.#end) {
      let status: Status = DONE
      if (this.#position !== this.#bodyStart) status = this.#startPage()
      else if (this.#bodyDone) this.#position = this.#bodyEnd
      else status = this.#startBody()
      if (status !== DONE) return status
    }
    return DONE
  }

  // Unaligned head, unaligned tail

  #startPage(): Status {
    const position = this.#position
    const nextPage = (Math.floor(position / PAGE_SIZE) + 1) * PAGE_SIZE
    this.#pageEnd = Math.min(this.#end, nextPage)
    if (this.#command === Command.TRIM && !this.#context.lower.features.trimZeroes) {
      // The page would be zeros in the cache and something else below.
      this.#position = this.#pageEnd
      return DONE
    }
    this.#inPage = true
    const length = this.#pageEnd - position
    const status = this.#partialPage.start(this.parent, this.#command, position, length)
    if (status === DONE) this.#position = this.#pageEnd
    return status
  }

  #resumePage(): Status {
    const status = this.#partialPage.resume()
    if (status === DONE) this.#position = this.#pageEnd
    return status
  }

  // Aligned body

  #startBody(): Status {
    const { parent } = this
    const context = this.#context
    const start = this.#bodyStart
    const length = this.#bodyEnd - start
    const bufferOffset = parent.bufferOffset + start - parent.offset
    if (this.#command !== Command.READ) {
      context.locks.drop(start / PAGE_SIZE, length / PAGE_SIZE)
    } else if (context.readCached(start, length, parent.buffer, bufferOffset)) {
      parent.extents?.append(length, ExtentFlag.DATA)
      this.#bodyDone = true
      return DONE
    }
    this.offset = start
    this.length = length
    this.flags = parent.flags
    this.buffer = parent.buffer
    this.bufferOffset = bufferOffset
    this.extents = parent.extents
    this.#inPage = false
    const status = callDevice(context.lower, this.#command, this)
    return status === PENDING ? PENDING : this.#bodyReturned(status)
  }

  #resumeBody(): Status {
    if (this.#command !== Command.READ) {
      // Pages filled while it was under way may hold the old bytes.
      const pageCount = (this.#bodyEnd - this.#bodyStart) / PAGE_SIZE
      this.#context.locks.drop(this.#bodyStart / PAGE_SIZE, pageCount)
    }
    return this.#bodyReturned(this.#lowerStatus)
  }

  #bodyReturned(status: Status): Status {
    if (status === DONE) this.#bodyDone = true
    else this.parent.errorOffset = this.errorOffset
    return status
  }
}
