/** What a handshake begins with: all that is known before the first byte, and whom to ask. */
import type { Stream } from '../io/io.ts'
import type { ConnectionSettings } from './connection-settings.ts'
import { EntryExports } from './entry-exports.ts'
import { type NegotiationSettings, TlsMode } from './negotiation.ts'
import { peerTls } from './peer.ts'

/** A WebSocket has its TLS below it, or none; and its request has said what it is for. */
export function startOf(stream: Stream, settings: ConnectionSettings): NegotiationSettings {
  const { exports, policy, tls, admission, refusals, resources } = settings
  const { remote: address, entry } = stream
  const peer = { address, ...stream.credentials?.(), tls: null }
  const asked: Omit<NegotiationSettings, 'exports'> = {
    policy,
    mayAttach: (each) => admission.mayAttach(each, address),
    isMemoryScarce: () => resources.memory.isReceiveScarce,
    onRefused: (each, reason) => refusals.report(each, reason, address),
  }
  if (entry === undefined) return { ...asked, exports, tls: tls?.mode ?? TlsMode.OFF, peer }
  const { identity } = entry
  const proven = identity === null ? null : peerTls(identity)
  return { ...asked, exports: new EntryExports(exports, entry), peer: { ...peer, tls: proven } }
}
