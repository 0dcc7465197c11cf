/**
 * Encodes what the server says during the handshake into one growing buffer. It does not send:
 * `take` gives the bytes away. The layouts are those of the specification's "Option reply types".
 */
import { HeaderSize, InfoType, Magic, OptionReply } from './protocol.ts'
import { encodeString } from './strings.ts'

const CAPACITY_INITIAL = 1024

export class OptionReplies {
  #bytes = new Uint8Array(CAPACITY_INITIAL)
  #view = new DataView(this.#bytes.buffer)
  #length = 0

  /** Bytes not taken yet. */
  get length(): number {
    return this.#length
  }

  /** Everything said since the last call; the memory is the caller's. */
  take(): Uint8Array {
    const taken = this.#bytes.subarray(0, this.#length)
    this.#bytes = new Uint8Array(CAPACITY_INITIAL)
    this.#view = new DataView(this.#bytes.buffer)
    this.#length = 0
    return taken
  }

  greeting(handshakeFlags: number): void {
    const at = this.#grow(HeaderSize.GREETING)
    this.#view.setUint32(at, Magic.INIT_HIGH)
    this.#view.setUint32(at + 4, Magic.INIT_LOW)
    this.#view.setUint32(at + 8, Magic.OPTION_HIGH)
    this.#view.setUint32(at + 12, Magic.OPTION_LOW)
    this.#view.setUint16(at + 16, handshakeFlags)
  }

  /** Answer to EXPORT_NAME, the only one without a header. */
  exportName(size: number, flags: number, noZeroes: boolean): void {
    const padding = noZeroes ? 0 : HeaderSize.EXPORT_NAME_PADDING
    const at = this.#grow(HeaderSize.EXPORT_NAME_REPLY + padding)
    this.#view.setBigUint64(at, BigInt(size))
    this.#view.setUint16(at + 8, flags)
  }

  ack(option: number): void {
    this.#header(option, OptionReply.ACK, 0)
  }

  /** @param text for a person; cut if it is too long */
  error(option: number, replyType: number, text: string): void {
    const bytes = encodeString(text)
    const at = this.#header(option, replyType, bytes.length)
    this.#bytes.set(bytes, at)
  }

  server(option: number, name: string, description: string): void {
    const nameBytes = encodeString(name)
    const descriptionBytes = encodeString(description)
    const size = 4 + nameBytes.length + descriptionBytes.length
    const at = this.#header(option, OptionReply.SERVER, size)
    this.#view.setUint32(at, nameBytes.length)
    this.#bytes.set(nameBytes, at + 4)
    this.#bytes.set(descriptionBytes, at + 4 + nameBytes.length)
  }

  infoExport(option: number, size: number, flags: number): void {
    const at = this.#info(option, InfoType.EXPORT, 10)
    this.#view.setBigUint64(at, BigInt(size))
    this.#view.setUint16(at + 8, flags)
  }

  /** @param type `InfoType.NAME` or `InfoType.DESCRIPTION` */
  infoText(option: number, type: number, text: string): void {
    const bytes = encodeString(text)
    const at = this.#info(option, type, bytes.length)
    this.#bytes.set(bytes, at)
  }

  infoBlockSize(option: number, minimum: number, preferred: number, payloadMax: number): void {
    const at = this.#info(option, InfoType.BLOCK_SIZE, 12)
    this.#view.setUint32(at, minimum)
    this.#view.setUint32(at + 4, preferred)
    this.#view.setUint32(at + 8, payloadMax)
  }

  metaContext(option: number, id: number, name: string): void {
    const bytes = encodeString(name)
    const at = this.#header(option, OptionReply.META_CONTEXT, 4 + bytes.length)
    this.#view.setUint32(at, id)
    this.#bytes.set(bytes, at + 4)
  }

  #info(option: number, type: number, size: number): number {
    const at = this.#header(option, OptionReply.INFO, 2 + size)
    this.#view.setUint16(at, type)
    return at + 2
  }

  /** @returns where the `size` bytes of data go */
  #header(option: number, replyType: number, size: number): number {
    const at = this.#grow(HeaderSize.OPTION_REPLY + size)
    this.#view.setUint32(at, Magic.OPTION_REPLY_HIGH)
    this.#view.setUint32(at + 4, Magic.OPTION_REPLY_LOW)
    this.#view.setUint32(at + 8, option)
    this.#view.setUint32(at + 12, replyType)
    this.#view.setUint32(at + 16, size)
    return at + HeaderSize.OPTION_REPLY
  }

  /** @returns where the next `size` bytes, all zero, begin */
  #grow(size: number): number {
    const at = this.#length
    this.#length += size
    if (this.#length > this.#bytes.length) {
      const grown = new Uint8Array(Math.max(this.#length, this.#bytes.length * 2))
      grown.set(this.#bytes.subarray(0, at))
      this.#bytes = grown
      this.#view = new DataView(grown.buffer)
    }
    return at
  }
}
