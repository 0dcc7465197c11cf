/**
 * The only file that touches the FFI: Linux system calls Node does not offer. A wrong signature is
 * a crash, so every one is exercised by a test. Results are those of the kernel: >= 0, or -errno.
 */
import { createRequire } from 'node:module'
import { Addresses } from './memory.ts'

type Koffi = typeof import('koffi')
type Call = (...args: (number | bigint)[]) => number
type CallAsync = (...args: [...number[], (error: Error | null, result: number) => void]) => void

const RWF_NOWAIT = 8
export const Fallocate = { ALLOCATE: 1, PUNCH_HOLE: 3, ZERO_RANGE: 0x11 } as const
export const Flock = { SHARED: 1, EXCLUSIVE: 2, NO_WAIT: 4 } as const

export class SystemCalls {
  readonly addresses: Addresses
  readonly #errno: () => number
  readonly #pwrite: Call
  readonly #preadv2: Call
  readonly #lseek: Call
  readonly #flock: Call
  readonly #fallocate: Call
  readonly #fallocateAsync: CallAsync
  /** One iovec: address and length, each as two 32-bit halves (little-endian). */
  readonly #vector = new Uint32Array(4)
  readonly #vectorAddress: number

  constructor(koffi: Koffi) {
    const libc = koffi.load('libc.so.6')
    const address = (view: Uint8Array): number => Number(koffi.address(view))
    this.addresses = new Addresses(address)
    this.#errno = koffi.errno as () => number
    this.#preadv2 = libc.func(
      'long preadv2(int fd, uint64_t iov, int count, int64_t at, int flags)',
    )
    this.#pwrite = libc.func('long pwrite(int fd, uint64_t data, size_t count, int64_t at)')
    this.#lseek = libc.func('int64_t lseek(int fd, int64_t offset, int whence)')
    this.#flock = libc.func('int flock(int fd, int operation)')
    const fallocate = libc.func('int fallocate(int fd, int mode, int64_t offset, int64_t length)')
    this.#fallocate = fallocate
    this.#fallocateAsync = fallocate.async
    this.#vectorAddress = address(new Uint8Array(this.#vector.buffer))
  }

  /** Reads what the page cache holds; -EAGAIN where the disk would have to be waited for. */
  readNowait(fd: number, buffer: Uint8Array, start: number, length: number, at: number): number {
    const address = this.#addressOf(buffer, start, length)
    this.#vector[0] = address % 4294967296
    this.#vector[1] = address / 4294967296
    this.#vector[2] = length
    return this.#result(this.#preadv2(fd, this.#vectorAddress, 1, at, RWF_NOWAIT))
  }

  write(fd: number, buffer: Uint8Array, start: number, length: number, at: number): number {
    return this.#result(this.#pwrite(fd, this.#addressOf(buffer, start, length), length, at))
  }

  /** A mistake of ours must not become one of the kernel's in somebody else's memory. */
  #addressOf(buffer: Uint8Array, start: number, length: number): number {
    if (!(start >= 0 && length >= 0 && start + length <= buffer.length)) {
      throw new RangeError(`${start}+${length} is not inside a buffer of ${buffer.length} bytes`)
    }
    return this.addresses.of(buffer) + start
  }

  seek(fd: number, offset: number, whence: number): number {
    return this.#result(this.#lseek(fd, offset, whence))
  }

  lock(fd: number, operation: number): number {
    return this.#result(this.#flock(fd, operation))
  }

  fallocate(fd: number, mode: number, offset: number, length: number): number {
    return this.#result(this.#fallocate(fd, mode, offset, length))
  }

  /** Runs on a thread. `done` gets the raw result: pass it to `outcome` at once. */
  fallocateAsync(
    fd: number,
    mode: number,
    offset: number,
    length: number,
    done: (error: Error | null, result: number) => void,
  ): void {
    this.#fallocateAsync(fd, mode, offset, length, done)
  }

  /** Turns the raw result of an asynchronous call, inside its callback, into >= 0 or -errno. */
  outcome(result: number): number {
    return this.#result(result)
  }

  #result(result: number): number {
    return result < 0 ? -this.#errno() : result
  }
}

/** @returns the system calls, or in words why this machine cannot have them */
export function loadSystemCalls(): SystemCalls | string {
  if (process.platform !== 'linux') return `not on ${process.platform}`
  if (process.env.CHUNKNBD_NO_FFI === '1') return 'switched off by CHUNKNBD_NO_FFI=1'
  try {
    return new SystemCalls(createRequire(import.meta.url)('koffi') as Koffi)
  } catch (error) {
    return `package koffi does not load: ${(error as Error).message.split('\n')[0]}`
  }
}
