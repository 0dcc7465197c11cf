/**
 * Tokens that let clients of WebSockets in. A file has one a line, behind the name of the export
 * it is for, or `*` for all of them:
 *
 *   # comment
 *   disk:dGhpcyBpcyBhIHNlY3JldA
 *   *:8f14e45fceea167a5a36dedd4bea2543
 *
 * Only hashes are kept. All of them are compared, whole, with what a client shows, so the time it
 * takes tells nothing.
 */
import { createHash, timingSafeEqual } from 'node:crypto'
import { WS_TOKEN_CHARACTERS_MIN } from './ws-limits.ts'

const ALL = '*'

/** What a header can carry as a bearer token (RFC 6750) or a subprotocol (RFC 9110, "token"). */
const TOKEN = /^[\w.~+/!#$%&'*^`|-]+=*$/

interface Entry {
  readonly exportName: string
  readonly hash: Uint8Array
}

export class WebSocketTokens {
  readonly #entries: readonly Entry[]

  /**
   * @param text contents of the file
   * @param file its name, for messages
   * @throws Error with code WS_TOKENS naming the line, never the token
   */
  static parse(text: string, file: string): WebSocketTokens {
    const entries: Entry[] = []
    for (const [index, line] of text.split('\n').entries()) {
      const trimmed = line.trim()
      if (trimmed === '' || trimmed.startsWith('#')) continue
      entries.push(parseLine(trimmed, `${file}, line ${index + 1}`))
    }
    if (entries.length === 0) throw tokenError(`${file}: no token; write EXPORT:TOKEN, or *:TOKEN`)
    return new WebSocketTokens(entries)
  }

  private constructor(entries: readonly Entry[]) {
    this.#entries = entries
  }

  /** @returns the exports that the token is for, null for all of them; undefined: no such token */
  find(token: string): ReadonlySet<string> | null | undefined {
    const hash = hashOf(token)
    const names = new Set<string>()
    for (const entry of this.#entries) {
      if (timingSafeEqual(entry.hash, hash)) names.add(entry.exportName)
    }
    if (names.size === 0) return undefined
    return names.has(ALL) ? null : names
  }
}

/** The last colon counts: the name of an export may have some, a token cannot. */
function parseLine(line: string, place: string): Entry {
  const colon = line.lastIndexOf(':')
  const exportName = line.slice(0, colon)
  const token = line.slice(colon + 1)
  if (colon < 1) throw tokenError(`${place}: write EXPORT:TOKEN, or *:TOKEN for all exports`)
  if (!TOKEN.test(token)) {
    throw tokenError(`${place}: a token has letters, digits and -._~+/ only, as base64url does`)
  }
  if (token.length < WS_TOKEN_CHARACTERS_MIN) {
    const fix = `at least ${WS_TOKEN_CHARACTERS_MIN} characters; try: openssl rand -hex 32`
    throw tokenError(`${place}: the token is too short, use ${fix}`)
  }
  return { exportName, hash: hashOf(token) }
}

function hashOf(token: string): Uint8Array {
  return createHash('sha256').update(token).digest()
}

function tokenError(message: string): Error {
  return Object.assign(new Error(message), { code: 'WS_TOKENS' })
}
