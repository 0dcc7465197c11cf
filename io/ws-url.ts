/**
 * URLs of WebSockets: where to listen, and what to dial.
 *
 *   ws://HOST[:PORT]/EXPORT       wss:// the same over TLS
 *   ws+unix:///EXPORT?socket=PATH     to listen only, for a proxy on the same machine
 *
 * To dial, the path is the other server's. A fragment, which no WebSocket URL has, stays here: it
 * names the export to offer there.
 */
import type { ListenAddress, SocketAddress } from './io.ts'

export interface WebSocketUrl {
  readonly address: ListenAddress & { readonly kind: 'ws' }
  /** '': the default one. */
  readonly exportName: string
}

const UNIX = 'ws+unix:'
const SCHEMES = ['ws:', 'wss:', UNIX]
const PORTS = { 'ws:': 80, 'wss:': 443 } as const

export function isWebSocketUrl(text: string): boolean {
  return /^wss?(?:\+unix)?:/i.test(text)
}

/** @throws Error with code WS_URL that says what to write */
export function parseWebSocketUrl(text: string): WebSocketUrl {
  const url = parse(text)
  if (url.hash !== '') throw urlError(text, 'write %23 for a "#"')
  const exportName = decode(text, url.pathname.slice(1))
  const secure = url.protocol === 'wss:'
  if (url.protocol !== UNIX && url.search !== '') throw urlError(text, 'leave out the "?"')
  return { address: { kind: 'ws', secure, at: placeOf(text, url) }, exportName }
}

/** What `dial` takes. @throws Error with code WS_URL that says what to write */
export function parseDialUrl(text: string): ListenAddress & { readonly kind: 'dial' } {
  const url = parse(text)
  if (url.protocol === UNIX) throw urlError(text, 'use ws:// or wss://')
  const exportName = decode(text, url.hash.slice(1))
  url.hash = ''
  return { kind: 'dial', url: url.href, exportName }
}

/** The exact URL: `parseWebSocketUrl` gives back what was put in. */
export function formatWebSocketUrl(
  { secure, at }: ListenAddress & { readonly kind: 'ws' },
  exportName: string,
): string {
  const name = encode(exportName)
  if (at.kind === 'unix') return `ws+unix:///${name}?socket=${encode(at.path)}`
  if (at.kind === 'fd') throw new Error('no URL names an inherited socket')
  const host = at.host.includes(':') ? `[${at.host}]` : at.host
  return `${secure ? 'wss' : 'ws'}://${host}:${at.port}/${name}`
}

/** Names that a URL would normalise (`a/../b`) cannot be written: they are refused, not changed. */
function parse(text: string): URL {
  let url: URL
  try {
    url = new URL(text)
  } catch {
    throw urlError(text, 'not a URL; write ws://HOST:PORT/ or wss://HOST:PORT/')
  }
  if (!SCHEMES.includes(url.protocol)) throw urlError(text, 'the scheme must be ws or wss')
  if (/\/\.{1,2}(?:[/?#]|$)/.test(text)) throw urlError(text, 'a name "." or ".." is impossible')
  if (url.username !== '' || url.password !== '') {
    throw urlError(url.protocol + '//…', 'a URL is seen by others: credentials belong in a file')
  }
  return url
}

function placeOf(text: string, url: URL): SocketAddress {
  if (url.protocol === UNIX) {
    const socket = /^\?socket=([^&]+)$/.exec(url.search)?.[1]
    if (url.host !== '' || socket === undefined) {
      throw urlError(text, 'write ws+unix:///?socket=PATH')
    }
    return { kind: 'unix', path: decode(text, socket) }
  }
  const port = url.port === '' ? PORTS[url.protocol as keyof typeof PORTS] : Number(url.port)
  if (url.hostname === '') throw urlError(text, 'the host is missing; use ws://localhost/')
  return { kind: 'tcp', host: url.hostname.replaceAll(/[[\]]/g, ''), port }
}

function decode(text: string, encoded: string): string {
  try {
    return decodeURIComponent(encoded)
  } catch {
    throw urlError(text, `"${encoded}" is no percent-encoded UTF-8; write %25 for a "%"`)
  }
}

function encode(part: string): string {
  return encodeURIComponent(part).replaceAll('%2F', '/')
}

function urlError(text: string, problem: string): Error {
  return Object.assign(new Error(`"${text}": ${problem}`), { code: 'WS_URL' })
}
