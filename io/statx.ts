/** statx(2), for the one thing that is asked of it. */
import type { Addresses } from './memory.ts'

const AT_EMPTY_PATH = 0x1000
const STATX_DIOALIGN = 0x2000

/** `struct statx` in words of 32 bits: how many, and where we look. */
const WORDS = 64
const MASK = 0
const DIO_MEMORY_ALIGNMENT = 38

export class Statx {
  static readonly SIGNATURE =
    'int statx(int fd, uint64_t path, int flags, uint32_t mask, uint64_t status)'

  readonly #call: (...args: number[]) => number
  /** Behind the structure a word that stays 0: a string of no characters. */
  readonly #status = new Uint32Array(new ArrayBuffer((WORDS + 1) * 4))
  readonly #address: number

  constructor(call: (...args: number[]) => number, addresses: Addresses) {
    this.#call = call
    this.#address = addresses.of(new Uint8Array(this.#status.buffer))
  }

  /** What O_DIRECT wants of memory addresses, in bytes; 0: this kernel or file cannot tell. */
  memoryAlignment(fd: number): number {
    const status = this.#status
    status.fill(0)
    const path = this.#address + WORDS * 4
    const result = this.#call(fd, path, AT_EMPTY_PATH, STATX_DIOALIGN, this.#address)
    const isKnown = result === 0 && (status[MASK] & STATX_DIOALIGN) !== 0
    return isKnown ? status[DIO_MEMORY_ALIGNMENT] : 0
  }
}
