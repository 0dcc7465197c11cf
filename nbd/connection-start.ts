/** What a handshake begins with: all that is known before the first byte. */
import type { Stream } from '../io/io.ts'
import type { ConnectionSettings } from './connection-settings.ts'
import { EntryExports } from './entry-exports.ts'
import { type NegotiationSettings, TlsMode } from './negotiation.ts'
import { peerTls } from './peer.ts'

/** A WebSocket has its TLS below it, or none; and its request has said what it is for. */
export function startOf(
  stream: Stream,
  { exports, policy, tls }: ConnectionSettings,
): NegotiationSettings {
  const { remote: address, entry } = stream
  const peer = { address, ...stream.credentials?.(), tls: null }
  if (entry === undefined) return { exports, policy, tls: tls?.mode ?? TlsMode.OFF, peer }
  const { identity } = entry
  const proven = identity === null ? null : peerTls(identity)
  return { exports: new EntryExports(exports, entry), policy, peer: { ...peer, tls: proven } }
}
