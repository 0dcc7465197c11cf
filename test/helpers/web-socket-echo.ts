/** A WebSocket listener for tests whose streams send back what they get. */
import type { ExecutionContext } from 'ava'
import type { ListenAddress, SocketAddress } from '../../io/io.ts'
import { listenForWebSockets, type WebSocketListenSettings } from '../../io/ws-listener.ts'
import { Echo } from './echo.ts'
import { connect, type RawWebSocket, type RequestWishes } from './web-socket.ts'

export interface EchoService {
  readonly address: ListenAddress & { readonly kind: 'ws' }
  readonly port: number
  readonly echoes: readonly Echo[]
  /** Why somebody was not let in. */
  readonly refusals: readonly string[]
  /** The next client's far side. */
  accepted(): Promise<Echo>
  connect(wishes?: RequestWishes): Promise<RawWebSocket>
  close(): Promise<void>
}

const ANYWHERE: SocketAddress = { kind: 'tcp', host: '127.0.0.1', port: 0 }

export async function serveWebSocketEcho(
  t: ExecutionContext,
  wishes: Partial<WebSocketListenSettings> = {},
  at = ANYWHERE,
): Promise<EchoService> {
  const echoes: Echo[] = []
  const refusals: string[] = []
  const waiting: ((echo: Echo) => void)[] = []
  const settings: WebSocketListenSettings = {
    tls: null,
    origins: [],
    tokens: () => null,
    hasExport: (name) => name === 'disk',
    refused: (_, reason) => void refusals.push(reason),
    ...wishes,
  }
  const place = { kind: 'ws', secure: settings.tls !== null, at } as const
  const listener = await listenForWebSockets(place, settings, (stream) => {
    const echo = new Echo(stream)
    echoes.push(echo)
    waiting.shift()?.(echo)
  })
  t.teardown(() => listener.close())
  const address = listener.address as ListenAddress & { readonly kind: 'ws' }
  const port = address.at.kind === 'tcp' ? address.at.port : 0
  return {
    address,
    port,
    echoes,
    refusals,
    accepted: () => new Promise((resolve) => waiting.push(resolve)),
    connect: (request) => connect(t, { port, host: '127.0.0.1' }, request),
    close: () => listener.close(),
  }
}
