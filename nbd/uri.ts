/**
 * NBD URIs, as the NBD project's uri.md has them:
 *
 *   nbd://HOST[:PORT]/EXPORT            nbd+unix:///EXPORT?socket=PATH
 *   nbds://[USER@]HOST[:PORT]/EXPORT    nbds+unix://[USER@]/EXPORT?socket=PATH
 *
 * The export's name is the path without its first slash, percent-encoded; it is never normalised
 * ("a/../b" is a name). What we do not understand is an error, so that nothing is ignored that
 * somebody counts on (TLS above all).
 */
import type { SocketAddress } from '../io/io.ts'
import { PORT_DEFAULT } from './protocol.ts'
import { isString } from './strings.ts'
import { formatTls, parseTls, TLS_PARAMETERS, type UriTls } from './uri-tls.ts'

/** Where a server can be reached. */
export type Endpoint = Exclude<SocketAddress, { readonly kind: 'fd' }>

export interface NbdUri {
  readonly address: Endpoint
  /** '' is the default export. */
  readonly exportName: string
  /** Null: in plain. */
  readonly tls: UriTls | null
}

export class UriError extends Error {
  readonly code = 'NBD_URI_INVALID'

  constructor(text: string, problem: string) {
    super(`"${text}": ${problem}`)
  }
}

/** RFC 3986, appendix B: scheme, authority, path, query, fragment. */
const URI = /^([a-z][a-z0-9+.-]*):\/\/([^/?#]*)([^?#]*)(?:\?([^#]*))?(#.*)?$/is
/** A bracketed IPv6 address, or a name or IPv4 address; then perhaps a port. */
const HOST_AND_PORT = /^(?:\[([0-9a-f:.]+(?:%25[^\]]+)?)\]|([^:@[\]]*))(?::(\d{1,5}))?$/i
const SCHEME = /^nbd(s?)(\+unix)?$/

export function parseUri(text: string): NbdUri {
  const parts = URI.exec(text)
  if (parts === null) {
    const known = 'nbd://HOST:PORT/EXPORT or nbd+unix:///EXPORT?socket=PATH'
    throw new UriError(text, `not an NBD URI; write ${known}`)
  }
  const [, schemeText, authority, path, query, fragment] = parts
  if (fragment !== undefined) throw new UriError(text, 'write %23 for a "#"')
  const scheme = SCHEME.exec(schemeText.toLowerCase())
  if (scheme === null) {
    const known = 'nbd://, nbds://, nbd+unix:// or nbds+unix://'
    throw new UriError(text, `unknown scheme "${schemeText}"; use ${known}`)
  }
  const [isTls, isUnix] = [scheme[1] !== '', scheme[2] !== undefined]
  const parameters = parseQuery(text, query ?? '')
  expectParameters(text, parameters, isTls, isUnix)
  const [user, place] = splitAuthority(text, authority, isTls)
  const address = isUnix ? parseSocket(text, place, parameters) : parseHost(text, place)
  const exportName = decode(text, path.slice(1))
  if (!isString(exportName))
    throw new UriError(text, 'the export name must have no NUL and at most 4096 bytes')
  const tls = isTls ? parseTls(parameters, user, (problem) => new UriError(text, problem)) : null
  return { address, exportName, tls }
}

/** The exact URI: `parseUri` gives back what was put in. */
export function formatUri(
  address: Endpoint,
  exportName: string,
  tls: UriTls | null = null,
): string {
  const name = encode(exportName)
  const scheme = tls === null ? 'nbd' : 'nbds'
  const userName = tls?.user ?? null
  const user = userName === null ? '' : `${encodeURIComponent(userName)}@`
  const parameters = tls === null ? [] : formatTls(tls)
  if (address.kind === 'unix') parameters.unshift(['socket', address.path])
  const pairs = parameters.map(([key, value]) => `${key}=${encode(value)}`)
  const query = pairs.length === 0 ? '' : `?${pairs.join('&')}`
  if (address.kind === 'unix') return `${scheme}+unix://${user}/${name}${query}`
  const { host, port } = address
  const shownHost = host.includes(':') ? `[${host.replace('%', '%25')}]` : host
  return `${scheme}://${user}${shownHost}:${port}${name === '' ? '' : `/${name}`}${query}`
}

type Parameters = ReadonlyMap<string, string>

/** @returns the user, or null, and what is behind it */
function splitAuthority(text: string, authority: string, isTls: boolean): [string | null, string] {
  const at = authority.lastIndexOf('@')
  if (at < 0) return [null, authority]
  if (!isTls) throw new UriError(text, 'a user name needs TLS: nbds:// or nbds+unix://')
  const user = authority.slice(0, at)
  if (user === '' || user.includes(':'))
    throw new UriError(
      text,
      'write USER@, without a password; keys are in the file of tls-psk-file',
    )
  return [decode(text, user), authority.slice(at + 1)]
}

function parseHost(text: string, authority: string): Endpoint {
  const match = HOST_AND_PORT.exec(authority)
  if (match === null)
    throw new UriError(text, 'write HOST:PORT, with an IPv6 address in brackets: [::1]:10809')
  const host = decode(text, match[1] ?? match[2])
  if (host === '') throw new UriError(text, 'the host is missing; use nbd://localhost/…')
  const port = match[3] === undefined ? PORT_DEFAULT : Number(match[3])
  if (port > 65535) throw new UriError(text, `port ${port} does not exist; the last one is 65535`)
  return { kind: 'tcp', host, port }
}

function parseSocket(text: string, authority: string, parameters: Parameters): Endpoint {
  if (authority !== '')
    throw new UriError(text, `write nbd+unix:/// with three slashes, without "${authority}"`)
  const path = parameters.get('socket') ?? ''
  if (path === '') throw new UriError(text, 'the socket is missing; add ?socket=PATH')
  return { kind: 'unix', path }
}

function parseQuery(text: string, query: string): Parameters {
  const parameters = new Map<string, string>()
  for (const pair of query === '' ? [] : query.split('&')) {
    const equals = pair.indexOf('=')
    if (equals < 0) throw new UriError(text, `write "${pair}" as NAME=VALUE`)
    const name = decode(text, pair.slice(0, equals))
    if (parameters.has(name)) throw new UriError(text, `parameter "${name}" is given twice`)
    parameters.set(name, decode(text, pair.slice(equals + 1)))
  }
  return parameters
}

function expectParameters(
  text: string,
  parameters: Parameters,
  isTls: boolean,
  isUnix: boolean,
): void {
  for (const name of parameters.keys()) {
    if (TLS_PARAMETERS.has(name)) {
      if (!isTls) throw new UriError(text, `"${name}" needs TLS: nbds:// or nbds+unix://`)
    } else if (name !== 'socket') {
      throw new UriError(text, `unknown parameter "${name}"; leave it out`)
    } else if (!isUnix) {
      throw new UriError(text, 'a socket needs nbd+unix:///EXPORT?socket=PATH')
    }
  }
}

/** Percent-encoding is that of UTF-8; a "+" is a plus. */
function decode(text: string, encoded: string): string {
  try {
    return decodeURIComponent(encoded)
  } catch {
    throw new UriError(text, `"${encoded}" is no percent-encoded UTF-8; write %25 for a "%"`)
  }
}

function encode(part: string): string {
  return encodeURIComponent(part).replaceAll('%2F', '/')
}
