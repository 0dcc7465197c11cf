/**
 * One blockStatus whose range does not fit the lower device's alignment: asks for the range rounded
 * outward into a list of its own and clips the answer. Pooled by `CachedDevice`.
 */
import { DONE, PENDING } from '../device/device.ts'
import type { Device, Request, Status } from '../device/device.ts'
import { ExtentList } from '../device/extents.ts'
import { IDLE_REQUEST } from './command.ts'
import { CLIPPED_EXTENTS_MAX } from './limits.ts'

export class StatusOperation implements Request {
  offset = 0
  length = 0
  flags = 0
  readonly buffer = IDLE_REQUEST.buffer
  readonly bufferOffset = 0
  readonly extents = null
  errorOffset = 0
  next: StatusOperation | null = null

  readonly #lower: Device
  readonly #finished: (operation: StatusOperation) => void
  readonly #answer = new ExtentList(CLIPPED_EXTENTS_MAX)
  #parent: Request = IDLE_REQUEST
  #target: ExtentList = this.#answer

  /** @param finished called when the operation may be used again */
  constructor(lower: Device, finished: (operation: StatusOperation) => void) {
    this.#lower = lower
    this.#finished = finished
  }

  start(parent: Request, target: ExtentList): Status {
    const { alignment } = this.#lower
    const end = parent.offset + parent.length
    this.#parent = parent
    this.#target = target
    this.#answer.clear(target.kinds)
    this.offset = Math.floor(parent.offset / alignment) * alignment
    this.length = Math.ceil(end / alignment) * alignment - this.offset
    this.flags = parent.flags
    const status = this.#lower.blockStatus(this, this.#answer)
    if (status !== PENDING) this.#finish(status)
    return status
  }

  complete(status: Status): void {
    const parent = this.#parent
    this.#finish(status)
    parent.complete(status)
  }

  #finish(status: Status): void {
    const parent = this.#parent
    if (status === DONE) clip(this.#answer, this.offset, parent, this.#target)
    else parent.errorOffset = Math.max(parent.offset, this.errorOffset)
    this.#parent = IDLE_REQUEST
    this.#finished(this)
  }
}

/** Appends what of `source`, which begins at `start`, lies inside the range of `request`. */
function clip(source: ExtentList, start: number, request: Request, target: ExtentList): void {
  const requestEnd = request.offset + request.length
  let position = start
  for (let index = 0; index < source.count; index++) {
    const from = Math.max(position, request.offset)
    position += source.lengthAt(index)
    const length = Math.min(position, requestEnd) - from
    if (length > 0 && !target.appendLike(length, source, index)) return
  }
}
