/**
 * The fixed newstyle handshake, without I/O: bytes in by `consume`, bytes out by `takeOutput`.
 * It finds the borders of options, limits them, and sees to it that each is answered; what they
 * mean is in `options.ts`, what was agreed in `negotiation.ts`.
 *
 * Invariant: an option that is refused has been consumed to its last byte, so the next one is
 * understood. Nothing is buffered here: an option's data is read in the caller's buffer, or skipped
 * as it arrives.
 */
import {
  OPTION_DATA_BYTES_MAX,
  OPTION_DATA_BYTES_SCARCE,
  OPTION_DISCARD_BYTES_MAX,
  OPTIONS_MAX,
} from './limits.ts'
import { Negotiation } from './negotiation.ts'
import type { NegotiationSettings, Outcome } from './negotiation.ts'
import { OptionError, OptionReader } from './option-reader.ts'
import { abort, exportName, optionHandlers } from './options.ts'
import type { Peer, PeerTls } from './peer.ts'
import {
  ClientFlag,
  HandshakeFlag,
  HeaderSize,
  Magic,
  Option,
  OptionReply,
  STRING_BYTES_MAX,
} from './protocol.ts'
import { decodeString } from './strings.ts'

/** What the next bytes of the client are. */
const HandshakeState = {
  /** The 32 bits that answer the greeting. */
  CLIENT_FLAGS: 0,
  /** The header of an option. */
  OPTION: 1,
  /** Its data, read when all of it is there. */
  OPTION_DATA: 2,
  /** Its data, skipped as it comes; an answer follows. */
  DISCARD: 3,
  /** Not ours any more: see `outcome`. */
  ENDED: 4,
} as const

type State = (typeof HandshakeState)[keyof typeof HandshakeState]

/** A receive buffer of this size is enough to get through every handshake. */
export const HANDSHAKE_RECEIVE_BYTES = HeaderSize.OPTION + OPTION_DATA_BYTES_MAX

const HANDSHAKE_FLAGS = HandshakeFlag.FIXED_NEWSTYLE | HandshakeFlag.NO_ZEROES

export class Handshake {
  readonly #settings: NegotiationSettings
  readonly #negotiation: Negotiation
  #state: State = HandshakeState.CLIENT_FLAGS
  /** Of the current option. */
  #option = 0
  /** Bytes of its data that were not consumed yet. */
  #dataLeft = 0
  /** So much of it would have been looked at. */
  #dataMax = OPTION_DATA_BYTES_MAX
  #optionCount = 0
  #shuttingDown = false

  constructor(settings: NegotiationSettings) {
    this.#settings = settings
    this.#negotiation = new Negotiation(settings)
  }

  /**
   * The handshake that follows in TLS: it goes on with options. Of this one only the client's flags
   * are kept, which are said once; what was negotiated in plain is forgotten, for somebody else may
   * have asked for it (CVE-2021-3716).
   */
  inTls(tls: PeerTls): Handshake {
    const peer = { ...this.#negotiation.peer, tls }
    const next = new Handshake({ ...this.#settings, peer })
    next.#negotiation.fixedNewstyle = this.#negotiation.fixedNewstyle
    next.#negotiation.noZeroes = this.#negotiation.noZeroes
    next.#state = HandshakeState.OPTION
    next.#shuttingDown = this.#shuttingDown
    return next
  }

  get peer(): Peer {
    return this.#negotiation.peer
  }

  /** Null while the handshake goes on. */
  get outcome(): Outcome | null {
    return this.#negotiation.outcome
  }

  /** The first bytes on the connection, before any `consume`. */
  greeting(): Uint8Array {
    this.#negotiation.replies.greeting(HANDSHAKE_FLAGS)
    return this.takeOutput()
  }

  /** Bytes to send now; the memory is the caller's. */
  takeOutput(): Uint8Array {
    return this.#negotiation.replies.take()
  }

  get hasOutput(): boolean {
    return this.#negotiation.replies.length > 0
  }

  /** From now on every option but ABORT is answered with ERR_SHUTDOWN. */
  shutDown(): void {
    this.#shuttingDown = true
  }

  /**
   * Takes one step: at most one option is answered. Whoever sends the output before the next step
   * keeps it bounded. Once `outcome` is set nothing is consumed: the rest belongs to what follows.
   * @param bytes lent during the call; the client's bytes are those from `start` to `end`
   * @returns bytes consumed; 0: more are needed, or the handshake is over
   */
  consume(bytes: Uint8Array, start: number, end: number): number {
    const input = bytes.subarray(start, end)
    const consumed = this.#step(input)
    if (this.outcome !== null) this.#state = HandshakeState.ENDED
    return consumed
  }

  #step(input: Uint8Array): number {
    switch (this.#state) {
      case HandshakeState.CLIENT_FLAGS:
        return this.#clientFlags(input)
      case HandshakeState.OPTION:
        return this.#optionHeader(input)
      case HandshakeState.OPTION_DATA:
        return this.#optionData(input)
      case HandshakeState.DISCARD:
        return this.#discard(input)
      case HandshakeState.ENDED:
        return 0
    }
  }

  #clientFlags(input: Uint8Array): number {
    if (input.length < HeaderSize.CLIENT_FLAGS) return 0
    const flags = viewOf(input).getUint32(0)
    const known = ClientFlag.FIXED_NEWSTYLE | ClientFlag.NO_ZEROES
    if ((flags & ~known) !== 0)
      this.#negotiation.violation(`unknown client flags 0x${flags.toString(16)}`)
    this.#negotiation.fixedNewstyle = (flags & ClientFlag.FIXED_NEWSTYLE) !== 0
    this.#negotiation.noZeroes = (flags & ClientFlag.NO_ZEROES) !== 0
    this.#state = HandshakeState.OPTION
    return HeaderSize.CLIENT_FLAGS
  }

  /**
   * 64 bits  "IHAVEOPT"
   * 32 bits  option
   * 32 bits  length of its data
   */
  #optionHeader(input: Uint8Array): number {
    if (input.length < HeaderSize.OPTION) return 0
    const view = viewOf(input)
    this.#option = view.getUint32(8)
    this.#dataLeft = view.getUint32(12)
    this.#optionCount++
    const isMagic =
      view.getUint32(0) === Magic.OPTION_HIGH && view.getUint32(4) === Magic.OPTION_LOW
    const reason = isMagic ? this.#reasonToHangUp() : 'option without the magic IHAVEOPT'
    if (reason !== null) this.#negotiation.violation(reason)
    else this.#beginOption()
    return HeaderSize.OPTION
  }

  /** The few cases in which an error reply is impossible or not deserved. */
  #reasonToHangUp(): string | null {
    const what = `option ${this.#option} of ${this.#dataLeft} bytes`
    if (this.#optionCount > OPTIONS_MAX) return `more than ${OPTIONS_MAX} options`
    if (this.#dataLeft > OPTION_DISCARD_BYTES_MAX)
      return `${what}, at most ${OPTION_DISCARD_BYTES_MAX} are allowed`
    if (this.#option === Option.EXPORT_NAME) {
      if (this.#dataLeft > STRING_BYTES_MAX) return `${what}: the name is too long`
      if (this.#shuttingDown) return `${what} while the server is shutting down`
      if (this.#negotiation.lacksTls) return `${what} without TLS`
    } else if (!this.#negotiation.fixedNewstyle)
      return `${what} from a client without fixed newstyle, which knows no replies`
    return null
  }

  #beginOption(): void {
    // Spec, SET_META_CONTEXT: it replaces the old set "including when this command fails".
    if (this.#option === Option.SET_META_CONTEXT) this.#negotiation.deselect()
    const known = this.#option === Option.EXPORT_NAME || optionHandlers.has(this.#option)
    const isScarce = this.#settings.isMemoryScarce?.() === true
    this.#dataMax = isScarce ? OPTION_DATA_BYTES_SCARCE : OPTION_DATA_BYTES_MAX
    const readable = known && this.#dataLeft <= this.#dataMax
    this.#state = readable ? HandshakeState.OPTION_DATA : HandshakeState.DISCARD
    if (this.#dataLeft > 0) return
    if (readable) this.#optionData(EMPTY)
    else this.#discard(EMPTY)
  }

  #optionData(input: Uint8Array): number {
    const length = this.#dataLeft
    if (input.length < length) return 0
    this.#state = HandshakeState.OPTION
    const data = input.subarray(0, length)
    if (this.#option === Option.EXPORT_NAME) exportName(this.#negotiation, decodeString(data))
    else this.#answer(data)
    return length
  }

  #answer(data: Uint8Array): void {
    const handler = optionHandlers.get(this.#option)
    if (handler === undefined || this.#shuttingDown || this.#lacksTls) return this.#refuse()
    try {
      handler(this.#negotiation, new OptionReader(data))
    } catch (error) {
      if (!(error instanceof OptionError)) throw error
      this.#negotiation.replies.error(this.#option, error.replyType, error.message)
    }
  }

  #discard(input: Uint8Array): number {
    const skipped = Math.min(input.length, this.#dataLeft)
    this.#dataLeft -= skipped
    if (this.#dataLeft > 0) return skipped
    this.#state = HandshakeState.OPTION
    if (this.#option === Option.ABORT) abort(this.#negotiation)
    else this.#refuse()
    return skipped
  }

  /** Whatever it is: TLS comes first. */
  get #lacksTls(): boolean {
    return this.#option !== Option.STARTTLS && this.#negotiation.lacksTls
  }

  /** Answers an option whose data was not looked at. */
  #refuse(): void {
    const { replies } = this.#negotiation
    const option = this.#option
    if (this.#shuttingDown)
      replies.error(option, OptionReply.ERR_SHUTDOWN, 'the server is shutting down')
    else if (this.#lacksTls)
      replies.error(option, OptionReply.ERR_TLS_REQD, 'this server wants TLS: say STARTTLS first')
    else if (optionHandlers.has(option))
      replies.error(
        option,
        OptionReply.ERR_TOO_BIG,
        `option ${option}: more than ${this.#dataMax} bytes of data`,
      )
    else replies.error(option, OptionReply.ERR_UNSUP, `option ${option} is not supported`)
  }
}

const EMPTY = new Uint8Array(0)

function viewOf(bytes: Uint8Array): DataView {
  return new DataView(bytes.buffer, bytes.byteOffset, bytes.byteLength)
}
