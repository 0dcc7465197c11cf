/**
 * The only file that loads the FFI: Linux system calls Node does not offer. A wrong signature is
 * a crash, so every one is exercised by a test. Results are those of the kernel: >= 0, or -errno.
 */
import { constants } from 'node:fs'
import { createRequire } from 'node:module'
import type { Credentials } from './io.ts'
import { Addresses, alignedMemory } from './memory.ts'
import { PageCacheCheck } from './page-cache-check.ts'
import { Statx } from './statx.ts'

export type Koffi = typeof import('koffi')
export type Call = (...args: (number | bigint)[]) => number
type CallAsync = (...args: [...number[], (error: Error | null, result: number) => void]) => void

const RWF_NOWAIT = 8
const SOL_SOCKET = 1
const SO_SNDBUF = 7
const SO_PEERCRED = 17
/** `struct ucred`: process, user, group. */
const CREDENTIALS_BYTES = 12
const UNKNOWN_ID = 0xffffffff
export const SETSOCKOPT =
  'int setsockopt(int fd, int level, int name, uint64_t value, uint32_t bytes)'
const MADV_DONTNEED = 4
/** The largest page any processor's Linux has: what is a multiple of it is one of the real size. */
const LARGEST_PAGE = 65_536
/** MSG_DONTWAIT and MSG_NOSIGNAL. */
const MSG_NOW = 0x4040
export const MSG_MORE = 0x8000
const F_SETFL = 4
export const Fallocate = { ALLOCATE: 1, PUNCH_HOLE: 3, ZERO_RANGE: 0x11 } as const
export const Flock = { SHARED: 1, EXCLUSIVE: 2, NO_WAIT: 4 } as const

export class SystemCalls {
  readonly addresses: Addresses
  readonly #errno: () => number
  readonly #pwrite: Call
  readonly #preadv2: Call
  readonly #pwritev: Call
  readonly #lseek: Call
  readonly #flock: Call
  readonly #madvise: Call
  readonly #fallocate: Call
  readonly #fallocateAsync: CallAsync
  readonly #setsockopt: Call
  readonly #getsockopt: Call
  readonly #send: Call
  readonly #sendmsg: Call
  readonly #pread: Call
  readonly #sendfile: Call
  readonly #fcntl: Call
  readonly #statx: Statx
  readonly #pageCache: PageCacheCheck
  /** One iovec: address and length, each as two 32-bit halves (little-endian). */
  readonly #vector = new Uint32Array(4)
  readonly #vectorAddress: number
  readonly #option = new Int32Array(new ArrayBuffer(4))
  readonly #position = new BigInt64Array(new ArrayBuffer(8))
  readonly #positionAddress: number

  constructor(koffi: Koffi) {
    const libc = koffi.load('libc.so.6')
    const address = (view: Uint8Array): number => Number(koffi.address(view))
    this.addresses = new Addresses(address)
    this.#errno = koffi.errno as () => number
    this.#preadv2 = libc.func(
      'long preadv2(int fd, uint64_t iov, int count, int64_t at, int flags)',
    )
    this.#pwrite = libc.func('long pwrite(int fd, uint64_t data, size_t count, int64_t at)')
    this.#pwritev = libc.func('long pwritev(int fd, uint64_t iov, int count, int64_t at)')
    this.#lseek = libc.func('int64_t lseek(int fd, int64_t offset, int whence)')
    this.#flock = libc.func('int flock(int fd, int operation)')
    this.#madvise = libc.func('int madvise(uint64_t address, size_t length, int advice)')
    const fallocate = libc.func('int fallocate(int fd, int mode, int64_t offset, int64_t length)')
    this.#fallocate = fallocate
    this.#fallocateAsync = fallocate.async
    this.#setsockopt = libc.func(SETSOCKOPT)
    this.#getsockopt = libc.func(
      'int getsockopt(int fd, int level, int name, uint64_t value, uint64_t bytes)',
    )
    this.#send = libc.func('long send(int fd, uint64_t data, size_t count, int flags)')
    this.#sendmsg = libc.func('long sendmsg(int fd, uint64_t message, int flags)')
    this.#pread = libc.func('long pread(int fd, uint64_t data, size_t count, int64_t at)')
    this.#sendfile = libc.func('long sendfile(int to, int fd, uint64_t at, size_t count)')
    this.#fcntl = libc.func('int fcntl(int fd, int command, int flags)')
    this.#pageCache = new PageCacheCheck(
      libc.func(PageCacheCheck.SIGNATURE),
      this.#errno,
      this.addresses,
    )
    this.#statx = new Statx(libc.func(Statx.SIGNATURE), this.addresses)
    this.#positionAddress = address(new Uint8Array(this.#position.buffer))
    this.#vectorAddress = address(new Uint8Array(this.#vector.buffer))
  }

  /** Reads what the page cache holds; -EAGAIN where the disk would have to be waited for. */
  readNowait(fd: number, buffer: Uint8Array, start: number, length: number, at: number): number {
    const address = this.addressOf(buffer, start, length)
    this.#vector[0] = address % 4294967296
    this.#vector[1] = address / 4294967296
    this.#vector[2] = length
    return this.#result(this.#preadv2(fd, this.#vectorAddress, 1, at, RWF_NOWAIT))
  }

  /** Reads what there is, and waits for the disk if it has to. */
  read(fd: number, buffer: Uint8Array, start: number, length: number, at: number): number {
    return this.#result(this.#pread(fd, this.addressOf(buffer, start, length), length, at))
  }

  /** The kernel has all of the range in memory, as far as it can be known. Whole pages only. */
  isCached(fd: number, at: number, length: number): boolean {
    return this.#pageCache.holds(fd, at, length)
  }

  write(fd: number, buffer: Uint8Array, start: number, length: number, at: number): number {
    return this.#result(this.#pwrite(fd, this.addressOf(buffer, start, length), length, at))
  }

  /** The same into several places. @param vector address of `count` iovecs */
  readVectorNowait(fd: number, vector: number, count: number, at: number): number {
    return this.#result(this.#preadv2(fd, vector, count, at, RWF_NOWAIT))
  }

  writeVector(fd: number, vector: number, count: number, at: number): number {
    return this.#result(this.#pwritev(fd, vector, count, at))
  }

  /** A mistake of ours must not become one of the kernel's in somebody else's memory. */
  addressOf(buffer: Uint8Array, start: number, length: number): number {
    if (!(start >= 0 && length >= 0 && start + length <= buffer.length)) {
      throw new RangeError(`${start}+${length} is not inside a buffer of ${buffer.length} bytes`)
    }
    return this.addresses.of(buffer) + start
  }

  /** @returns `bytes` uninitialised bytes that start on a page border */
  memory(bytes: number): Uint8Array {
    return alignedMemory(bytes, (view) => this.addresses.of(view))
  }

  seek(fd: number, offset: number, whence: number): number {
    return this.#result(this.#lseek(fd, offset, whence))
  }

  /** Room for what is sent and not received yet. @param bytes the kernel's limit may be lower */
  setSendBuffer(fd: number, bytes: number): number {
    this.#option[0] = bytes
    const address = this.addresses.of(new Uint8Array(this.#option.buffer))
    return this.#result(this.#setsockopt(fd, SOL_SOCKET, SO_SNDBUF, address, 4))
  }

  /** Who connected to a unix socket; null: it is none. */
  peerCredentials(fd: number): Credentials | null {
    // The three ids, and how many bytes they have.
    const ids = new Uint32Array(new ArrayBuffer(CREDENTIALS_BYTES + 4))
    ids.set([0, UNKNOWN_ID, UNKNOWN_ID, CREDENTIALS_BYTES])
    const address = this.addresses.of(new Uint8Array(ids.buffer))
    const length = address + CREDENTIALS_BYTES
    const failed = this.#getsockopt(fd, SOL_SOCKET, SO_PEERCRED, address, length) < 0
    return failed || ids[1] === UNKNOWN_ID ? null : { uid: ids[1], gid: ids[2] }
  }

  /** Sends what the socket takes without waiting. @param address of the bytes */
  send(fd: number, address: number, bytes: number): number {
    return this.#result(this.#send(fd, address, bytes, MSG_NOW))
  }

  /** The same, gathered. @param message address of a `msghdr` */
  sendMessage(fd: number, message: number, flags = 0): number {
    return this.#result(this.#sendmsg(fd, message, MSG_NOW | flags))
  }

  /**
   * Sends bytes of a file, which the socket gets without a copy. Waits for the disk, and for the
   * socket unless it is non-blocking.
   */
  sendFile(socket: number, fd: number, at: number, length: number): number {
    this.#position[0] = BigInt(at)
    return this.#result(this.#sendfile(socket, fd, this.#positionAddress, length))
  }

  /** Of an open file that has no other status flags. */
  setNonBlocking(fd: number, isOn: boolean): number {
    return this.#result(this.#fcntl(fd, F_SETFL, isOn ? constants.O_NONBLOCK : 0))
  }

  lock(fd: number, operation: number): number {
    return this.#result(this.#flock(fd, operation))
  }

  /** Frees the whole pages in the memory; they are zeros when they are used again. */
  giveBack(memory: Uint8Array): number {
    const address = this.addresses.of(memory)
    const start = Math.ceil(address / LARGEST_PAGE) * LARGEST_PAGE
    const end = Math.floor((address + memory.length) / LARGEST_PAGE) * LARGEST_PAGE
    return end > start ? this.#result(this.#madvise(start, end - start, MADV_DONTNEED)) : 0
  }

  /** What O_DIRECT wants of memory addresses, in bytes; 0: this kernel or file cannot tell. */
  memoryAlignment(fd: number): number {
    return this.#statx.memoryAlignment(fd)
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
export const loadSystemCalls = (): SystemCalls | string => load((koffi) => new SystemCalls(koffi))

/** @returns what is made of the FFI, or in words why this machine cannot have it */
export function load<T>(make: (koffi: Koffi) => T): T | string {
  const koffi = loadFfi()
  return typeof koffi === 'string' ? koffi : attempt(() => make(koffi))
}

/** @returns the FFI, or in words why this machine cannot have it */
export function loadFfi(): Koffi | string {
  if (process.platform !== 'linux') return `not on ${process.platform}`
  if (process.env.CHUNKNBD_NO_FFI === '1') return 'switched off by CHUNKNBD_NO_FFI=1'
  return attempt(() => createRequire(import.meta.url)('koffi') as Koffi)
}

function attempt<T>(load: () => T): T | string {
  try {
    return load()
  } catch (error) {
    return `package koffi does not load: ${(error as Error).message.split('\n')[0]}`
  }
}
