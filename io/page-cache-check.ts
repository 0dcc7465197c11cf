/**
 * Asks the kernel whether a range of a file is in its page cache (cachestat(2), since Linux 6.5).
 * Older kernels, and sandboxes that know no such call, have nothing in memory as far as we know.
 */
import type { Addresses } from './memory.ts'
import type { Call } from './syscalls.ts'

/** The same on every architecture. */
const CACHESTAT = 451
const ENOSYS = 38
const PAGE_BYTES_MIN = 4096
// `struct cachestat_range` (off, len), then `struct cachestat`, whose first field is nr_cache.
const LENGTH = 1
const CACHED = 2
const WORDS = 7

export class PageCacheCheck {
  static readonly SIGNATURE =
    'long syscall(long number, long fd, uint64_t range, uint64_t found, long flags)'

  readonly #syscall: Call
  readonly #words = new BigUint64Array(new ArrayBuffer(WORDS * 8))
  readonly #address: number
  #isMissing = false

  readonly #errno: () => number

  constructor(syscall: Call, errno: () => number, addresses: Addresses) {
    this.#syscall = syscall
    this.#errno = errno
    this.#address = addresses.of(new Uint8Array(this.#words.buffer))
  }

  /** @param position of a page; `length` whole pages */
  holds(fd: number, position: number, length: number): boolean {
    if (this.#isMissing) return false
    const words = this.#words
    words[0] = BigInt(position)
    words[LENGTH] = BigInt(length)
    const found = this.#address + CACHED * 8
    if (this.#syscall(CACHESTAT, fd, this.#address, found, 0) < 0) {
      this.#isMissing = this.#errno() === ENOSYS
      return false
    }
    // Counted in pages of the machine: larger ones are fewer, and then this says no.
    return Number(words[CACHED]) * PAGE_BYTES_MIN >= length
  }
}
