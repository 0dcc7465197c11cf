/** The system calls of the io_uring engine: the ring's own, and those of sockets. */
import { Addresses } from './memory.ts'
import { type Call, type Koffi, load, SETSOCKOPT } from './syscalls.ts'

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

/** @returns the calls of the io_uring engine, or in words why this machine cannot have them */
export const loadRingCalls = (): RingCalls | string => load((koffi) => new RingCalls(koffi))
