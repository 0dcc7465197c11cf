/**
 * Cuts the client's byte stream into requests, whose headers are compact or extended. Each is
 * validated here, before its payload is waited for; a payload lies in one piece when the request is
 * handed out:
 *
 *   it fits in the receive buffer       lent from there, where it was received
 *   it does not                         received into a slab of its own
 *   the request is refused              skipped as it comes
 *
 * Does not know what requests mean or how many are allowed.
 */
import {
  PAYLOAD_BYTES_MAX,
  PAYLOAD_BYTES_REFUSED,
  PAYLOAD_DISCARD_BYTES_MAX,
  RECEIVE_BYTES,
} from './limits.ts'
import type { MemoryUse } from './memory-use.ts'
import type { Agreement } from './negotiation.ts'
import { Command, CommandFlag, HeaderSize, Magic, NbdError } from './protocol.ts'
import type { ReceiveBuffer } from './receive-buffer.ts'
import { ReplyStyle } from './reply-style.ts'
import type { NbdRequest, RequestPool } from './request.ts'
import type { Resources } from './resources.ts'
import type { Slab, SlabPool } from './slab.ts'
import { validate, validateStatusPayload } from './validate.ts'

export class RequestReader {
  /** Payloads that have begun. */
  payloadCount = 0
  /** What the client did wrong; nothing can be read after that. */
  violation: string | null = null
  readonly #receive: ReceiveBuffer
  readonly #agreement: Agreement
  readonly #requests: RequestPool
  readonly #slabs: SlabPool
  readonly #memory: MemoryUse
  readonly #isExtended: boolean
  readonly #magic: number
  readonly #headerBytes: number
  /** Above this the client is cut off. */
  readonly #payloadBytesMax: number
  /** Its header was read, its payload is not complete. */
  #partial: NbdRequest | null = null
  /** Bytes of the payload that are missing, or are still to be skipped. */
  #missing = 0
  /** For the payload, if it has a slab of its own. */
  #payload: Slab | null = null
  #payloadBytes = 0
  /** The next receive goes there, not into the receive buffer. */
  #isDirect = false
  #hasStopped = false

  constructor(receive: ReceiveBuffer, agreement: Agreement, resources: Resources) {
    this.#receive = receive
    this.#agreement = agreement
    this.#requests = resources.requests
    this.#slabs = resources.slabs
    this.#memory = resources.memory
    const isExtended = agreement.replyStyle === ReplyStyle.EXTENDED
    this.#isExtended = isExtended
    this.#magic = isExtended ? Magic.EXTENDED_REQUEST : Magic.REQUEST
    this.#headerBytes = isExtended ? HeaderSize.EXTENDED_REQUEST : HeaderSize.REQUEST
    this.#payloadBytesMax = isExtended ? PAYLOAD_BYTES_MAX : PAYLOAD_DISCARD_BYTES_MAX
    receive.enlarge(RECEIVE_BYTES)
  }

  /** Memory for the payload of a request that is not complete. */
  get heldBytes(): number {
    if (this.#partial === null) return 0
    return this.#payload === null ? this.#receive.slab.bytes.length : this.#payloadBytes
  }

  /** A request has begun and is not complete: it must be read to its end, whatever the limits. */
  get isInside(): boolean {
    return this.#partial !== null
  }

  /** Where the next bytes go. */
  room(): Uint8Array {
    if (this.#hasStopped) this.#receive.start = this.#receive.end
    const payload = this.#hasStopped ? null : this.#payload
    this.#isDirect = payload !== null && this.#missing > 0 && this.#receive.unparsed === 0
    if (payload !== null && this.#isDirect) {
      const end = this.#payloadBytes
      return payload.bytes.subarray(end - this.#missing, end)
    }
    const isWhole = this.#partial !== null && this.#partial.refusal === 0 && payload === null
    return this.#receive.room(isWhole ? this.#missing : this.#headerBytes)
  }

  received(bytes: number): void {
    if (this.#isDirect) this.#missing -= bytes
    else this.#receive.received(bytes)
  }

  /**
   * @returns the next request, now the caller's, with `refusal` set and its payload at
   *   `slabOffset` of `slab`; null: more bytes are needed, or see `violation`
   */
  next(): NbdRequest | null {
    if (this.#hasStopped) return null
    if (this.#partial !== null) return this.#continue(this.#partial)
    const receive = this.#receive
    if (receive.unparsed < this.#headerBytes || this.violation !== null) return null
    const { view } = receive.slab
    if (view.getUint32(receive.start) !== this.#magic) {
      this.violation = 'a request without the magic number'
      return null
    }
    const request = this.#requests.take()
    if (this.#isExtended) decodeExtended(request, view, receive.start)
    else decode(request, view, receive.start)
    receive.start += this.#headerBytes
    if (request.command === Command.DISC) return request
    request.refusal = validate(request, this.#agreement)
    return request.payloadBytes > 0 ? this.#begin(request) : request
  }

  /** What comes from now on is thrown away, and an incomplete request with it. */
  stop(): void {
    this.#hasStopped = true
  }

  /** The stream is closed: gives back what is incomplete, for nothing is received into it now. */
  release(): void {
    this.#hasStopped = true
    this.#payload?.release()
    this.#givePayload()
    if (this.#partial !== null) this.#requests.give(this.#partial)
    this.#partial = null
  }

  #begin(request: NbdRequest): NbdRequest | null {
    const { command, payloadBytes } = request
    if (payloadBytes > this.#payloadBytesMax) {
      this.violation = `a payload of ${payloadBytes} bytes with command ${command}`
      this.#requests.give(request)
      return null
    }
    this.#missing = payloadBytes
    this.payloadCount++
    if (request.refusal === 0 && this.#isTooMuch(payloadBytes)) request.refusal = NbdError.ENOMEM
    if (request.refusal === 0 && payloadBytes > RECEIVE_BYTES) {
      this.#payload = this.#slabs.tryTake(payloadBytes)
      if (this.#payload === null) {
        request.refusal = NbdError.ENOMEM
      } else {
        this.#payloadBytes = payloadBytes
        this.#memory.bytes += payloadBytes
      }
    }
    return this.#continue(request)
  }

  /** A payload for which there is no room yet, and should be none. */
  #isTooMuch(bytes: number): boolean {
    if (bytes <= PAYLOAD_BYTES_REFUSED || bytes <= this.#receive.slab.bytes.length) return false
    return !this.#memory.allows(bytes)
  }

  #continue(request: NbdRequest): NbdRequest | null {
    const receive = this.#receive
    this.#partial = request
    if (request.refusal !== 0) {
      const skipped = Math.min(receive.unparsed, this.#missing)
      receive.start += skipped
      this.#missing -= skipped
      if (this.#missing > 0) return null
    } else if (this.#payload !== null) {
      this.#fill(this.#payload)
      if (this.#missing > 0) return null
      request.slab = this.#payload
      request.slabOffset = 0
      this.#givePayload()
    } else {
      if (receive.unparsed < this.#missing) return null
      if (request.command === Command.WRITE) {
        request.slab = receive.slab
        request.slab.references++
        request.slabOffset = receive.start
      } else {
        const { view } = receive.slab
        request.refusal = validateStatusPayload(request, this.#agreement, view, receive.start)
      }
      receive.start += this.#missing
    }
    if (request.slab !== null) request.buffer = request.slab.bytes
    this.#partial = null
    return request
  }

  /** Its slab belongs to somebody else now. */
  #givePayload(): void {
    this.#payload = null
    this.#memory.bytes -= this.#payloadBytes
    this.#payloadBytes = 0
  }

  /** Moves what has arrived in the receive buffer to where the payload belongs. */
  #fill(payload: Slab): void {
    const receive = this.#receive
    const bytes = Math.min(receive.unparsed, this.#missing)
    const { start } = receive
    const target = this.#payloadBytes - this.#missing
    payload.bytes.set(receive.slab.bytes.subarray(start, start + bytes), target)
    receive.start += bytes
    this.#missing -= bytes
  }
}

/**
 * 32 bits  magic
 * 16 bits  command flags
 * 16 bits  type
 * 64 bits  cookie
 * 64 bits  offset
 * 32 bits  length
 */
function decode(request: NbdRequest, view: DataView, at: number): void {
  decodeCommon(request, view, at)
  request.isExtended = false
  request.wireLength = view.getUint32(at + 24)
  request.payloadBytes = request.command === Command.WRITE ? request.wireLength : 0
}

/**
 * As above, but the length has 64 bits, and a flag says that it is that of a payload. The data of a
 * WRITE follow without the flag as well: so it is with QEMU (seen with 10.0), its server agrees.
 */
function decodeExtended(request: NbdRequest, view: DataView, at: number): void {
  decodeCommon(request, view, at)
  request.isExtended = true
  request.offsetHigh = view.getUint32(at + 16)
  request.offsetLow = view.getUint32(at + 20)
  request.wireLength = view.getUint32(at + 24) * 2 ** 32 + view.getUint32(at + 28)
  const isMarked = (request.commandFlags & CommandFlag.PAYLOAD_LEN) !== 0
  request.payloadBytes = isMarked || request.command === Command.WRITE ? request.wireLength : 0
}

function decodeCommon(request: NbdRequest, view: DataView, at: number): void {
  request.commandFlags = view.getUint16(at + 4)
  request.command = view.getUint16(at + 6)
  request.cookieHigh = view.getUint32(at + 8)
  request.cookieLow = view.getUint32(at + 12)
  // From 2^53 on the number is rounded, but stays larger than any export.
  request.wireOffset = view.getUint32(at + 16) * 2 ** 32 + view.getUint32(at + 20)
}
