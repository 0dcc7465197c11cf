/**
 * Whether a request may become a WebSocket, and what it stands for then. Decides, does nothing.
 *
 *   path understood (400) ─▶ origin allowed (403) ─▶ token known (401) ─▶ export there (404) ─▶ in
 *
 * An export that the token is not for is answered as one that does not exist.
 */
import type { IncomingMessage } from 'node:http'
import type { TlsIdentity } from './tls-identity.ts'
import { WS_SUBPROTOCOLS_MAX } from './ws-limits.ts'
import type { WebSocketTokens } from './ws-tokens.ts'

export interface GateSettings {
  /** Origins of web pages that may connect, as browsers write them; `*`: all of them. */
  readonly origins: readonly string[]
  /** Null: nobody needs one. Asked for each request. */
  readonly tokens: () => WebSocketTokens | null
  /** Whether a path can name this export: it is there, and the peer may have it. */
  readonly hasExport: (name: string, peer: Requester) => boolean
}

/** Who asks, as far as is known without the request. */
export interface Requester {
  /** Address. */
  readonly remote: string
  readonly identity: TlsIdentity | null
}

export type Verdict =
  | {
      readonly kind: 'in'
      /** Named by the path; '': none was. */
      readonly defaultExport: string
      /** What the token is for; null: everything. */
      readonly exports: ReadonlySet<string> | null
      /** To be answered; null: none of those offered. */
      readonly subprotocol: string | null
    }
  | { readonly kind: 'out'; readonly status: 400 | 401 | 403 | 404; readonly reason: string }

/** Subprotocols that mean what we do; the first is the custom of proxies for raw bytes. */
const SUBPROTOCOLS: readonly string[] = ['binary', 'nbd']

export function judge(request: IncomingMessage, peer: Requester, settings: GateSettings): Verdict {
  const name = exportNameOf(request.url ?? '')
  if (name === null) return out(400, 'the path must be / or /EXPORT, percent-encoded')
  const { origin } = request.headers
  if (origin !== undefined && !isAllowed(origin, settings.origins)) {
    return out(403, 'this origin is not allowed')
  }
  const offered = subprotocolsOf(request)
  const tokens = settings.tokens()
  const pass = tokens === null ? EVERYTHING : passOf(tokens, request, offered)
  if (pass === null) return out(401, 'a token is needed')
  const mayHave = pass.exports === null || pass.exports.has(name)
  if (name !== '' && !(mayHave && settings.hasExport(name, peer))) return out(404, 'no such export')
  const known = SUBPROTOCOLS.find((each) => offered.includes(each))
  // A browser gives up if none of what it offers comes back, and may have offered its token only.
  const subprotocol = known ?? pass.subprotocol
  return { kind: 'in', defaultExport: name, exports: pass.exports, subprotocol }
}

function out(status: 400 | 401 | 403 | 404, reason: string): Verdict {
  return { kind: 'out', status, reason }
}

/** @returns null: not a path, or one that we do not understand */
function exportNameOf(url: string): string | null {
  if (!url.startsWith('/') || url.includes('?') || url.includes('#')) return null
  try {
    const name = decodeURIComponent(url.slice(1))
    return name.includes('\0') ? null : name
  } catch {
    return null
  }
}

function isAllowed(origin: string, allowed: readonly string[]): boolean {
  return allowed.includes('*') || allowed.includes(origin.toLowerCase())
}

function subprotocolsOf(request: IncomingMessage): string[] {
  const header = request.headers['sec-websocket-protocol'] ?? ''
  return header
    .split(',')
    .slice(0, WS_SUBPROTOCOLS_MAX)
    .map((each) => each.trim())
}

interface Pass {
  readonly exports: ReadonlySet<string> | null
  /** The one that was the token. */
  readonly subprotocol: string | null
}

const EVERYTHING: Pass = { exports: null, subprotocol: null }

/** A page cannot set headers, so a token may also come as a subprotocol. */
function passOf(
  tokens: WebSocketTokens,
  request: IncomingMessage,
  offered: readonly string[],
): Pass | null {
  const bearer = /^Bearer +(\S+) *$/i.exec(request.headers.authorization ?? '')?.[1]
  if (bearer !== undefined) {
    const exports = tokens.find(bearer)
    return exports === undefined ? null : { exports, subprotocol: null }
  }
  for (const subprotocol of offered.filter((each) => !SUBPROTOCOLS.includes(each))) {
    const exports = tokens.find(subprotocol)
    if (exports !== undefined) return { exports, subprotocol }
  }
  return null
}
