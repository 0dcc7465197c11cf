/**
 * What each option means: one function per NBD_OPT_*, called with the whole data of the option
 * (spec: "Option types"). A function answers, or throws an `OptionError` before it has changed or
 * answered anything. Options that are not in the table are unknown to us.
 */
import type { Export } from './export.ts'
import { BLOCK_SIZE_PREFERRED, LIST_ENTRIES_MAX, PAYLOAD_BYTES_MAX } from './limits.ts'
import { listMetaContext, setMetaContext } from './meta-contexts.ts'
import { type Negotiation, TlsMode } from './negotiation.ts'
import { OptionError } from './option-reader.ts'
import type { OptionReader } from './option-reader.ts'
import { InfoType, Option, OptionReply } from './protocol.ts'
import { ReplyStyle } from './reply-style.ts'

export type OptionHandler = (negotiation: Negotiation, data: OptionReader) => void

/**
 * EXPORT_NAME and ABORT are missing: the first cannot be answered with an error, the second takes
 * any data. The handshake treats them apart.
 */
export const optionHandlers: ReadonlyMap<number, OptionHandler> = new Map<number, OptionHandler>([
  [Option.LIST, list],
  [Option.STARTTLS, startTls],
  [Option.INFO, info],
  [Option.GO, go],
  [Option.STRUCTURED_REPLY, structuredReply],
  [Option.LIST_META_CONTEXT, listMetaContext],
  [Option.SET_META_CONTEXT, setMetaContext],
  [Option.EXTENDED_HEADERS, extendedHeaders],
])

/** @param name null: what the client sent is not a string */
export function exportName(negotiation: Negotiation, name: string | null): void {
  if (negotiation.replyStyle === ReplyStyle.EXTENDED)
    return negotiation.violation('EXPORT_NAME after EXTENDED_HEADERS')
  if (name === null) return negotiation.violation('EXPORT_NAME: the name is not a string')
  try {
    const entry = negotiation.findFree(name)
    const flags = negotiation.flagsOf(entry, name)
    negotiation.replies.exportName(entry.device.size, flags, negotiation.noZeroes)
    negotiation.enterTransmission(entry, name)
  } catch (error) {
    if (!(error instanceof OptionError)) throw error
    negotiation.violation(`EXPORT_NAME: ${error.message}`)
  }
}

export function abort(negotiation: Negotiation): void {
  negotiation.replies.ack(Option.ABORT)
  negotiation.outcome = { kind: 'aborted' }
}

function list(negotiation: Negotiation, data: OptionReader): void {
  data.end()
  const entries = negotiation.list()
  if (entries.length > LIST_ENTRIES_MAX)
    throw new OptionError(OptionReply.ERR_TOO_BIG, `more than ${LIST_ENTRIES_MAX} exports`)
  for (const { name, description } of entries)
    negotiation.replies.server(Option.LIST, name, description)
  negotiation.replies.ack(Option.LIST)
}

/** The ACK is the last thing said in plain, and the request the last thing heard. */
function startTls(negotiation: Negotiation, data: OptionReader): void {
  data.end()
  if (negotiation.tls === TlsMode.OFF)
    throw new OptionError(OptionReply.ERR_POLICY, 'TLS is not configured on this server')
  if (negotiation.peer.tls !== null)
    throw new OptionError(OptionReply.ERR_INVALID, 'the connection is encrypted already')
  negotiation.replies.ack(Option.STARTTLS)
  negotiation.outcome = { kind: 'tls' }
}

function structuredReply(negotiation: Negotiation, data: OptionReader): void {
  data.end()
  if (negotiation.replyStyle === ReplyStyle.EXTENDED)
    throw new OptionError(
      OptionReply.ERR_EXT_HEADER_REQD,
      'extended headers are negotiated already',
    )
  negotiation.replyStyle = ReplyStyle.STRUCTURED
  negotiation.replies.ack(Option.STRUCTURED_REPLY)
}

function extendedHeaders(negotiation: Negotiation, data: OptionReader): void {
  data.end()
  negotiation.replyStyle = ReplyStyle.EXTENDED
  negotiation.replies.ack(Option.EXTENDED_HEADERS)
}

function info(negotiation: Negotiation, data: OptionReader): void {
  const request = readInfoRequest(data)
  sendInfos(negotiation, Option.INFO, negotiation.findToEnter(request.name), request)
}

function go(negotiation: Negotiation, data: OptionReader): void {
  const request = readInfoRequest(data)
  const entry = negotiation.findFree(request.name)
  sendInfos(negotiation, Option.GO, entry, request)
  negotiation.enterTransmission(entry, request.name)
}

interface InfoRequest {
  readonly name: string
  readonly types: ReadonlySet<number>
}

/**
 * 32 bits      length of the export's name
 *              name
 * 16 bits      number of information requests
 * 16 bits × n  their types
 */
function readInfoRequest(data: OptionReader): InfoRequest {
  const name = data.string(data.u32('length of the export name'), 'export name')
  const types = new Set<number>()
  for (let left = data.u16('number of information requests'); left > 0; left--)
    types.add(data.u16('information request'))
  data.end()
  return { name, types }
}

/** INFO_EXPORT always, the others when asked for; unknown types are ignored. */
function sendInfos(
  negotiation: Negotiation,
  option: number,
  entry: Export,
  { name, types }: InfoRequest,
): void {
  const { replies } = negotiation
  const { size, alignment } = entry.device
  replies.infoExport(option, size, negotiation.flagsOf(entry, name))
  if (types.has(InfoType.NAME)) replies.infoText(option, InfoType.NAME, entry.name)
  if (types.has(InfoType.DESCRIPTION) && entry.description !== '')
    replies.infoText(option, InfoType.DESCRIPTION, entry.description)
  if (types.has(InfoType.BLOCK_SIZE)) {
    const preferred = Math.max(BLOCK_SIZE_PREFERRED, alignment)
    replies.infoBlockSize(option, alignment, preferred, PAYLOAD_BYTES_MAX)
  }
  replies.ack(option)
}
