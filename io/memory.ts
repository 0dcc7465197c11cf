/**
 * Memory whose address system calls may be given. An ArrayBuffer's bytes never move, so an address
 * holds for as long as the buffer is referenced; nothing here has to be freed.
 */

const ALIGNMENT = 4096

/**
 * @returns `bytes` bytes which start on a page border if `address` is known
 * @throws RangeError if there is no memory for them
 */
export function alignedMemory(
  bytes: number,
  address: (view: Uint8Array) => number = () => 0,
): Uint8Array {
  // Large blocks come as untouched zero pages, so this costs no more than leaving them unset.
  const whole = new Uint8Array(bytes + ALIGNMENT)
  const start = (ALIGNMENT - (address(whole) % ALIGNMENT)) % ALIGNMENT
  return new Uint8Array(whole.buffer, whole.byteOffset + start, bytes)
}

/** Remembers the address of every buffer it was asked for; a hit costs a few nanoseconds. */
export class Addresses {
  readonly #ask: (view: Uint8Array) => number
  readonly #known = new WeakMap<ArrayBufferLike, number>()
  #lastBuffer: ArrayBufferLike = new ArrayBuffer(0)
  #lastAddress = 0

  /** @param ask address of the first byte of a view, from the FFI */
  constructor(ask: (view: Uint8Array) => number) {
    this.#ask = ask
  }

  /** @returns the address of the first byte of `view` */
  of(view: Uint8Array): number {
    const buffer = view.buffer
    if (buffer === this.#lastBuffer) return this.#lastAddress + view.byteOffset
    let address = this.#known.get(buffer)
    if (address === undefined) {
      address = this.#ask(new Uint8Array(buffer))
      this.#known.set(buffer, address)
    }
    this.#lastBuffer = buffer
    this.#lastAddress = address
    return address + view.byteOffset
  }
}
