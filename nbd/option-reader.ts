/**
 * Reads the data of one option, field by field. Every length is checked against what is left
 * before anything is read or allocated; what does not fit is an `OptionError`.
 */
import { OptionReply } from './protocol.ts'
import { decodeString } from './strings.ts'

/** Ends the handling of an option with an error reply; the handshake goes on. */
export class OptionError extends Error {
  readonly code = 'OPTION_REFUSED'
  /** One of `OptionReply.ERR_*`. */
  readonly replyType: number

  constructor(replyType: number, message: string) {
    super(message)
    this.replyType = replyType
  }
}

export class OptionReader {
  readonly #bytes: Uint8Array
  readonly #view: DataView
  #position = 0

  /** @param bytes the option's data, lent while the option is handled */
  constructor(bytes: Uint8Array) {
    this.#bytes = bytes
    this.#view = new DataView(bytes.buffer, bytes.byteOffset, bytes.byteLength)
  }

  u16(what: string): number {
    return this.#view.getUint16(this.#take(2, what))
  }

  u32(what: string): number {
    return this.#view.getUint32(this.#take(4, what))
  }

  /** A string of `length` bytes. */
  string(length: number, what: string): string {
    const start = this.#take(length, what)
    const text = decodeString(this.#bytes.subarray(start, this.#position))
    if (text === null) throw invalid(`${what} is not UTF-8 without NUL of at most 4096 bytes`)
    return text
  }

  /** A string of all that is left. */
  rest(what: string): string {
    return this.string(this.#bytes.length - this.#position, what)
  }

  /** The data must end here. */
  end(): void {
    const rest = this.#bytes.length - this.#position
    if (rest > 0) throw invalid(`${rest} bytes too many in the option`)
  }

  #take(length: number, what: string): number {
    const start = this.#position
    const rest = this.#bytes.length - start
    if (length > rest) throw invalid(`${what}: ${length} bytes where the option has ${rest} left`)
    this.#position = start + length
    return start
  }
}

function invalid(message: string): OptionError {
  return new OptionError(OptionReply.ERR_INVALID, message)
}
