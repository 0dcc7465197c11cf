/** What a whole client stream must lead to, by the naive server. */
import type { Spoken } from './client-stream.ts'
import { type Handshake, NaiveHandshake, type Settings } from './naive-handshake.ts'
import { naiveTransmission, type Transmission } from './naive-transmission.ts'

export interface Expectation {
  readonly plain: Handshake
  /** The handshake in TLS, if there is one. */
  readonly secure: Handshake | null
  readonly transmission: Transmission | null
  /** The handshake that led to it. */
  readonly agreed: Handshake
  /** How the connection stands when all has been said. */
  readonly end: 'open' | 'finished' | 'closed'
}

export function expectationOf(settings: Settings, { plain, secure }: Spoken): Expectation {
  const first = new NaiveHandshake(settings, plain, null).run()
  if (first.end !== 'tls') return endOf(first, null)
  // Plain bytes where TLS must begin.
  if (first.rest.length > 0)
    return { plain: first, secure: null, transmission: null, agreed: first, end: 'closed' }
  return endOf(first, new NaiveHandshake(settings, secure, first.clientFlags).run())
}

function endOf(plain: Handshake, secure: Handshake | null): Expectation {
  const agreed = secure ?? plain
  const ends = {
    incomplete: 'open',
    aborted: 'finished',
    violation: 'closed',
    tls: 'closed',
  } as const
  if (agreed.end !== 'transmission')
    return { plain, secure, transmission: null, agreed, end: ends[agreed.end] }
  const transmission = naiveTransmission(agreed)
  const later = { open: 'open', disconnected: 'finished', violation: 'closed' } as const
  return { plain, secure, transmission, agreed, end: later[transmission.end] }
}
