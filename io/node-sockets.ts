/**
 * Listening with `node:net`: TCP, unix sockets, and sockets inherited from the parent process.
 * What happens on a connection is in `node-stream.ts`.
 *
 * Unix sockets are created for their owner only. One left behind by a dead server is replaced; a
 * living server, or a file of another kind, is never touched.
 */
import { lstatSync, rmSync } from 'node:fs'
import { createConnection, createServer } from 'node:net'
import type { ListenOptions, Server, Socket } from 'node:net'
import { setTimeout } from 'node:timers/promises'
import { firstReserved } from './descriptors.ts'
import type { ListenAddress, Listener, SocketAddress, Stream } from './io.ts'
import { descriptorOf, NodeStream } from './node-stream.ts'
import type { SocketSend } from './socket-send.ts'

/** Connections the kernel accepts for us while we are busy. */
export const BACKLOG = 511

/** Of a unix socket: for its owner only. */
const SOCKET_MODE = 0o700

/** So long a listening socket may outlive its process; then it has another. */
const DYING_MS_MAX = 2000
const DYING_STEP_MS = 20

/** `sun_path` has 108 bytes, one of them for the NUL. */
const UNIX_PATH_BYTES_MAX = 107

/** What went wrong while starting to listen; `code` is Node's or one of ours. */
export class ListenError extends Error {
  readonly code: string

  constructor(code: string, message: string, cause?: unknown) {
    super(message, { cause })
    this.code = code
  }
}

/** Accepts connections on `address`; each is given to `accept`, which starts it. */
export async function listen(
  address: ListenAddress,
  accept: (stream: Stream) => void,
  refused: (remote: string) => void = ignore,
  sender: SocketSend | null = null,
): Promise<Listener> {
  const place = socketAddress(address)
  const wrap = (socket: Socket, remote: string): void =>
    accept(new NodeStream(socket, remote, sender))
  const server = await listenForSockets(place, wrap, refused)
  return {
    address: addressOf(server, place),
    close: () => new Promise((resolve) => server.close(() => resolve())),
  }
}

/** The part of it that knows nothing of streams. @param accept gets sockets that are paused */
export async function listenForSockets(
  address: SocketAddress,
  accept: (socket: Socket, remote: string) => void,
  refused: (remote: string) => void,
): Promise<Server> {
  if (address.kind === 'unix') await clearUnixPath(address.path)
  const reserved = firstReserved()
  const server = createServer({ pauseOnConnect: true, allowHalfOpen: true }, (socket) => {
    const remote = remoteOf(socket, address)
    if (descriptorOf(socket) < reserved) return accept(socket, remote)
    socket.destroy()
    refused(remote)
  })
  await start(server, address)
  // Accepting may fail for a moment; those who are connected are not concerned. Where the last
  // descriptor is taken Node closes newcomers itself and tells nobody.
  return server.on('error', ignore)
}

/** @throws ListenError for anything but a socket, which is all that engines know */
export function socketAddress(address: ListenAddress): SocketAddress {
  if (address.kind !== 'ws' && address.kind !== 'dial') return address
  throw new ListenError('NO_WEBSOCKETS', 'an engine alone knows no WebSockets: withWebSockets does')
}

/** A stale socket file is removed; one that somebody listens on, or any other file, is an error. */
export async function clearUnixPath(path: string): Promise<void> {
  const bytes = Buffer.byteLength(path)
  if (bytes > UNIX_PATH_BYTES_MAX) {
    const limit = `a path of ${bytes} bytes, the system allows ${UNIX_PATH_BYTES_MAX}`
    throw new ListenError(
      'SOCKET_PATH_TOO_LONG',
      `unix socket ${path}: ${limit}; use a shorter one`,
    )
  }
  const found = lstatSync(path, { throwIfNoEntry: false })
  if (found === undefined) return
  if (!found.isSocket()) {
    const problem = 'a file is there that is not a socket; remove it or choose another path'
    throw new ListenError('SOCKET_PATH_TAKEN', `unix socket ${path}: ${problem}`)
  }
  if (await isListening(path)) {
    const problem = 'in use, a server listens there; stop it or choose another path'
    throw new ListenError('EADDRINUSE', `unix socket ${path}: ${problem}`)
  }
  rmSync(path, { force: true })
}

/**
 * Only a refused connection proves that nobody listens. The kernel takes an io_uring apart when its
 * process has ended already, and connects clients until then: who says nothing is asked again.
 */
async function isListening(path: string): Promise<boolean> {
  const end = performance.now() + DYING_MS_MAX
  for (;;) {
    const answer = await probe(path, end - performance.now())
    if (answer !== 'connected') return answer === 'alive'
    if (performance.now() >= end) return true
    await setTimeout(DYING_STEP_MS)
  }
}

/** An NBD server speaks first. */
function probe(path: string, timeout: number): Promise<'alive' | 'connected' | 'refused'> {
  return new Promise((resolve) => {
    const socket = createConnection({ path, timeout: Math.max(1, timeout) })
    const end = (answer: 'alive' | 'connected' | 'refused') => (): void => {
      socket.destroy()
      resolve(answer)
    }
    socket
      .once('data', end('alive'))
      .once('timeout', end('connected'))
      .once('end', end('connected'))
    socket.once('error', ({ code }: NodeJS.ErrnoException) => {
      if (code === 'ECONNREFUSED' || code === 'ENOENT') end('refused')()
      else end(code === 'ECONNRESET' || code === 'EPIPE' ? 'connected' : 'alive')()
    })
  })
}

function start(server: Server, address: SocketAddress): Promise<void> {
  return new Promise((resolve, reject) => {
    server.once('error', (error: NodeJS.ErrnoException) => reject(listenError(address, error)))
    server.once('listening', () => {
      server.removeAllListeners('error')
      resolve()
    })
    // The socket file is created inside `listen`, so nobody else's files get this mask.
    const mask = address.kind === 'unix' ? process.umask(maskOf(address)) : null
    try {
      server.listen(listenOptions(address))
    } finally {
      if (mask !== null) process.umask(mask)
    }
  })
}

/** Taken from all bits, it leaves the mode of a socket. */
export function maskOf({ mode = SOCKET_MODE }: { readonly mode?: number }): number {
  return 0o777 & ~mode
}

function listenOptions(address: SocketAddress): ListenOptions & { readonly fd?: number } {
  if (address.kind === 'unix') return { path: address.path, backlog: BACKLOG }
  if (address.kind === 'fd') return { fd: address.fd }
  return { host: address.host, port: address.port, backlog: BACKLOG }
}

export function listenError(address: SocketAddress, cause: NodeJS.ErrnoException): ListenError {
  const code = cause.code ?? 'LISTEN_FAILED'
  const reason = REASONS.get(code) ?? cause.message
  return new ListenError(code, `cannot listen on ${describe(address)}: ${reason}`, cause)
}

const REASONS: ReadonlyMap<string, string> = new Map([
  ['EADDRINUSE', 'another program uses it; stop that one or choose another address'],
  ['EADDRNOTAVAIL', 'this machine does not have that address'],
  ['EACCES', 'permission denied'],
  ['ENOENT', 'its directory does not exist'],
  ['ENOTFOUND', 'no address is known for that name'],
])

function describe(address: SocketAddress): string {
  if (address.kind === 'unix') return `unix socket ${address.path}`
  if (address.kind === 'fd') return `inherited socket ${address.fd}`
  return `${address.host} port ${address.port}`
}

export function addressOf(server: Server, wanted: SocketAddress): SocketAddress {
  const bound = server.address()
  if (typeof bound === 'string') return { kind: 'unix', path: bound }
  return bound === null ? wanted : { kind: 'tcp', host: bound.address, port: bound.port }
}

function remoteOf(socket: Socket, address: SocketAddress): string {
  const { remoteAddress, remotePort } = socket
  if (remoteAddress === undefined) return address.kind === 'unix' ? `unix:${address.path}` : 'unix'
  return remoteAddress.includes(':')
    ? `[${remoteAddress}]:${remotePort}`
    : `${remoteAddress}:${remotePort}`
}

function ignore(): void {}
