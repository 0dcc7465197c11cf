/**
 * Connects to a WebSocket server, and again whenever the connection has ended, with waits that
 * grow and are never the same. Each connection is a `WebSocketStream`, as if it had been accepted.
 *
 *   dialling ─▶ connected ─▶ ended ─┐
 *      ▲   └── failed ──▶ waiting ◀─┘
 *      └────────────────────┘
 */
import type { IncomingMessage } from 'node:http'
import { setTimeout as startTimer } from 'node:timers'
import { setTimeout } from 'node:timers/promises'
import { WebSocket } from 'ws'
import type { ListenAddress, Listener, Stream } from './io.ts'
import { WebSocketGroup } from './ws-group.ts'
import {
  WS_HANDSHAKE_MS_MAX,
  WS_HEADER_BYTES_MAX,
  WS_RETRY_MS_MAX,
  WS_RETRY_MS_MIN,
  WS_STABLE_MS,
} from './ws-limits.ts'
import { WEBSOCKET_OPTIONS } from './ws-listener.ts'
import { WebSocketStream } from './ws-stream.ts'

/** How a server is reached, and what is shown to it. */
export interface WebSocketTarget {
  readonly url: string
  /** Sent with the request; `Sec-WebSocket-Protocol` among them are the subprotocols. */
  readonly headers: ReadonlyMap<string, string>
  /** PEM: who signs the server's certificate; null: whom Node trusts. */
  readonly authority: string | null
  /** PEM: our own certificate and its key, or null. */
  readonly certificate: { readonly certificate: string; readonly key: string } | null
  /** False: the server may be anybody. */
  readonly verify: boolean
}

/** Tells what happens, for the log. */
export interface DialReports {
  connected(url: string, remote: string): void
  /** @param waitMs until the next attempt */
  failed(url: string, reason: string, waitMs: number): void
}

export interface DialSettings {
  /** Read anew for each attempt. @throws if the files behind it are of no use */
  readonly target: (url: string) => Promise<WebSocketTarget>
  readonly reports: DialReports
  /** Default: `WS_RETRY_MS_MIN`. */
  readonly retryMs?: number
  /** Default: `WS_PING_MS`. */
  readonly pingMs?: number
}

/** Never fails: a server that is not there yet is waited for. */
export function dialWebSocket(
  address: ListenAddress & { readonly kind: 'dial' },
  settings: DialSettings,
  accept: (stream: Stream) => void,
): Listener {
  return new Dialer(address, settings, accept)
}

/** One connection. @throws Error that says in words why there is none */
export function connectWebSocket(
  target: WebSocketTarget,
  exportName: string,
  group: WebSocketGroup,
  signal?: AbortSignal,
): Promise<WebSocketStream> {
  return new Promise((resolve, reject) => {
    const webSocket = open(target)
    const abort = (): void => webSocket.terminate()
    const timer = startTimer(abort, WS_HANDSHAKE_MS_MAX)
    if (signal?.aborted === true) abort()
    signal?.addEventListener('abort', abort)
    const settled = (): void => {
      clearTimeout(timer)
      signal?.removeEventListener('abort', abort)
    }
    let answer: IncomingMessage | null = null
    webSocket.once('upgrade', (response) => (answer = response))
    webSocket.once('open', () => {
      settled()
      if (answer === null) return reject(new Error('open without an answer'))
      const { socket } = answer
      const remote = describe(socket.remoteAddress, socket.remotePort)
      const entry = { defaultExport: exportName, exports: null, identity: null }
      resolve(new WebSocketStream(webSocket, socket, remote, entry, group))
    })
    webSocket.on('error', (error) => {
      settled()
      reject(explained(error))
    })
  })
}

/** `ws` tells of an answer that is no upgrade by its number alone. */
function explained(error: Error): Error {
  const status = /^Unexpected server response: (\d+)$/.exec(error.message)?.[1]
  if (status === undefined) return error
  const meaning = MEANINGS.get(status)
  return new Error(`the server answers ${status}${meaning === undefined ? '' : `: ${meaning}`}`)
}

const MEANINGS: ReadonlyMap<string, string> = new Map([
  ['401', 'it wants credentials, or others; they go into the file of headers'],
  ['403', 'it does not let us in'],
  ['404', 'it has nothing at this path'],
])

function open({ url, headers, authority, certificate, verify }: WebSocketTarget): WebSocket {
  const others = [...headers].filter(([name]) => name.toLowerCase() !== SUBPROTOCOL)
  const subprotocols = [...headers]
    .filter(([name]) => name.toLowerCase() === SUBPROTOCOL)
    .flatMap(([, value]) => value.split(',').map((each) => each.trim()))
  return new WebSocket(url, subprotocols, {
    ...WEBSOCKET_OPTIONS,
    headers: Object.fromEntries(others),
    maxHeaderSize: WS_HEADER_BYTES_MAX,
    followRedirects: false,
    rejectUnauthorized: verify,
    minVersion: 'TLSv1.2',
    ...(authority !== null && { ca: authority }),
    ...(certificate !== null && { cert: certificate.certificate, key: certificate.key }),
  })
}

const SUBPROTOCOL = 'sec-websocket-protocol'

function describe(address: string | undefined, port: number | undefined): string {
  if (address === undefined) return 'nobody'
  return address.includes(':') ? `[${address}]:${port}` : `${address}:${port}`
}

class Dialer implements Listener {
  readonly address: ListenAddress & { readonly kind: 'dial' }
  readonly #settings: DialSettings
  readonly #accept: (stream: Stream) => void
  readonly #group: WebSocketGroup
  readonly #stop = new AbortController()

  constructor(
    address: ListenAddress & { readonly kind: 'dial' },
    settings: DialSettings,
    accept: (stream: Stream) => void,
  ) {
    this.address = address
    this.#settings = settings
    this.#accept = accept
    this.#group = new WebSocketGroup(settings.pingMs)
    void this.#run()
  }

  async close(): Promise<void> {
    this.#group.leave()
    this.#stop.abort()
  }

  async #run(): Promise<void> {
    const { signal } = this.#stop
    for (let failures = 0; !signal.aborted; failures++) {
      const start = performance.now()
      const reason = await this.#attempt()
      if (signal.aborted) return
      if (performance.now() - start > WS_STABLE_MS) failures = 0
      const waitMs = this.#wait(failures)
      this.#settings.reports.failed(this.address.url, reason, Math.round(waitMs))
      await setTimeout(waitMs, null, { signal }).catch(() => {})
    }
  }

  /** @returns why it ended */
  async #attempt(): Promise<string> {
    const { url, exportName } = this.address
    const { signal } = this.#stop
    try {
      const target = await this.#settings.target(url)
      const stream = await connectWebSocket(target, exportName, this.#group, signal)
      this.#settings.reports.connected(url, stream.remote)
      this.#accept(stream)
      return (await stream.over)?.message ?? 'the connection has ended'
    } catch (error) {
      return (error as Error).message
    }
  }

  /** Between half of it and all of it, so that many of us do not come back together. */
  #wait(failures: number): number {
    const { retryMs = WS_RETRY_MS_MIN } = this.#settings
    const longest = Math.min(WS_RETRY_MS_MAX, retryMs * 2 ** Math.min(failures, 30))
    return longest * (0.5 + Math.random() / 2)
  }
}
