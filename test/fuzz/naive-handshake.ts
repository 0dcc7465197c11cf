/**
 * What a server has to answer in the handshake, told from the client's bytes alone. Written from
 * the specification and docs/protocol.md in the plainest way; shares no code with the server.
 */
import { u16, u32, u64 } from '../helpers/naive-codec.ts'

export interface NaiveExport {
  readonly name: string
  readonly description: string
  readonly size: number
  readonly alignment: number
  readonly isReadOnly: boolean
}

export interface ExpectedReply {
  readonly option: number
  readonly type: number
  /** Null: a text for people. */
  readonly data: Buffer | null
}

export type Style = 'simple' | 'structured' | 'extended'

export interface Handshake {
  readonly replies: readonly ExpectedReply[]
  /** What EXPORT_NAME is answered with; empty without it. */
  readonly answer: Buffer
  /** `incomplete`: the server waits for more. */
  readonly end: 'incomplete' | 'violation' | 'aborted' | 'tls' | 'transmission'
  /** Bytes behind the handshake. */
  readonly rest: Buffer
  readonly export: NaiveExport | null
  readonly style: Style
  /** Ids of the selected contexts. */
  readonly contexts: ReadonlyMap<number, string>
  readonly clientFlags: number
}

export interface Settings {
  readonly exports: readonly NaiveExport[]
  readonly tls: 'off' | 'on' | 'require'
}

const CONTEXTS = new Map([
  [1, 'base:allocation'],
  [2, 'qemu:allocation-depth'],
])
const KNOWN = [1, 3, 5, 6, 7, 8, 9, 10, 11]
const KIB = 1024
const INVALID = 0x80000003

/** Thrown where an option is answered by an error. */
class Refusal {
  readonly type: number

  constructor(type: number) {
    this.type = type
  }
}

export class NaiveHandshake {
  readonly #settings: Settings
  readonly #isSecure: boolean
  #bytes: Buffer
  #clientFlags = 0
  #style: Style = 'simple'
  #contextsName = ''
  #contexts = new Map<number, string>()
  readonly #replies: ExpectedReply[] = []
  #answer = Buffer.alloc(0)
  #export: NaiveExport | null = null
  #end: Handshake['end'] = 'incomplete'

  /** @param clientFlags said before TLS began, or null: there is no TLS */
  constructor(settings: Settings, bytes: Buffer, clientFlags: number | null) {
    this.#settings = settings
    this.#bytes = bytes
    this.#isSecure = clientFlags !== null
    this.#clientFlags = clientFlags ?? 0
  }

  run(): Handshake {
    if (this.#isSecure || this.#readFlags()) {
      for (let count = 1; this.#end === 'incomplete' && this.#option(count); count++);
    }
    return {
      replies: this.#replies,
      answer: this.#answer,
      end: this.#end,
      rest: this.#bytes,
      export: this.#export,
      style: this.#style,
      contexts: this.#contexts,
      clientFlags: this.#clientFlags,
    }
  }

  #readFlags(): boolean {
    if (this.#bytes.length < 4) return false
    this.#clientFlags = this.#bytes.readUInt32BE(0)
    this.#bytes = this.#bytes.subarray(4)
    if (this.#clientFlags > 3) this.#end = 'violation'
    return true
  }

  /** @returns false: there is no whole option */
  #option(count: number): boolean {
    if (this.#bytes.length < 16) return false
    const magic = this.#bytes.toString('latin1', 0, 8)
    const [code, length] = [this.#bytes.readUInt32BE(8), this.#bytes.readUInt32BE(12)]
    const isFixed = (this.#clientFlags & 1) !== 0
    const tooLong = length > 32 * KIB * KIB || (code === 1 && length > 4 * KIB)
    const lacksTls = this.#settings.tls === 'require' && !this.#isSecure
    const mayAnswer = code === 1 ? !lacksTls : isFixed
    if (magic !== 'IHAVEOPT' || count > 64 || tooLong || !mayAnswer) {
      this.#end = 'violation'
      return true
    }
    if (this.#bytes.length < 16 + length) return false
    const data = this.#bytes.subarray(16, 16 + length)
    this.#bytes = this.#bytes.subarray(16 + length)
    if (code === 1) this.#exportName(data)
    else this.#answered(code, data, lacksTls)
    return true
  }

  #answered(code: number, data: Buffer, lacksTls: boolean): void {
    if (code === 10) this.#contexts = new Map()
    if (code === 2) {
      this.#say(2, 1)
      this.#end = 'aborted'
      return
    }
    const before = this.#replies.length
    try {
      const isLong = data.length > 64 * KIB
      if (lacksTls && (code !== 5 || isLong))
        throw new Refusal(code === 5 ? 0x80000009 : 0x80000005)
      if (!KNOWN.includes(code)) throw new Refusal(0x80000001)
      if (isLong) throw new Refusal(0x80000009)
      this.#carryOut(code, data)
    } catch (refusal) {
      if (!(refusal instanceof Refusal)) throw refusal
      this.#replies.length = before
      this.#replies.push({ option: code, type: refusal.type, data: null })
    }
  }

  #carryOut(code: number, data: Buffer): void {
    if (code === 6 || code === 7) this.#info(code, data)
    else if (code === 9 || code === 10) this.#meta(code, data)
    else {
      if (data.length > 0) throw new Refusal(INVALID)
      if (code === 3) this.#list()
      else if (code === 5) this.#startTls()
      else if (code === 8 && this.#style === 'extended') throw new Refusal(0x8000000a)
      else this.#style = code === 8 ? 'structured' : 'extended'
      if (code !== 5) this.#say(code, 1)
    }
  }

  #list(): void {
    for (const { name, description } of this.#settings.exports)
      this.#say(3, 2, Buffer.concat([u32(name.length), Buffer.from(name + description)]))
  }

  #startTls(): void {
    if (this.#settings.tls === 'off') throw new Refusal(0x80000002)
    if (this.#isSecure) throw new Refusal(INVALID)
    this.#say(5, 1)
    this.#end = 'tls'
  }

  #exportName(data: Buffer): void {
    const name = text(data)
    const found = name === null ? null : this.#named(name)
    if (found === null || this.#style === 'extended') {
      this.#end = 'violation'
      return
    }
    this.#enter(found, name ?? '')
    const head = Buffer.concat([u64(found.size), u16(this.#flagsOf(found))])
    const padding = Buffer.alloc((this.#clientFlags & 2) !== 0 ? 0 : 124)
    this.#answer = Buffer.concat([head, padding])
  }

  #info(code: number, data: Buffer): void {
    const { first: name, rest } = namePart(data)
    if (rest.length < 2) throw new Refusal(INVALID)
    const count = rest.readUInt16BE(0)
    if (rest.length !== 2 + 2 * count) throw new Refusal(INVALID)
    const types = Array.from({ length: count }, (_, index) => rest.readUInt16BE(2 + 2 * index))
    const found = this.#named(name)
    // Where TLS is optional, one that is missing may be there in TLS.
    const isHidden = this.#settings.tls === 'on' && !this.#isSecure
    if (found === null) throw new Refusal(isHidden ? 0x80000005 : 0x80000006)
    const kept = this.#contexts
    this.#enter(found, name)
    const { size, description, alignment } = found
    this.#say(code, 3, Buffer.concat([u16(0), u64(size), u16(this.#flagsOf(found))]))
    if (types.includes(1)) this.#say(code, 3, Buffer.concat([u16(1), Buffer.from(found.name)]))
    if (types.includes(2) && description !== '')
      this.#say(code, 3, Buffer.concat([u16(2), Buffer.from(description)]))
    if (types.includes(3)) {
      const sizes = [alignment, Math.max(4096, alignment), 32 * KIB * KIB]
      this.#say(code, 3, Buffer.concat([u16(3), ...sizes.map(u32)]))
    }
    this.#say(code, 1)
    if (code === 7) return
    this.#contexts = kept
    this.#end = 'incomplete'
    this.#export = null
  }

  #meta(code: number, data: Buffer): void {
    if (code === 10 && this.#style === 'simple') throw new Refusal(INVALID)
    const { first: name, rest: counted } = namePart(data)
    if (counted.length < 4) throw new Refusal(INVALID)
    const count = counted.readUInt32BE(0)
    let rest = counted.subarray(4)
    const queries: string[] = []
    for (let left = count; left > 0; left--) {
      const part = namePart(rest)
      queries.push(part.first)
      rest = part.rest
    }
    if (rest.length > 0) throw new Refusal(INVALID)
    if (this.#named(name) === null) throw new Refusal(0x80000006)
    this.#contextsName = code === 10 ? name : this.#contextsName
    for (const [id, context] of CONTEXTS) {
      const namespace = context.replace(/:.*/, ':')
      const isListed = queries.length === 0 || queries.includes(namespace)
      const isMeant = queries.includes(context) || (code === 9 && isListed)
      if (!isMeant) continue
      this.#say(code, 4, Buffer.concat([u32(code === 9 ? 0 : id), Buffer.from(context)]))
      if (code === 10) this.#contexts.set(id, context)
    }
    this.#say(code, 1)
  }

  #enter(found: NaiveExport, name: string): void {
    if (name !== this.#contextsName) this.#contexts = new Map()
    this.#export = found
    this.#end = 'transmission'
  }

  #flagsOf({ isReadOnly }: NaiveExport): number {
    let flags = 1 + 4 + 8 + 256 + 1024
    flags += isReadOnly ? 2 : 32 + 64 + 2048
    if (this.#style !== 'simple') flags += 128
    return flags + (this.#style === 'extended' && this.#contexts.size > 0 ? 4096 : 0)
  }

  #named(name: string): NaiveExport | null {
    const { exports } = this.#settings
    return exports.find((entry) => entry.name === name) ?? (name === '' ? exports[0] : null)
  }

  #say(option: number, type: number, data = Buffer.alloc(0)): void {
    this.#replies.push({ option, type, data })
  }
}

/** A string with its length in front, and what follows. */
function namePart(data: Buffer): { first: string; rest: Buffer } {
  if (data.length < 4 || data.length - 4 < data.readUInt32BE(0)) throw new Refusal(INVALID)
  const end = 4 + data.readUInt32BE(0)
  const first = text(data.subarray(4, end))
  if (first === null) throw new Refusal(INVALID)
  return { first, rest: data.subarray(end) }
}

/** Null: not UTF-8 without NUL of at most 4096 bytes. */
function text(bytes: Buffer): string | null {
  const decoded = bytes.toString('utf8')
  const isString = Buffer.from(decoded).equals(bytes) && bytes.length <= 4096
  return isString && !decoded.includes('\0') ? decoded : null
}
