/** Requests as each kind of client puts them on the wire, and what a checker must know of them. */
import { extendedRequest, option, request, statusPayload } from './naive-codec.ts'
import type { WireRequest } from './naive-codec.ts'
import type { SentRequest } from './reply-checker.ts'

/** What a client may have negotiated; each changes its replies, the last its requests as well. */
export const STYLES = ['simple', 'structured', 'extended'] as const
export type Style = (typeof STYLES)[number]

export const PAYLOAD_LEN = 32
const WRITE = 1

/** The option that asks for a style. */
export function styleOption(style: Style): Buffer {
  if (style === 'simple') return Buffer.alloc(0)
  return option(style === 'structured' ? 8 : 11)
}

export interface StyledRequest extends WireRequest {
  /** BLOCK_STATUS, extended: ask for these contexts only. */
  readonly contextIds?: readonly number[]
}

export interface Encoded {
  readonly bytes: Buffer
  readonly sent: SentRequest
}

/** A request with its payload. An extended one gets the flag and the length that belong to it. */
export function encoded(style: Style, fields: StyledRequest, payload?: Uint8Array): Encoded {
  const { command, cookie, flags = 0, offset = 0, length = 0, contextIds } = fields
  const sent = { command, cookie, flags, offset: BigInt.asUintN(64, BigInt(offset)), contextIds }
  const data = contextIds === undefined ? payload : statusPayload(length, contextIds)
  const withData = (header: Buffer): Encoded => ({
    bytes: data === undefined ? header : Buffer.concat([header, data]),
    sent: { ...sent, length: Number(length) },
  })
  if (style !== 'extended') return withData(request(fields))
  const isMarked = command === WRITE || contextIds !== undefined
  const headerLength = contextIds === undefined ? length : (data?.length ?? 0)
  const marked = { ...fields, flags: isMarked ? flags | PAYLOAD_LEN : flags, length: headerLength }
  return withData(extendedRequest(marked))
}
