/** The options of `serve` that limit its clients. */
import { InvalidArgumentError, Option } from 'commander'
import { firstReserved } from '../io/descriptors.ts'
import { CONNECTIONS_MAX, CONNECTIONS_PER_ADDRESS_MAX, HANDSHAKE_MS_MAX } from '../nbd/limits.ts'
import type { Log } from '../nbd/log.ts'
import type { ServerLimits } from '../nbd/server-limits.ts'

export interface LimitOptions {
  readonly maxConnections: number
  readonly maxConnectionsPerAddress: number
  readonly maxConnectionsPerExport: number
  /** Milliseconds, as the next one. */
  readonly handshakeTimeout: number
  readonly idleTimeout: number
}

/** What the server itself has open, and then some. */
const OWN_DESCRIPTORS = 32

/** Longest time a timer can wait. */
const TIMEOUT_MS_MAX = 2 ** 31 - 1

export function limitOptions(): Option[] {
  return [
    new Option('--max-connections <N>', 'clients at once, as far as "ulimit -n" goes')
      .argParser(countArgument)
      .default(CONNECTIONS_MAX),
    new Option('--max-connections-per-address <N>', 'of one address, or IPv6 network of 64 bits')
      .argParser(countArgument)
      .default(CONNECTIONS_PER_ADDRESS_MAX),
    new Option('--max-connections-per-export <N>', 'of one export')
      .argParser(countArgument)
      .default(CONNECTIONS_MAX),
    new Option('--handshake-timeout <SECONDS>', 'for a client to choose its export')
      .argParser(positiveSecondsArgument)
      .default(HANDSHAKE_MS_MAX, `${HANDSHAKE_MS_MAX / 1000}`),
    new Option('--idle-timeout <SECONDS>', 'cut off clients with whom nothing happens; 0: never')
      .argParser(secondsArgument)
      .default(0, '0'),
  ]
}

function countArgument(text: string): number {
  const count = /^\d{1,15}$/.test(text) ? Number(text) : 0
  if (count > 0) return count
  throw new InvalidArgumentError('It must be a whole number above 0.')
}

/** @returns milliseconds */
function secondsArgument(text: string): number {
  const milliseconds = /^\d+(\.\d{1,3})?$/.test(text) ? Math.round(Number(text) * 1000) : NaN
  if (milliseconds <= TIMEOUT_MS_MAX) return milliseconds
  const most = Math.floor(TIMEOUT_MS_MAX / 1000)
  throw new InvalidArgumentError(`It must be a number of seconds, at most ${most}.`)
}

function positiveSecondsArgument(text: string): number {
  const milliseconds = secondsArgument(text)
  if (milliseconds > 0) return milliseconds
  throw new InvalidArgumentError('It must be above 0.')
}

/**
 * @param descriptors the limit of this process
 * @param chunkFiles how many of these its disks may use
 */
export function serverLimits(
  options: LimitOptions,
  descriptors: number,
  chunkFiles: number,
  log: Log,
): ServerLimits {
  const fitting = Math.max(1, firstReserved(descriptors) - chunkFiles - OWN_DESCRIPTORS)
  const wanted = options.maxConnections
  if (fitting < wanted) {
    const what = 'the limit of open files is low: fewer connections are taken (ulimit -n)'
    log.warn({ limit: descriptors, connections: fitting, wanted }, what)
  }
  return {
    connections: Math.min(wanted, fitting),
    connectionsPerAddress: options.maxConnectionsPerAddress,
    connectionsPerExport: options.maxConnectionsPerExport,
    handshakeMs: options.handshakeTimeout,
    idleMs: options.idleTimeout,
  }
}
