/**
 * What one client and we have agreed on so far: the state that options read and change. It knows
 * nothing of bytes; `handshake.ts` frames them, `options.ts` gives them their meaning.
 */
import { transmissionFlags } from './export-flags.ts'
import { type AccessPolicy, VisibleExports } from './access.ts'
import type { Export, ExportTable } from './export.ts'
import type { MetaContext } from './meta-contexts.ts'
import { OptionReplies } from './option-replies.ts'
import { OptionError } from './option-reader.ts'
import { type Peer, UNKNOWN_PEER } from './peer.ts'
import { OptionReply } from './protocol.ts'
import { ReplyStyle } from './reply-style.ts'

/** How a handshake ended. */
export type Outcome =
  | { readonly kind: 'transmission'; readonly agreement: Agreement }
  /** Send what is left to say, then speak TLS. Another handshake follows in it. */
  | { readonly kind: 'tls' }
  /** The client said ABORT. Send what is left to say, then close. */
  | { readonly kind: 'aborted' }
  /** The client broke the protocol in a way that leaves nothing to say. Close. */
  | { readonly kind: 'violation'; readonly reason: string }

/** Whether connections are encrypted: never, as the client wishes, always. */
export const TlsMode = { OFF: 'off', ON: 'on', REQUIRE: 'require' } as const
export type TlsMode = (typeof TlsMode)[keyof typeof TlsMode]

/** What the options of a handshake are carried out with. */
export interface NegotiationSettings {
  readonly exports: ExportTable
  /** Default: off. */
  readonly tls?: TlsMode
  /** Who the client is. Default: nobody known. */
  readonly peer?: Peer
  /** @returns false: too many are attached to the export. Default: never too many */
  readonly mayAttach?: (entry: Export) => boolean
  /** Default: everybody may have every export. */
  readonly policy?: AccessPolicy
  /** Receive buffers of all clients have more memory than they should. Default: never. */
  readonly isMemoryScarce?: () => boolean
  /** Told of each export that the client asked for and may not have, and why. Default: nobody. */
  readonly onRefused?: (entry: Export, reason: string) => void
}

/** All that the transmission phase needs to know. */
export interface Agreement {
  readonly export: Export
  /** Of the device when it was told to the client, bytes; for it the disk never gets larger. */
  readonly size: number
  /** Bits of `TransmissionFlag` as the client saw them. */
  readonly transmissionFlags: number
  readonly replyStyle: ReplyStyle
  /** Selected metadata contexts; BLOCK_STATUS answers with one chunk for each. */
  readonly contexts: readonly MetaContext[]
}

const NO_CONTEXTS: readonly MetaContext[] = []

export class Negotiation {
  readonly replies = new OptionReplies()
  readonly #exports: VisibleExports
  readonly #mayAttach: (entry: Export) => boolean
  readonly tls: TlsMode
  /** Who the client is; before TLS as far as is known without. */
  readonly peer: Peer
  /** Null while the handshake goes on. */
  outcome: Outcome | null = null
  /** The client understands option replies; otherwise only EXPORT_NAME works. */
  fixedNewstyle = false
  noZeroes = false
  replyStyle: ReplyStyle = ReplyStyle.SIMPLE
  #contextsExportName = ''
  #contexts = NO_CONTEXTS

  constructor(settings: NegotiationSettings) {
    const { exports, tls = TlsMode.OFF, peer = UNKNOWN_PEER, policy, onRefused } = settings
    this.#exports = new VisibleExports(exports, peer, policy, onRefused)
    this.#mayAttach = settings.mayAttach ?? (() => true)
    this.tls = tls
    this.peer = peer
  }

  /** Nothing but STARTTLS and ABORT is carried out (spec: "FORCEDTLS mode"). */
  get lacksTls(): boolean {
    return this.tls === TlsMode.REQUIRE && this.peer.tls === null
  }

  list(): readonly Export[] {
    return this.#exports.list()
  }

  /** Throws ERR_UNKNOWN: there is no such export, or the client may not have it. */
  find(name: string): Export {
    const found = this.#exports.find(name)
    if (found !== null) return found
    throw new OptionError(OptionReply.ERR_UNKNOWN, missing(name))
  }

  /**
   * For INFO and GO, where a client without TLS must hear that an export needs it. So that this
   * tells nothing, it hears the same of those that do not exist (spec: "SELECTIVETLS mode").
   * Throws ERR_UNKNOWN, ERR_TLS_REQD.
   */
  findToEnter(name: string): Export {
    const found = this.#exports.find(name)
    if (found !== null) return found
    if (this.tls !== TlsMode.ON || this.peer.tls !== null)
      throw new OptionError(OptionReply.ERR_UNKNOWN, missing(name))
    throw new OptionError(OptionReply.ERR_TLS_REQD, `${missing(name)} without TLS`)
  }

  /** For a client that wants to be attached. Throws ERR_UNKNOWN, ERR_TLS_REQD, ERR_POLICY. */
  findFree(name: string): Export {
    const entry = this.findToEnter(name)
    if (this.#mayAttach(entry)) return entry
    throw new OptionError(OptionReply.ERR_POLICY, 'too many clients are attached to this export')
  }

  /** @param name as the client gave it */
  flagsOf(entry: Export, name: string): number {
    const hasContexts = this.#contextsOf(name).length > 0
    return transmissionFlags(entry.device, this.replyStyle, hasContexts)
  }

  /** Replaces the selected contexts. They hold for `exportName` only. */
  select(exportName: string, contexts: readonly MetaContext[]): void {
    this.#contextsExportName = exportName
    this.#contexts = contexts
  }

  deselect(): void {
    this.select('', NO_CONTEXTS)
  }

  /** @param name as the client gave it */
  enterTransmission(entry: Export, name: string): void {
    const agreement = {
      export: entry,
      size: entry.device.size,
      transmissionFlags: this.flagsOf(entry, name),
      replyStyle: this.replyStyle,
      contexts: this.#contextsOf(name),
    }
    this.outcome = { kind: 'transmission', agreement }
  }

  violation(reason: string): void {
    this.outcome = { kind: 'violation', reason }
  }

  /** They were selected for a name, not an export. */
  #contextsOf(name: string): readonly MetaContext[] {
    return name === this.#contextsExportName ? this.#contexts : NO_CONTEXTS
  }
}

function missing(name: string): string {
  return name === '' ? 'there is no default export' : `there is no export "${name}"`
}
