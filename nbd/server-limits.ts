/** What a server allows its clients in all. The limits of one connection are in `limits.ts`. */
import assert from 'node:assert/strict'

export interface ServerLimits {
  /** Connections at once, at least 1. */
  readonly connections: number
  /** Of these from one address, or one IPv6 network of 64 bits; unix sockets have no address. */
  readonly connectionsPerAddress: number
  /** Of these attached to one export. */
  readonly connectionsPerExport: number
  /** From being accepted to being attached, milliseconds. */
  readonly handshakeMs: number
  /**
   * Milliseconds without a byte in either direction and without a request at work, after which a
   * client is cut off; 0: never.
   */
  readonly idleMs: number
}

/** @throws if one of them is out of range */
export function checkLimits(limits: ServerLimits): void {
  const { connections, connectionsPerAddress, connectionsPerExport, handshakeMs, idleMs } = limits
  for (const count of [connections, connectionsPerAddress, connectionsPerExport]) {
    assert(count >= 1, 'a limit of connections is at least 1')
  }
  assert(handshakeMs >= 1 && idleMs >= 0, 'a limit of time is not negative')
}
