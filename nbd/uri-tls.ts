/** The part of an NBD URI that is about TLS, by the names that libnbd has for it. */

/** How a client secures its connection. What is null is left to the client's defaults. */
export interface UriTls {
  /** Whose pre-shared key it is. */
  readonly user: string | null
  /** Directory with ca-cert.pem, client-cert.pem, client-key.pem. */
  readonly certificates: string | null
  /** File of pre-shared keys; instead of certificates. */
  readonly keyFile: string | null
  /** The name that must be in the server's certificate. */
  readonly hostName: string | null
  /** False: whoever the server is, it will do. */
  readonly verifyPeer: boolean
}

export const TLS_DEFAULTS: UriTls = {
  user: null,
  certificates: null,
  keyFile: null,
  hostName: null,
  verifyPeer: true,
}

export const TLS_PARAMETERS: ReadonlySet<string> = new Set([
  'tls-type',
  'tls-certificates',
  'tls-psk-file',
  'tls-username',
  'tls-hostname',
  'tls-verify-peer',
])

/**
 * @param user in front of the host, or null
 * @param fail makes the error for a problem
 */
export function parseTls(
  parameters: ReadonlyMap<string, string>,
  user: string | null,
  fail: (problem: string) => Error,
): UriTls {
  const text = (name: string): string | null => {
    const value = parameters.get(name)
    if (value === '') throw fail(`"${name}" is empty; leave it out`)
    return value ?? null
  }
  const userParameter = text('tls-username')
  if (user !== null && userParameter !== null && user !== userParameter)
    throw fail(`two users, "${user}" and "${userParameter}"`)
  const tls = {
    user: user ?? userParameter,
    certificates: text('tls-certificates'),
    keyFile: text('tls-psk-file'),
    hostName: text('tls-hostname'),
    verifyPeer: parseFlag(text('tls-verify-peer'), fail),
  }
  if (tls.certificates !== null && tls.keyFile !== null)
    throw fail('tls-certificates and tls-psk-file: only one of them')
  checkType(text('tls-type'), tls, fail)
  return tls
}

function parseFlag(value: string | null, fail: (problem: string) => Error): boolean {
  if (value === null || value === '1' || value === 'true') return true
  if (value === '0' || value === 'false') return false
  throw fail('tls-verify-peer is 0 or 1')
}

/** The type is clear from the other parameters; it must not contradict them. */
function checkType(type: string | null, tls: UriTls, fail: (problem: string) => Error): void {
  if (type === null) return
  if (type === 'anon') throw fail('tls-type=anon proves nothing to anybody and is not supported')
  if (type !== 'x509' && type !== 'psk') throw fail('tls-type is x509 or psk')
  if ((type === 'psk') !== (tls.keyFile !== null))
    throw fail(
      `tls-type=${type}: ${type === 'psk' ? 'give tls-psk-file' : 'leave out tls-psk-file'}`,
    )
}

export function formatTls(tls: UriTls): [string, string][] {
  const parameters: [string, string][] = []
  if (tls.certificates !== null) parameters.push(['tls-certificates', tls.certificates])
  if (tls.keyFile !== null) parameters.push(['tls-psk-file', tls.keyFile])
  if (tls.hostName !== null) parameters.push(['tls-hostname', tls.hostName])
  if (!tls.verifyPeer) parameters.push(['tls-verify-peer', '0'])
  return parameters
}
