/**
 * One request of a client, and the device's view of the slice of it that is being done. Pooled;
 * holds the memory of its payload or of its reply until it is finished.
 *
 *   the request   | done |  slice  |        |
 *                 0    done       +length   wireLength        (from wireOffset)
 */
import type { FileOutlet, Request, Status } from '../device/device.ts'
import type { ExtentList } from '../device/extents.ts'
import { REQUESTS_FREE_MAX } from './limits.ts'
import { Command } from './protocol.ts'
import type { Slab } from './slab.ts'

/** Who carries a request out; told when a device has finished a slice late. */
export interface RequestOwner {
  completed(request: NbdRequest, status: Status): void
  /** Nothing it had to wait for is left. */
  unblocked(request: NbdRequest): void
}

export class NbdRequest implements Request {
  // What the device sees: the slice.
  offset = 0
  length = 0
  flags = 0
  buffer: Uint8Array = NOTHING
  bufferOffset = 0
  extents: ExtentList | null = null
  outlet: FileOutlet | null = null
  errorOffset = 0

  // What the client said.
  command: number = Command.READ
  commandFlags = 0
  cookieHigh = 0
  cookieLow = 0
  wireOffset = 0
  wireLength = 0
  /** Bytes that follow the header. */
  payloadBytes = 0
  /** Of a BLOCK_STATUS: a bit for each of the agreement's contexts. */
  contexts = ALL_CONTEXTS
  /** The header is an extended one, and so must be the reply's, with the offset as it came. */
  isExtended = false
  offsetHigh = 0
  offsetLow = 0

  // How far it has come.
  /** Why it is refused (errno), or 0. */
  refusal = 0
  done = 0
  /** The device has seen it. */
  hasBegun = false
  /** The device has returned PENDING. */
  pending = false
  /** All slices are done, their FUA is being kept by a flush. */
  flushing = false
  /** The device could not tell all holes of a slice; from now on it fills in the zeros. */
  plain = false
  /** Nobody waits for a reply. */
  silent = false

  // What it holds.
  owner: RequestOwner | null = null
  slab: Slab | null = null
  /** Where in `slab` the payload begins, or the reply. */
  slabOffset = 0
  /** The reply's place was reserved in the reply queue; otherwise the slab is its own. */
  reserved = false
  /** For holes and block status. */
  list: ExtentList | null = null
  /** Bytes of memory it counts for. */
  memoryBytes = 0

  // Its place among the mutations of the device (`MutationOrder`).
  orderIndex = -1
  sequence = 0
  /** Earlier overlapping mutations that are not finished. */
  blockers = 0

  /** Next in the owner's queue. */
  next: NbdRequest | null = null

  /** Called by the device. */
  complete(status: Status): void {
    const { owner } = this
    if (!this.pending || owner === null) throw new Error('device: completed what was not pending')
    this.pending = false
    owner.completed(this, status)
  }

  get isMutation(): boolean {
    const { command } = this
    return command === Command.WRITE || command === Command.TRIM || command === Command.WRITE_ZEROES
  }

  /** Ready for the next use. The fields of the slice and of the client are set anew then. */
  reset(): void {
    this.buffer = NOTHING
    this.extents = null
    this.contexts = ALL_CONTEXTS
    this.refusal = 0
    this.done = 0
    this.hasBegun = false
    this.flushing = false
    this.plain = false
    this.silent = false
    this.owner = null
    this.slab = null
    this.list = null
    this.memoryBytes = 0
  }
}

const NOTHING = new Uint8Array(0)
const ALL_CONTEXTS = -1

export class RequestPool {
  readonly #free: NbdRequest[] = []
  /** Requests in use, for tests and statistics. */
  taken = 0

  take(): NbdRequest {
    this.taken++
    return this.#free.pop() ?? new NbdRequest()
  }

  /** The caller forgets the request; what it held was released before. */
  give(request: NbdRequest): void {
    this.taken--
    request.reset()
    if (this.#free.length < REQUESTS_FREE_MAX) this.#free.push(request)
  }
}
