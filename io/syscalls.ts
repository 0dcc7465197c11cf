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
const SOL_SOCKET = 1
const SO_SNDBUF = 7
const SETSOCKOPT = 'int setsockopt(int fd, int level, int name, uint64_t value, uint32_t bytes)'
const MADV_DONTNEED = 4
/** The largest page any processor's Linux has: what is a multiple of it is one of the real size. */
const LARGEST_PAGE = 65_536
/** MSG_DONTWAIT and MSG_NOSIGNAL. */
const MSG_NOW = 0x4040
export const Fallocate = { ALLOCATE: 1, PUNCH_HOLE: 3, ZERO_RANGE: 0x11 } as const
export const Flock = { SHARED: 1, EXCLUSIVE: 2, NO_WAIT: 4 } as const

export class SystemCalls {
  readonly addresses: Addresses
  readonly #errno: () => number
  readonly #pwrite: Call
  readonly #preadv2: Call
  readonly #lseek: Call
  readonly #flock: Call
  readonly #madvise: Call
  readonly #fallocate: Call
  readonly #fallocateAsync: CallAsync
  readonly #setsockopt: Call
  readonly #send: Call
  readonly #sendmsg: Call
  /** One iovec: address and length, each as two 32-bit halves (little-endian). */
  readonly #vector = new Uint32Array(4)
  readonly #vectorAddress: number
  readonly #option = new Int32Array(new ArrayBuffer(4))

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
    this.#madvise = libc.func('int madvise(uint64_t address, size_t length, int advice)')
    const fallocate = libc.func('int fallocate(int fd, int mode, int64_t offset, int64_t length)')
    this.#fallocate = fallocate
    this.#fallocateAsync = fallocate.async
    this.#setsockopt = libc.func(SETSOCKOPT)
    this.#send = libc.func('long send(int fd, uint64_t data, size_t count, int flags)')
    this.#sendmsg = libc.func('long sendmsg(int fd, uint64_t message, int flags)')
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

  write(fd: number, buffer: Uint8Array, start: number, length: number, at: number): number {
    return this.#result(this.#pwrite(fd, this.addressOf(buffer, start, length), length, at))
  }

  /** A mistake of ours must not become one of the kernel's in somebody else's memory. */
  addressOf(buffer: Uint8Array, start: number, length: number): number {
    if (!(start >= 0 && length >= 0 && start + length <= buffer.length)) {
      throw new RangeError(`${start}+${length} is not inside a buffer of ${buffer.length} bytes`)
    }
    return this.addresses.of(buffer) + start
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

  /** Sends what the socket takes without waiting. @param address of the bytes */
  send(fd: number, address: number, bytes: number): number {
    return this.#result(this.#send(fd, address, bytes, MSG_NOW))
  }

  /** The same, gathered. @param message address of a `msghdr` */
  sendMessage(fd: number, message: number): number {
    return this.#result(this.#sendmsg(fd, message, MSG_NOW))
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

/** Keeps a file descriptor in Node's loop. */
export interface LoopHandle {
  ref(): void
  unref(): void
  close(): void
}

const MAP_READ_WRITE = 3
const MAP_SHARED_POPULATE = 0x8001
const EFD_NONBLOCK = 0o4000
const EFD_CLOEXEC = 0o2000000

/** The calls of the io_uring engine: the ring's own, and those of sockets. */
export class RingCalls {
  readonly addresses: Addresses
  readonly #koffi: Koffi
  readonly #setup: Call
  readonly #enter: Call
  readonly #register: Call
  readonly #mmap: (...args: (number | null)[]) => unknown
  readonly #socket: Call
  readonly #bind: Call
  readonly #listen: Call
  readonly #getsockname: Call
  readonly #setsockopt: Call
  readonly #fcntl: Call
  readonly #shutdown: Call
  readonly #close: Call
  readonly #eventfd: Call
  readonly #read: Call
  readonly #countAddress: number
  readonly #count = new Int32Array(new ArrayBuffer(8))
  readonly #option = new Int32Array(new ArrayBuffer(4))

  constructor(koffi: Koffi) {
    const libc = koffi.load('libc.so.6')
    this.#koffi = koffi
    this.addresses = new Addresses((view) => Number(koffi.address(view)))
    this.#setup = libc.func('long syscall(long number, uint32_t entries, uint64_t params)')
    this.#enter = libc.func(
      'long syscall(long number, int ring, uint32_t submit, uint32_t wait, uint32_t flags, ' +
        'uint64_t argument, size_t bytes)',
    )
    this.#register = libc.func(
      'long syscall(long number, int ring, uint32_t opcode, uint64_t argument, uint32_t count)',
    )
    this.#mmap = libc.func(
      'void *mmap(void *at, size_t bytes, int prot, int flags, int fd, int64_t offset)',
    )
    this.#socket = libc.func('int socket(int domain, int type, int protocol)')
    this.#bind = libc.func('int bind(int fd, uint64_t address, uint32_t bytes)')
    this.#listen = libc.func('int listen(int fd, int backlog)')
    this.#getsockname = libc.func('int getsockname(int fd, uint64_t address, uint64_t bytes)')
    this.#setsockopt = libc.func(SETSOCKOPT)
    this.#fcntl = libc.func('int fcntl(int fd, int command, ...)')
    this.#shutdown = libc.func('int shutdown(int fd, int how)')
    this.#close = libc.func('int close(int fd)')
    this.#eventfd = libc.func('int eventfd(uint32_t count, int flags)')
    this.#read = libc.func('long read(int fd, uint64_t buffer, size_t bytes)')
    this.#countAddress = this.addressOf(this.#count)
  }

  /** io_uring_setup(2). @returns the ring's descriptor */
  setup(entries: number, params: ArrayBufferView): number {
    return this.#result(this.#setup(425, entries, this.addressOf(params)))
  }

  /** io_uring_enter(2). @returns how many entries were taken */
  enter(ring: number, submit: number, flags: number): number {
    const result = this.#enter(426, ring, submit, 0, flags, 0, 0)
    return result < 0 ? -this.#koffi.errno() : result
  }

  /** io_uring_register(2). */
  register(ring: number, opcode: number, argument: ArrayBufferView, count: number): number {
    return this.#result(this.#register(427, ring, opcode, this.addressOf(argument), count))
  }

  /** Maps memory of the ring. It stays mapped until the process ends. */
  map(ring: number, offset: number, bytes: number): ArrayBuffer {
    const at = this.#mmap(null, bytes, MAP_READ_WRITE, MAP_SHARED_POPULATE, ring, offset)
    const address = this.#koffi.address(at)
    if (address === 0xffffffffffffffffn || address === -1n) throw new Error('mmap fails')
    return this.#koffi.view(at, bytes)
  }

  eventFd(): number {
    return this.#result(this.#eventfd(0, EFD_NONBLOCK | EFD_CLOEXEC))
  }

  /** Makes an eventfd unreadable until it is signalled again. */
  clearEvent(eventFd: number): void {
    this.#read(eventFd, this.#countAddress, 8)
  }

  /** Calls back whenever the descriptor is readable. */
  watch(fd: number, callback: () => void): LoopHandle {
    return this.#koffi.node.poll(fd, { readable: true }, callback)
  }

  socket(domain: number, type: number): number {
    return this.#result(this.#socket(domain, type, 0))
  }

  bind(fd: number, address: Uint8Array): number {
    return this.#result(this.#bind(fd, this.addressOf(address), address.length))
  }

  listen(fd: number, backlog: number): number {
    return this.#result(this.#listen(fd, backlog))
  }

  /** @param length one word: room in `address`, then the length of what was written there */
  localAddress(fd: number, address: Uint8Array, length: Uint32Array): number {
    return this.#result(this.#getsockname(fd, this.addressOf(address), this.addressOf(length)))
  }

  setOption(fd: number, level: number, name: number, value: number): number {
    this.#option[0] = value
    return this.#result(this.#setsockopt(fd, level, name, this.addressOf(this.#option), 4))
  }

  fcntl(fd: number, command: number, argument: number): number {
    return this.#result(
      (this.#fcntl as (...args: unknown[]) => number)(fd, command, 'int', argument),
    )
  }

  shutdown(fd: number, how: number): number {
    return this.#result(this.#shutdown(fd, how))
  }

  close(fd: number): number {
    return this.#result(this.#close(fd))
  }

  addressOf(view: ArrayBufferView): number {
    return Number(this.#koffi.address(new Uint8Array(view.buffer))) + view.byteOffset
  }

  #result(result: number): number {
    return result < 0 ? -this.#koffi.errno() : result
  }
}

/** @returns the system calls, or in words why this machine cannot have them */
export const loadSystemCalls = (): SystemCalls | string => load((koffi) => new SystemCalls(koffi))

/** @returns the calls of the io_uring engine, or in words why this machine cannot have them */
export const loadRingCalls = (): RingCalls | string => load((koffi) => new RingCalls(koffi))

function load<T>(make: (koffi: Koffi) => T): T | string {
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
