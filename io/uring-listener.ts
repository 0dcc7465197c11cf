/**
 * A listening socket on the ring: one accept under way at a time. The socket is made by system
 * calls; what goes wrong with it is told in the same words as by the node engine.
 */
import { rmSync } from 'node:fs'
import { lookup } from 'node:dns/promises'
import { getSystemErrorName } from 'node:util'
import { firstReserved } from './descriptors.ts'
import type { ListenAddress, Listener, SocketAddress, Stream } from './io.ts'
import { BACKLOG, clearUnixPath, listenError, maskOf, socketAddress } from './node-sockets.ts'
import {
  Domain,
  inetAddress,
  type InetAddress,
  readInetAddress,
  readUnixPath,
  SOCKET_ADDRESS_BYTES_MAX,
  unixAddress,
} from './socket-address.ts'
import type { RingCalls } from './ring-calls.ts'
import { Opcode } from './uring-abi.ts'
import type { Entry, RingUser } from './uring-entry.ts'
import type { Ring } from './uring-ring.ts'
import { type RingSockets, UringStream } from './uring-stream.ts'

const SOCK_STREAM = 1
const SOCK_CLOEXEC = 0o2000000
const SOL_SOCKET = 1
const SO_REUSEADDR = 2
const SO_KEEPALIVE = 9
const IPPROTO_TCP = 6
const TCP_NODELAY = 1
const TCP_KEEPIDLE = 4
const ENFILE = 23
const EMFILE = 24
const F_GETFL = 3
const F_SETFL = 4
const O_NONBLOCK = 0o4000

/** A client that vanished without a word is noticed after some minutes. */
const KEEP_ALIVE_S = 60

/** After a failed accept (too many open files, say): those who are connected go on. */
const RETRY_MS = 100

/** Accepts connections on `address`; each is given to `accept`, which starts it. */
export async function listenOnRing(
  sockets: RingSockets,
  wanted: ListenAddress,
  accept: (stream: Stream) => void,
  refused: (remote: string) => void = () => {},
): Promise<Listener> {
  const address = socketAddress(wanted)
  const { calls } = sockets
  if (address.kind === 'unix') await clearUnixPath(address.path)
  const host = address.kind === 'tcp' ? await resolve(address) : ''
  const fd = address.kind === 'fd' ? inherit(calls, address) : bound(calls, address, host)
  const listener = new UringListener(sockets, fd, addressOf(calls, fd, address), {
    accept,
    refused,
  })
  listener.ownsPath = address.kind === 'unix'
  listener.open()
  return listener
}

async function resolve(address: SocketAddress & { kind: 'tcp' }): Promise<string> {
  try {
    return (await lookup(address.host)).address
  } catch (error) {
    throw listenError(address, error as NodeJS.ErrnoException)
  }
}

function inherit(calls: RingCalls, address: SocketAddress & { kind: 'fd' }): number {
  const flags = calls.fcntl(address.fd, F_GETFL, 0)
  check(flags, 'fcntl', address)
  // The ring waits for what blocks, and only for that.
  calls.fcntl(address.fd, F_SETFL, flags & ~O_NONBLOCK)
  check(calls.listen(address.fd, BACKLOG), 'listen', address)
  return address.fd
}

function bound(
  calls: RingCalls,
  address: Exclude<SocketAddress, { kind: 'fd' }>,
  host: string,
): number {
  const isUnix = address.kind === 'unix'
  const place = isUnix ? unixAddress(address.path) : inetAddress(host, address.port)
  const fd = calls.socket(place[0], SOCK_STREAM | SOCK_CLOEXEC)
  check(fd, 'socket', address)
  if (!isUnix) calls.setOption(fd, SOL_SOCKET, SO_REUSEADDR, 1)
  // The socket file is created inside `bind`, so nobody else's files get this mask.
  const mask = isUnix ? process.umask(maskOf(address)) : null
  try {
    check(calls.bind(fd, place), 'bind', address)
    check(calls.listen(fd, BACKLOG), 'listen', address)
  } catch (error) {
    calls.close(fd)
    throw error
  } finally {
    if (mask !== null) process.umask(mask)
  }
  return fd
}

function check(result: number, call: string, address: SocketAddress): void {
  if (result >= 0) return
  const code = getSystemErrorName(result)
  const error = Object.assign(new Error(`${call} ${code}`), { code, errno: result, syscall: call })
  throw listenError(address, error)
}

function addressOf(calls: RingCalls, fd: number, wanted: SocketAddress): SocketAddress {
  const bytes = new Uint8Array(new ArrayBuffer(SOCKET_ADDRESS_BYTES_MAX))
  const length = new Uint32Array(new ArrayBuffer(4)).fill(bytes.length)
  if (calls.localAddress(fd, bytes, length) < 0) return wanted
  if (bytes[0] === Domain.UNIX) {
    const path = readUnixPath(bytes)
    return path === '' ? wanted : { kind: 'unix', path }
  }
  const found = readInetAddress(bytes)
  return found === null ? wanted : { kind: 'tcp', ...found }
}

interface Callers {
  readonly accept: (stream: Stream) => void
  readonly refused: (remote: string) => void
}

class UringListener implements Listener, RingUser {
  readonly address: SocketAddress
  /** The socket file is ours to remove. */
  ownsPath = false
  readonly #ring: Ring
  readonly #calls: RingCalls
  readonly #fd: number
  readonly #sockets: RingSockets
  readonly #callers: Callers
  /** The first descriptor that is not for connections. */
  readonly #reserved = firstReserved()
  /** Of the peer, and how much of it there is. */
  readonly #peer = new Uint8Array(new ArrayBuffer(SOCKET_ADDRESS_BYTES_MAX))
  readonly #peerLength = new Uint32Array(new ArrayBuffer(4))
  readonly #peerAddress: number
  readonly #peerLengthAddress: number
  #retry: NodeJS.Timeout | null = null
  #closing: Promise<void> | null = null
  #onClosed: (() => void) | null = null

  constructor(sockets: RingSockets, fd: number, address: SocketAddress, callers: Callers) {
    const { ring, calls } = sockets
    this.#sockets = sockets
    this.address = address
    this.#ring = ring
    this.#calls = calls
    this.#fd = fd
    this.#callers = callers
    this.#peerAddress = calls.addressOf(this.#peer)
    this.#peerLengthAddress = calls.addressOf(this.#peerLength)
  }

  open(): void {
    this.#retry = null
    this.#ring.start(this)
  }

  close(): Promise<void> {
    this.#closing ??= new Promise((resolve) => {
      this.#onClosed = resolve
      if (this.#retry === null) return this.#ring.start(new Cancel(this.#ring, this))
      clearTimeout(this.#retry)
      this.#shut()
    })
    return this.#closing
  }

  prepare(entry: Entry): void {
    this.#peer.fill(0)
    this.#peerLength[0] = this.#peer.length
    const length = this.#peerLengthAddress
    entry.set(Opcode.ACCEPT, this.#fd, this.#peerAddress, 0, length, SOCK_CLOEXEC)
  }

  completed(result: number): void {
    if (this.#onClosed !== null) {
      if (result >= 0) this.#calls.close(result)
      return this.#shut()
    }
    if (result < 0) {
      if (result === -EMFILE || result === -ENFILE) this.#callers.refused('')
      this.#retry = setTimeout(() => this.open(), RETRY_MS)
      return
    }
    this.#ring.start(this)
    const peer = readInetAddress(this.#peer)
    const remote = this.#describe(peer)
    if (result >= this.#reserved) {
      this.#calls.close(result)
      return this.#callers.refused(remote)
    }
    this.#tune(result, peer)
    this.#callers.accept(new UringStream(this.#sockets, result, remote))
  }

  #tune(fd: number, peer: InetAddress | null): void {
    const calls = this.#calls
    if (peer === null) {
      this.#sockets.sender.enlarge(fd)
      return
    }
    calls.setOption(fd, IPPROTO_TCP, TCP_NODELAY, 1)
    calls.setOption(fd, SOL_SOCKET, SO_KEEPALIVE, 1)
    calls.setOption(fd, IPPROTO_TCP, TCP_KEEPIDLE, KEEP_ALIVE_S)
  }

  #describe(peer: InetAddress | null): string {
    const { address } = this
    if (peer === null) return address.kind === 'unix' ? `unix:${address.path}` : 'unix'
    const { host, port } = peer
    return host.includes(':') ? `[${host}]:${port}` : `${host}:${port}`
  }

  #shut(): void {
    this.#calls.close(this.#fd)
    try {
      if (this.ownsPath && this.address.kind === 'unix') rmSync(this.address.path, { force: true })
    } catch {
      // Its directory is root's, and we are not any more: the next server replaces it.
    }
    this.#onClosed?.()
  }
}

/** Stops what a user of the ring has under way; that one is told, we are not interested. */
class Cancel implements RingUser {
  readonly #ring: Ring
  readonly #user: RingUser

  constructor(ring: Ring, user: RingUser) {
    this.#ring = ring
    this.#user = user
  }

  prepare(entry: Entry): void {
    entry.set(Opcode.ASYNC_CANCEL, -1, this.#ring.nameOf(this.#user), 0, 0, 0)
  }

  completed(): void {}
}
