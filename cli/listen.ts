/** Where a server listens: what it was told, what it was given, or the default address. */
import type { ListenAddress } from '../io/io.ts'
import { formatWebSocketUrl } from '../io/ws-url.ts'
import { TlsMode } from '../nbd/negotiation.ts'
import { PORT_DEFAULT } from '../nbd/protocol.ts'
import type { Server } from '../nbd/server.ts'
import { formatUri } from '../nbd/uri.ts'
import { TLS_DEFAULTS } from '../nbd/uri-tls.ts'
import type { Exports } from './exports.ts'
import type { Logger } from './logger.ts'
import { giveSocket, type Worker } from './privileges.ts'
import type { ServeOptions } from './serve-options.ts'
import { inheritedSockets, unixSocketPath } from './systemd.ts'

const DEFAULT_ADDRESS: ListenAddress = { kind: 'tcp', host: '127.0.0.1', port: PORT_DEFAULT }

/** @returns the URI of each export at each address */
export async function listenAll(
  server: Server,
  exports: Exports,
  mode: TlsMode,
  options: ServeOptions,
  worker: Worker | null,
  log: Logger,
): Promise<string[]> {
  const inherited = inheritedSockets(process.env)
  const wanted: ListenAddress[] = inherited.map((fd) => ({ kind: 'fd', fd }))
  for (const uri of options.listen ?? []) wanted.push(uri.address)
  wanted.push(...(options.connect ?? []))
  if (wanted.length === 0) wanted.push(DEFAULT_ADDRESS)
  const lines: string[] = []
  for (const each of wanted) {
    const address = withPath(await server.listen(withMode(each, options.socketMode)))
    const socket = socketOf(each)
    if (worker !== null && socket.kind === 'unix') giveSocket(socket.path, worker)
    if (address.kind === 'fd') log.warn({ fd: address.fd }, 'no URI names this inherited socket')
    else lines.push(...urisAt(address, exports, mode))
  }
  return lines
}

function withMode(address: ListenAddress, mode: number | undefined): ListenAddress {
  if (mode === undefined) return address
  if (address.kind === 'unix') return { ...address, mode }
  if (address.kind === 'ws' && address.at.kind === 'unix') {
    return { ...address, at: { ...address.at, mode } }
  }
  return address
}

/** What is listened at in the end. */
function socketOf(address: ListenAddress): ListenAddress {
  return address.kind === 'ws' ? address.at : address
}

type Named = Exclude<ListenAddress, { readonly kind: 'fd' }>

/** Both kinds where clients may choose, the safe one first. No URI leads to where we dial. */
function urisAt(address: Named, exports: Exports, mode: TlsMode): string[] {
  const lines: string[] = []
  if (address.kind === 'dial') return lines
  for (const { name, access } of exports.settings()) {
    const isPlain = mode !== TlsMode.REQUIRE && !access.requireTls
    if (address.kind === 'ws') {
      if (address.secure || isPlain) lines.push(formatWebSocketUrl(address, name))
      continue
    }
    if (mode !== TlsMode.OFF) lines.push(formatUri(address, name, TLS_DEFAULTS))
    if (isPlain) lines.push(formatUri(address, name))
  }
  return lines
}

/** Node does not know where an inherited unix socket is bound. */
function withPath(address: ListenAddress): ListenAddress {
  const path = address.kind === 'fd' ? unixSocketPath(address.fd) : null
  return path === null ? address : { kind: 'unix', path }
}
