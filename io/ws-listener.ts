/**
 * Listens for WebSockets: sockets of Node, TLS on them if wanted, the HTTP request, the upgrade.
 *
 *   accepted ─▶ (TLS) ─▶ request ─▶ judged ─▶ upgraded: a `WebSocketStream`
 *      └── deadline ───────────────┘    └── refused, with a status that says why
 *
 * Until it is upgraded a connection has one deadline for everything and is one of few; after that
 * it is the connection's user who limits it. Whoever asks for a page is told that there is none.
 */
import { createServer, type IncomingMessage, type Server, STATUS_CODES } from 'node:http'
import type { Server as SocketServer, Socket } from 'node:net'
import type { Duplex } from 'node:stream'
import { WebSocketServer } from 'ws'
import type { ListenAddress, Listener, Stream } from './io.ts'
import { addressOf, listenForSockets } from './node-sockets.ts'
import type { TlsContext } from './tls-context.ts'
import { type GateSettings, judge, type Requester, type Verdict } from './ws-gate.ts'
import { WebSocketGroup } from './ws-group.ts'
import {
  WS_CHUNKS_MAX,
  WS_CLOSE_MS_MAX,
  WS_FRAGMENTS_MAX,
  WS_HANDSHAKE_MS_MAX,
  WS_HEADER_BYTES_MAX,
  WS_MESSAGE_BYTES_MAX,
  WS_PENDING_MAX,
} from './ws-limits.ts'
import { WebSocketStream } from './ws-stream.ts'

/** A client that vanished without a word is noticed, also where no pings are sent. */
const KEEP_ALIVE_MS = 60_000

/** For every WebSocket of ours, on either side. */
export const WEBSOCKET_OPTIONS = {
  perMessageDeflate: false,
  skipUTF8Validation: true,
  closeTimeout: WS_CLOSE_MS_MAX,
  maxPayload: WS_MESSAGE_BYTES_MAX,
  maxFragments: WS_FRAGMENTS_MAX,
  maxBufferedChunks: WS_CHUNKS_MAX,
  autoPong: false,
} as const

export interface WebSocketListenSettings extends GateSettings {
  /** For wss. */
  readonly tls: TlsContext | null
  /** Default: `WS_PING_MS`. */
  readonly pingMs?: number
  /** Default: `WS_HANDSHAKE_MS_MAX`. */
  readonly handshakeMs?: number
  /** Default: `WS_INCOMPLETE_BYTES_MAX`. */
  readonly incompleteBytesMax?: number
  /** Somebody was not let in. */
  readonly refused: (remote: string, reason: string) => void
}

export async function listenForWebSockets(
  address: ListenAddress & { readonly kind: 'ws' },
  settings: WebSocketListenSettings,
  accept: (stream: Stream) => void,
  refused: (remote: string) => void = ignore,
): Promise<Listener> {
  const listener = new WebSocketListener(address, settings, accept)
  await listener.open(refused)
  return listener
}

/** One that is not upgraded yet. */
interface Pending extends Requester {
  readonly socket: Socket
}

interface Waiting {
  readonly timer: NodeJS.Timeout
  readonly drop: (reason: string) => void
}

class WebSocketListener implements Listener {
  address: ListenAddress
  readonly #settings: WebSocketListenSettings
  readonly #place: ListenAddress & { readonly kind: 'ws' }
  readonly #accept: (stream: Stream) => void
  readonly #group: WebSocketGroup
  /** Listens nowhere: it is handed its connections. */
  readonly #http: Server
  readonly #webSockets: WebSocketServer
  /** Sockets as accepted, the oldest first, each with what drops it. */
  readonly #waiting = new Map<Socket, Waiting>()
  /** What is known of those that speak HTTP, by what they speak it on. */
  readonly #known = new WeakMap<Duplex, Pending>()
  #server: SocketServer | null = null

  constructor(
    address: ListenAddress & { readonly kind: 'ws' },
    settings: WebSocketListenSettings,
    accept: (stream: Stream) => void,
  ) {
    this.address = this.#place = address
    this.#settings = settings
    this.#accept = accept
    this.#group = new WebSocketGroup(settings.pingMs, settings.incompleteBytesMax)
    this.#webSockets = new WebSocketServer({
      ...WEBSOCKET_OPTIONS,
      noServer: true,
      clientTracking: false,
      handleProtocols: (_, request) => {
        const verdict = this.#judge(request, request.socket)
        return (verdict?.kind === 'in' ? verdict.subprotocol : null) ?? false
      },
    })
    this.#http = createServer({ maxHeaderSize: WS_HEADER_BYTES_MAX })
    this.#http.on('request', (request, response) => {
      const verdict = this.#judge(request, request.socket)
      const status = verdict?.kind === 'out' ? verdict.status : 426
      response.writeHead(status, headersOf(status)).end(bodyOf(status))
    })
    this.#http.on('upgrade', (request, socket, head) => this.#upgrade(request, socket, head))
  }

  /** @param refused see `Io.listen` */
  async open(refused: (remote: string) => void): Promise<void> {
    const { secure, at } = this.#place
    const { tls } = this.#settings
    if (secure && tls === null) throw new Error('wss needs certificates')
    const begin = (socket: Socket, remote: string): void => {
      const drop = this.#wait(socket, remote)
      const peer = { socket, remote, identity: null }
      if (secure && tls !== null) this.#secure(tls, peer, drop)
      else this.#speakHttp(socket, peer)
    }
    const server = await listenForSockets(at, begin, refused)
    this.#server = server
    this.address = { ...this.#place, at: addressOf(server, at) }
  }

  async close(): Promise<void> {
    this.#group.leave()
    // Its callback would wait for those who are connected.
    this.#server?.close()
    for (const socket of this.#waiting.keys()) socket.destroy()
    await new Promise((resolve) => setImmediate(resolve))
  }

  /** @returns what drops it */
  #wait(socket: Socket, remote: string): Waiting['drop'] {
    if (this.#waiting.size >= WS_PENDING_MAX) {
      const [[, oldest]] = this.#waiting
      oldest.drop('too many connections wait for their upgrade')
    }
    let isDropped = false
    const drop = (reason: string): void => {
      if (!isDropped) this.#settings.refused(remote, reason)
      isDropped = true
      this.#waited(socket)
      socket.destroy()
    }
    const { handshakeMs = WS_HANDSHAKE_MS_MAX } = this.#settings
    const timer = setTimeout(() => drop('no upgrade in time'), handshakeMs)
    this.#waiting.set(socket, { timer, drop })
    socket.on('error', ignore)
    socket.once('close', () => this.#waited(socket))
    socket.setKeepAlive(true, KEEP_ALIVE_MS)
    socket.setNoDelay(true)
    return drop
  }

  #waited(socket: Socket): void {
    clearTimeout(this.#waiting.get(socket)?.timer)
    this.#waiting.delete(socket)
  }

  #secure(tls: TlsContext, peer: Pending, drop: Waiting['drop']): void {
    tls.handshake(peer.socket, {
      secured: (secured, identity) => {
        secured.on('error', ignore)
        this.#speakHttp(secured, { ...peer, identity })
      },
      failed: (reason) => drop(`no TLS: ${reason.message}`),
    })
  }

  #speakHttp(carrier: Duplex, known: Pending): void {
    this.#known.set(carrier, known)
    this.#http.emit('connection', carrier)
    carrier.resume()
  }

  #judge(request: IncomingMessage, carrier: Duplex): Verdict | null {
    const known = this.#known.get(carrier)
    return known === undefined ? null : judge(request, known, this.#settings)
  }

  #upgrade(request: IncomingMessage, carrier: Duplex, head: Buffer): void {
    const known = this.#known.get(carrier)
    if (known === undefined || this.#group.isGoingAway) return void carrier.destroy()
    const verdict = judge(request, known, this.#settings)
    if (verdict.kind === 'out') return this.#refuse(carrier, known, verdict)
    const { remote, identity, socket } = known
    const { defaultExport, exports } = verdict
    const entry = { defaultExport, exports, identity }
    // What is wrong with the request beyond that, `ws` answers.
    this.#webSockets.handleUpgrade(request, carrier, head, (webSocket) => {
      this.#waited(socket)
      this.#accept(new WebSocketStream(webSocket, carrier, remote, entry, this.#group))
    })
  }

  #refuse(carrier: Duplex, { remote }: Pending, verdict: Verdict & { kind: 'out' }): void {
    const { status, reason } = verdict
    this.#settings.refused(remote, reason)
    const lines = Object.entries(headersOf(status)).map(([name, value]) => `${name}: ${value}`)
    const head = [`HTTP/1.1 ${status} ${STATUS_CODES[status]}`, ...lines, '', ''].join('\r\n')
    carrier.on('error', ignore)
    carrier.end(head + bodyOf(status), () => carrier.destroy())
  }
}

function bodyOf(status: number): string {
  return `${status} ${STATUS_CODES[status]}: this is an NBD server for WebSockets\n`
}

function headersOf(status: number): Record<string, string> {
  return {
    'Content-Type': 'text/plain',
    'Content-Length': String(bodyOf(status).length),
    ...(status === 426 && { Upgrade: 'websocket' }),
    ...(status === 401 && { 'WWW-Authenticate': 'Bearer' }),
    Connection: status === 426 ? 'Upgrade, close' : 'close',
  }
}

function ignore(): void {}
