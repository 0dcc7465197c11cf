/**
 * Drives a `Handshake` in memory as a connection would: a receive buffer of the promised size,
 * bytes arriving in pieces, output collected. Exports have devices that are never called.
 */
import type { Device } from '../../device/device.ts'
import type { TlsIdentity } from '../../io/tls-identity.ts'
import { type AccessPolicy, EVERYTHING } from '../../nbd/access.ts'
import type { Export, ExportTable } from '../../nbd/export.ts'
import { Handshake, HANDSHAKE_RECEIVE_BYTES } from '../../nbd/handshake.ts'
import type { Agreement, Outcome, TlsMode } from '../../nbd/negotiation.ts'
import { peerTls } from '../../nbd/peer.ts'
import { parseGreeting, parseOptionReplies, u32 } from './naive-codec.ts'
import type { OptionReplyMessage } from './naive-codec.ts'

export interface DeviceTraits {
  readonly size?: number
  readonly alignment?: number
  readonly readOnly?: boolean
  readonly trim?: boolean
  readonly fastZero?: boolean
}

export function silentDevice(traits: DeviceTraits = {}): Device {
  const { size = 1 << 20, alignment = 1, ...features } = traits
  return {
    size,
    alignment,
    features: { readOnly: false, trim: true, trimZeroes: true, fastZero: true, ...features },
    read: never,
    write: never,
    flush: never,
    trim: never,
    zero: never,
    blockStatus: never,
    submit: never,
    close: never,
  }
}

function never(): never {
  throw new Error('the handshake must not touch the device')
}

/** The first export is the default one. */
export function tableOf(...exports: readonly Export[]): ExportTable {
  return {
    find: (name) =>
      (name === '' ? exports[0] : exports.find((entry) => entry.name === name)) ?? null,
    list: () => exports,
  }
}

export const DISK: Export = { name: 'disk', description: 'a disk', device: silentDevice() }

/** Somebody who has TLS and nothing to prove. */
export const STRANGER: TlsIdentity = {
  protocol: 'TLSv1.3',
  cipher: 'TLS_AES_128_GCM_SHA256',
  keyName: null,
  certificate: null,
}

export class Conversation {
  handshake: Handshake
  readonly #buffer = new Uint8Array(HANDSHAKE_RECEIVE_BYTES)
  #buffered = 0
  #output: Uint8Array[] = []

  constructor(
    exports: ExportTable = tableOf(DISK),
    tls: TlsMode = 'off',
    policy: AccessPolicy = EVERYTHING,
  ) {
    this.handshake = new Handshake({ exports, tls, policy })
  }

  /** A conversation in which greeting and client flags are done. */
  static greeted(
    exports?: ExportTable,
    clientFlags = 3,
    tls?: TlsMode,
    policy?: AccessPolicy,
  ): Conversation {
    const conversation = new Conversation(exports, tls, policy)
    parseGreeting(Buffer.from(conversation.handshake.greeting()))
    conversation.say(u32(clientFlags))
    return conversation
  }

  /** The client's bytes arrive in pieces of at most `pieceBytes`. */
  say(bytes: Uint8Array, pieceBytes = bytes.length): void {
    let at = 0
    while (at < bytes.length) {
      const room = this.#buffer.length - this.#buffered
      if (room === 0) throw new Error('the handshake is stuck on a full receive buffer')
      const piece = bytes.subarray(at, at + Math.min(room, pieceBytes))
      this.#buffer.set(piece, this.#buffered)
      this.#buffered += piece.length
      at += piece.length
      this.#consume()
      if (this.handshake.outcome !== null && this.#buffered === this.#buffer.length) return
    }
  }

  #consume(): void {
    let start = 0
    for (;;) {
      const consumed = this.handshake.consume(this.#buffer, start, this.#buffered)
      this.#output.push(this.handshake.takeOutput())
      if (consumed === 0) break
      start += consumed
    }
    this.#buffer.copyWithin(0, start, this.#buffered)
    this.#buffered -= start
  }

  /** What is said from now on is said in TLS. Throws unless that was agreed, and nothing more. */
  secure(identity = STRANGER): void {
    if (this.outcome?.kind !== 'tls') throw new Error(`outcome: ${JSON.stringify(this.outcome)}`)
    if (this.#buffered > 0) throw new Error('plain bytes behind STARTTLS')
    this.handshake = this.handshake.inTls(peerTls(identity))
  }

  /** What the handshake left for the transmission phase. */
  get leftOver(): Buffer {
    return Buffer.from(this.#buffer.subarray(0, this.#buffered))
  }

  /** The server's bytes since the last call. */
  heard(): Buffer {
    const bytes = Buffer.concat(this.#output)
    this.#output = []
    return bytes
  }

  heardReplies(): OptionReplyMessage[] {
    return parseOptionReplies(this.heard())
  }

  /** Says one option and returns its replies. */
  ask(option: Uint8Array): OptionReplyMessage[] {
    this.say(option)
    return this.heardReplies()
  }

  get outcome(): Outcome | null {
    return this.handshake.outcome
  }

  /** Throws unless the transmission phase was reached. */
  agreement(): Agreement {
    const { outcome } = this
    if (outcome?.kind !== 'transmission') throw new Error(`outcome: ${JSON.stringify(outcome)}`)
    return outcome.agreement
  }
}

/** Reply types by name, for readable expectations. */
export const Reply = {
  ACK: 1,
  SERVER: 2,
  INFO: 3,
  META: 4,
  UNSUP: 0x80000001,
  POLICY: 0x80000002,
  INVALID: 0x80000003,
  TLS_REQD: 0x80000005,
  UNKNOWN: 0x80000006,
  SHUTDOWN: 0x80000007,
  TOO_BIG: 0x80000009,
  EXT_HEADER_REQD: 0x8000000a,
} as const

export function types(replies: readonly OptionReplyMessage[]): number[] {
  return replies.map((reply) => reply.type)
}
