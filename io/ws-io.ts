/** An engine's `listen` that knows WebSockets too, those that come to us and those we dial. */
import type { Io } from './io.ts'
import { type DialSettings, dialWebSocket } from './ws-dialer.ts'
import { listenForWebSockets, type WebSocketListenSettings } from './ws-listener.ts'

export interface WebSocketSettings {
  readonly listen: WebSocketListenSettings
  readonly dial: DialSettings
}

/**
 * WebSockets are on Node's loop whatever the engine: `ws` and TLS want sockets of Node.
 * @param settings used for every address of these kinds
 */
export function withWebSockets(listen: Io['listen'], settings: WebSocketSettings): Io['listen'] {
  return async (address, accept, refused) => {
    if (address.kind === 'ws') return listenForWebSockets(address, settings.listen, accept, refused)
    if (address.kind === 'dial') return dialWebSocket(address, settings.dial, accept)
    return listen(address, accept, refused)
  }
}
