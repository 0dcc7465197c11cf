/**
 * Carries out the requests of one connection on its device, a slice at a time, and writes their
 * replies into the reply queue. It neither parses nor sends, and knows no limits.
 *
 *   start ──▶ waits for earlier overlapping ones? ──▶ slice ──▶ DONE ──▶ more? ──▶ ready queue
 *                         │                            │ ▲       errno ──┐ └─ no ──▶ reply
 *                         └──▶ unblocked ──▶ ready ────┘ └─ completed    └──▶ error reply
 *
 * Invariant: a request that was started is finished exactly once; `inFlight` counts the others.
 */
import { DONE, PENDING, RequestFlag } from '../device/device.ts'
import type { Device, Status } from '../device/device.ts'
import { Answer } from './answer.ts'
import { callDevice } from './device-call.ts'
import { wireError } from './error.ts'
import { DATA_SLICE_BYTES, ZERO_SLICE_BYTES, ZERO_SLICE_COST_BYTES } from './limits.ts'
import { kindsOf } from './meta-contexts.ts'
import type { MetaContext } from './meta-contexts.ts'
import type { MutationOrder } from './mutation-order.ts'
import type { Agreement } from './negotiation.ts'
import { Command, NbdError } from './protocol.ts'
import { ReadReply } from './read-reply.ts'
import type { Outputs } from './read-reply.ts'
import { RequestQueue } from './request-queue.ts'
import type { NbdRequest, RequestOwner } from './request.ts'
import type { Resources } from './resources.ts'

export class Executor implements RequestOwner {
  /** Requests that were started and are not finished. */
  inFlight = 0
  /** Their payloads and the places of their replies. */
  inFlightBytes = 0
  /** What the slices done so far count in a turn. */
  spentBytes = 0
  /** Something was changed after the last flush began. */
  isDirty = false
  /** What the last `flush` ended with. */
  flushStatus: Status = DONE
  /** Called when a completion or the order of mutations has made something ready. */
  onProgress: () => void = nothing
  readonly #device: Device
  readonly #resources: Resources
  readonly #order: MutationOrder
  readonly #readReply: ReadReply
  readonly #answer: Answer
  readonly #contexts: readonly MetaContext[]
  // Their next slice may be done.
  readonly #ready = new RequestQueue()
  readonly #readyReads = new RequestQueue()
  /** Whose turn it was last. */
  #isReadNext = false
  /** The connection is gone: finish what runs, begin nothing. */
  #isAbandoned = false

  constructor(agreement: Agreement, outputs: Outputs, resources: Resources) {
    this.#device = agreement.export.device
    this.#resources = resources
    this.#contexts = agreement.contexts
    this.#order = resources.orderOf(this.#device)
    const { slabs, lists } = resources
    this.#readReply = new ReadReply(outputs, slabs, lists, agreement.replyStyle)
    this.#answer = new Answer(outputs.replies, agreement)
  }

  /** @param mayRead false: reads do not count */
  readyCount(mayRead: boolean): number {
    return this.#ready.length + (mayRead ? this.#readyReads.length : 0)
  }

  /** Takes over a request that was received completely, with its payload. */
  start(request: NbdRequest): void {
    request.owner = this
    this.inFlight++
    if (request.refusal !== 0) return this.#finish(request, request.refusal, -1)
    if (isNothingToDo(request)) return this.#finish(request, DONE, -1)
    if (request.command === Command.READ)
      this.#account(request, this.#readReply.memoryBytes(request))
    else if (request.command === Command.WRITE) this.#account(request, request.wireLength)
    const mustWait = request.isMutation && !this.#order.isEmpty && this.#order.mustWait(request)
    if (!mustWait) this.#slice(request)
  }

  /**
   * Does the next slice of one request: of those that are ready for longest, a read and another
   * in turn.
   * @param mayRead false: no reads, for what they produce would pile up
   */
  continue(mayRead: boolean): void {
    const canRead = mayRead && this.#readyReads.length > 0
    this.#isReadNext = canRead && (!this.#isReadNext || this.#ready.length === 0)
    const request = (this.#isReadNext ? this.#readyReads : this.#ready).shift()
    if (request !== null) this.#slice(request)
  }

  /** Makes everything durable that this connection has changed. Nobody gets a reply. */
  flush(): void {
    const request = this.#resources.requests.take()
    request.command = Command.FLUSH
    request.commandFlags = 0
    request.wireOffset = 0
    request.wireLength = 0
    request.silent = true
    this.start(request)
  }

  /** For the device: the slice is done or has failed. */
  completed(request: NbdRequest, status: Status): void {
    if (!(Number.isInteger(status) && status >= 0)) throw new Error(`device: completed ${status}`)
    this.#sliceDone(request, status)
    this.onProgress()
  }

  unblocked(request: NbdRequest): void {
    this.#ready.push(request)
    this.onProgress()
  }

  /** The connection is gone. What the device works on goes on to the end of its slice. */
  abandon(): void {
    this.#isAbandoned = true
    for (const request of this.#order.waitingFor(this)) this.#finish(request, DONE, -1)
    this.#dropAll(this.#readyReads)
    this.#dropAll(this.#ready)
  }

  #dropAll(queue: RequestQueue): void {
    for (let left = queue.length; left > 0; left--) {
      const request = queue.shift()
      if (request !== null) this.#finish(request, DONE, -1)
    }
  }

  #account(request: NbdRequest, bytes: number): void {
    request.memoryBytes = bytes
    this.inFlightBytes += bytes
    this.#resources.memory.bytes += bytes
  }

  #slice(request: NbdRequest): void {
    if (!this.#aim(request)) return this.#sliceDone(request, NbdError.ENOMEM)
    const isRead = request.command === Command.READ
    if (isRead) this.#readReply.offer(request)
    const status = callDevice(this.#device, request)
    if (isRead) this.#readReply.withdraw(request)
    if (status !== PENDING) this.#sliceDone(request, status)
    else if (request.isMutation && request.orderIndex < 0) this.#order.add(request)
  }

  /** Describes the next slice to the device. @returns false: there is no memory for it */
  #aim(request: NbdRequest): boolean {
    const left = request.wireLength - request.done
    request.offset = request.wireOffset + request.done
    request.length = left
    request.flags = 0
    switch (request.command) {
      case Command.READ:
        request.length = Math.min(left, DATA_SLICE_BYTES)
        this.spentBytes += request.length
        return this.#readReply.prepare(request, request.length)
      case Command.WRITE:
        request.length = Math.min(left, DATA_SLICE_BYTES)
        request.bufferOffset = request.slabOffset + request.done
        request.flags = deviceFlags(request, DATA_SLICE_BYTES)
        this.spentBytes += request.length
        break
      case Command.TRIM:
      case Command.WRITE_ZEROES:
        request.length = Math.min(left, ZERO_SLICE_BYTES)
        request.flags = deviceFlags(request, ZERO_SLICE_BYTES)
        this.spentBytes += Math.min(request.length, ZERO_SLICE_COST_BYTES)
        break
      case Command.FLUSH:
        this.isDirty = false
        break
      case Command.BLOCK_STATUS:
        request.list = this.#resources.lists.take()
        request.list.clear(kindsOf(this.#contexts, request.contexts))
        break
    }
    return true
  }

  #sliceDone(request: NbdRequest, status: Status): void {
    if (status !== DONE) return this.#finish(request, status, errorOffsetOf(request))
    if (this.#isAbandoned && !request.silent) return this.#finish(request, DONE, -1)
    if (request.command === Command.READ && !this.#readReply.sliceDone(request))
      return this.#readyReads.push(request)
    if (!request.flushing) request.done += request.length
    const isThrough = request.done === request.wireLength
    if (isThrough && (request.flushing || !needsFlush(request)))
      return this.#finish(request, DONE, -1)
    // What is left to do comes when the others had their turn.
    request.flushing = isThrough
    if (request.isMutation && request.orderIndex < 0) this.#order.add(request)
    if (request.command === Command.READ) this.#readyReads.push(request)
    else this.#ready.push(request)
  }

  /** The only end of a request: replies, and gives everything back. */
  #finish(request: NbdRequest, status: Status, errorOffset: number): void {
    if (request.orderIndex >= 0) this.#order.remove(request)
    this.inFlight--
    this.inFlightBytes -= request.memoryBytes
    this.#resources.memory.bytes -= request.memoryBytes
    if (request.isMutation && request.hasBegun) this.isDirty = true
    if (request.command === Command.READ) this.#readReply.cancel(request)
    else request.slab?.release()
    if (request.silent) this.flushStatus = status
    else if (!this.#isAbandoned) this.#reply(request, status, errorOffset)
    if (request.list !== null) this.#resources.lists.give(request.list)
    this.#resources.requests.give(request)
  }

  #reply(request: NbdRequest, status: Status, errorOffset: number): void {
    if (status !== DONE)
      this.#answer.error(request, wireError(status, request.commandFlags), errorOffset)
    else if (request.command === Command.BLOCK_STATUS) this.#answer.blockStatus(request)
    else if (request.command !== Command.READ) this.#answer.success(request)
    else if (request.wireLength === 0) this.#readReply.empty(request)
  }
}

const nothing = (): void => {}

const DEVICE_FLAGS = RequestFlag.FUA | RequestFlag.NO_HOLE | RequestFlag.FAST_ZERO

function isNothingToDo(request: NbdRequest): boolean {
  if (request.command === Command.CACHE) return true
  return request.wireLength === 0 && request.command !== Command.FLUSH
}

/** FUA of a request in several slices is kept by one flush at its end, not by each of them. */
function deviceFlags(request: NbdRequest, sliceBytes: number): number {
  const flags = request.commandFlags & DEVICE_FLAGS
  const isOneSlice = request.wireLength <= sliceBytes
  return isOneSlice ? flags : flags & ~RequestFlag.FUA
}

function needsFlush(request: NbdRequest): boolean {
  if (!request.isMutation || (request.commandFlags & RequestFlag.FUA) === 0) return false
  return request.length < request.wireLength
}

/** @returns -1 where an offset says nothing */
function errorOffsetOf(request: NbdRequest): number {
  const { command, offset, length, errorOffset } = request
  if (command === Command.FLUSH) return -1
  if (request.flushing) return request.wireOffset
  return errorOffset >= offset && errorOffset < offset + length ? errorOffset : offset
}
