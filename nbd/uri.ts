/**
 * NBD URIs, as the NBD project's uri.md has them:
 *
 *   nbd://HOST[:PORT]/EXPORT            nbd+unix:///EXPORT?socket=PATH
 *
 * The export's name is the path without its first slash, percent-encoded; it is never normalised
 * ("a/../b" is a name). What we do not understand is an error, so that nothing is ignored that
 * somebody counts on (TLS above all).
 */
import type { ListenAddress } from '../io/io.ts'
import { PORT_DEFAULT } from './protocol.ts'
import { isString } from './strings.ts'

/** Where a server can be reached. */
export type Endpoint = Exclude<ListenAddress, { readonly kind: 'fd' }>

export interface NbdUri {
  readonly address: Endpoint
  /** '' is the default export. */
  readonly exportName: string
}

export class UriError extends Error {
  readonly code: 'NBD_URI_INVALID' | 'NBD_URI_TLS'

  constructor(text: string, problem: string, code: UriError['code'] = 'NBD_URI_INVALID') {
    super(`"${text}": ${problem}`)
    this.code = code
  }
}

/** RFC 3986, appendix B: scheme, authority, path, query, fragment. */
const URI = /^([a-z][a-z0-9+.-]*):\/\/([^/?#]*)([^?#]*)(?:\?([^#]*))?(#.*)?$/is
/** A bracketed IPv6 address, or a name or IPv4 address; then perhaps a port. */
const HOST_AND_PORT = /^(?:\[([0-9a-f:.]+(?:%25[^\]]+)?)\]|([^:@[\]]*))(?::(\d{1,5}))?$/i
const TLS_UNSUPPORTED = 'TLS is not supported yet; use nbd:// or nbd+unix://'

export function parseUri(text: string): NbdUri {
  const parts = URI.exec(text)
  if (parts === null)
    throw new UriError(text, 'not an NBD URI; write nbd://HOST:PORT/EXPORT or nbd+unix:///…')
  const [, scheme, authority, path, query, fragment] = parts
  if (fragment !== undefined) throw new UriError(text, 'write %23 for a "#"')
  const parameters = parseQuery(text, query ?? '')
  const address = parseAddress(text, scheme.toLowerCase(), authority, parameters)
  const exportName = decode(text, path.slice(1))
  if (!isString(exportName))
    throw new UriError(text, 'the export name must have no NUL and at most 4096 bytes')
  return { address, exportName }
}

/** The exact URI: `parseUri` gives back what was put in. */
export function formatUri(address: Endpoint, exportName: string): string {
  const name = encode(exportName)
  if (address.kind === 'unix') return `nbd+unix:///${name}?socket=${encode(address.path)}`
  const { host, port } = address
  const shownHost = host.includes(':') ? `[${host.replace('%', '%25')}]` : host
  return `nbd://${shownHost}:${port}${name === '' ? '' : `/${name}`}`
}

type Parameters = ReadonlyMap<string, string>

function parseAddress(
  text: string,
  scheme: string,
  authority: string,
  parameters: Parameters,
): Endpoint {
  switch (scheme) {
    case 'nbd':
      expectParameters(text, parameters, [])
      return parseHost(text, authority)
    case 'nbd+unix':
      expectParameters(text, parameters, ['socket'])
      return parseSocket(text, authority, parameters)
    case 'nbds':
    case 'nbds+unix':
      throw new UriError(text, TLS_UNSUPPORTED, 'NBD_URI_TLS')
    default:
      throw new UriError(text, `unknown scheme "${scheme}"; use nbd:// or nbd+unix://`)
  }
}

function parseHost(text: string, authority: string): Endpoint {
  if (authority.includes('@'))
    throw new UriError(text, 'a user name needs TLS, which is not supported yet', 'NBD_URI_TLS')
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

function expectParameters(text: string, parameters: Parameters, known: readonly string[]): void {
  for (const name of parameters.keys()) {
    if (name.startsWith('tls-')) throw new UriError(text, TLS_UNSUPPORTED, 'NBD_URI_TLS')
    if (name === 'socket' && !known.includes(name))
      throw new UriError(text, 'a socket needs nbd+unix:///EXPORT?socket=PATH')
    if (!known.includes(name)) throw new UriError(text, `unknown parameter "${name}"; leave it out`)
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
