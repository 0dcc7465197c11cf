/**
 * What a server's option replies tell about exports. Decodes one reply's data at a time; types
 * of information it does not know are ignored, as the specification demands.
 */
import { OptionError } from './option-reader.ts'
import type { OptionReader } from './option-reader.ts'
import { InfoType, OptionReply, TransmissionFlag } from './protocol.ts'

export interface ListedExport {
  readonly name: string
  /** '' if the server gives none. */
  readonly description: string
}

export interface ExportInfo {
  readonly name: string
  /** The name in LIST; it differs when asked for the default export. */
  readonly canonicalName: string
  readonly description: string
  /** Bytes. */
  readonly size: number
  readonly flags: ExportFlags
  /** Null: not told; then 1, 4096 and 32 MiB should be assumed. */
  readonly blockSizes: BlockSizes | null
  readonly structuredReplies: boolean
  readonly extendedHeaders: boolean
  /** Names of the metadata contexts that can be selected. */
  readonly contexts: readonly string[]
}

export interface BlockSizes {
  readonly minimum: number
  readonly preferred: number
  readonly payloadMax: number
}

/** The transmission flags by name. */
export type ExportFlags = Readonly<Record<keyof typeof FLAGS, boolean>>

const FLAGS = {
  readOnly: TransmissionFlag.READ_ONLY,
  flush: TransmissionFlag.SEND_FLUSH,
  fua: TransmissionFlag.SEND_FUA,
  rotational: TransmissionFlag.ROTATIONAL,
  trim: TransmissionFlag.SEND_TRIM,
  writeZeroes: TransmissionFlag.SEND_WRITE_ZEROES,
  dontFragment: TransmissionFlag.SEND_DF,
  multiConnection: TransmissionFlag.CAN_MULTI_CONN,
  resize: TransmissionFlag.SEND_RESIZE,
  cache: TransmissionFlag.SEND_CACHE,
  fastZero: TransmissionFlag.SEND_FAST_ZERO,
  blockStatusPayload: TransmissionFlag.BLOCK_STATUS_PAYLOAD,
} as const

/** Asked for in addition to INFO_EXPORT, which always comes. */
export const infosWanted = [InfoType.NAME, InfoType.DESCRIPTION, InfoType.BLOCK_SIZE] as const

export function decodeServer(data: OptionReader): ListedExport {
  const name = data.string(data.u32('length of the export name'), 'export name')
  return { name, description: data.rest('description') }
}

export function decodeContext(data: OptionReader): string {
  data.u32('context id')
  return data.rest('context name')
}

export function decodeInfo(data: OptionReader): Partial<ExportInfo> {
  switch (data.u16('type of information')) {
    case InfoType.EXPORT:
      return { size: decodeSize(data), flags: decodeFlags(data.u16('transmission flags')) }
    case InfoType.NAME:
      return { canonicalName: data.rest('canonical name') }
    case InfoType.DESCRIPTION:
      return { description: data.rest('description') }
    case InfoType.BLOCK_SIZE:
      return { blockSizes: decodeBlockSizes(data) }
    default:
      return {}
  }
}

function decodeSize(data: OptionReader): number {
  const size = data.u32('size') * 2 ** 32 + data.u32('size')
  if (Number.isSafeInteger(size)) return size
  throw new OptionError(OptionReply.ERR_INVALID, 'the export is larger than 2^53 bytes')
}

function decodeFlags(bits: number): ExportFlags {
  const entries = Object.entries(FLAGS).map(([name, bit]) => [name, (bits & bit) !== 0] as const)
  return Object.fromEntries(entries) as ExportFlags
}

function decodeBlockSizes(data: OptionReader): BlockSizes {
  return {
    minimum: data.u32('minimum block size'),
    preferred: data.u32('preferred block size'),
    payloadMax: data.u32('maximum payload'),
  }
}
