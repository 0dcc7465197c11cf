/**
 * A disk whose server is killed again and again. Between two kills the model must agree with all
 * that is read, and the files with the rules; what a crash may leave is counted, no more.
 */
import assert from 'node:assert/strict'
import { existsSync, readdirSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import type { ExecutionContext } from 'ava'
import { checkDisk, Rule } from '../../chunkstore/check.ts'
import { ChecksumKind } from '../../chunkstore/options.ts'
import { scrubDisk } from '../../chunkstore/scrub.ts'
import { createNodeIo } from '../../io/node.ts'
import { fingerprint, makeDisk, type NewDisk } from './chunks.ts'
import { CrashModel, SECTOR } from './crash-model.ts'
import { DiskClient, Fua } from './disk-client.ts'
import type { Random } from './random.ts'
import { serve, type Served } from './serve.ts'
import { tempDirectory } from './temp.ts'

export const DISK_BYTES = 4 << 20
const READ_BYTES = 512 << 10
const SECTORS_MAX = 512
const CONNECTIONS = 3
const DEPTH = 6
const NO_HOLE = 2

export interface KillableOptions {
  readonly engine: string
  readonly chunkSize: string
  readonly checksums?: ChecksumKind
  /** Further arguments of `chunknbd serve`. */
  readonly arguments?: readonly string[]
}

export class KillableDisk {
  model = new CrashModel(DISK_BYTES)
  /** Changes that were answered, of all models. */
  answered = 0
  /** Temporary files that were left behind. */
  temporaries = 0
  /** Lock files that were left behind. */
  locks = 0
  /** Bytes that matched their checksums after a kill, and those that had none then. */
  verified = 0
  unknown = 0
  depth = 0
  readonly directory: string
  readonly #t: ExecutionContext
  readonly #random: Random
  readonly #options: KillableOptions
  readonly #parents = new Map<string, string>()
  #name = ''
  #disks = 0

  constructor(t: ExecutionContext, random: Random, options: KillableOptions) {
    this.#t = t
    this.#random = random
    this.#options = options
    this.directory = tempDirectory(t)
  }

  get descriptor(): string {
    return join(this.directory, `${this.#name}.chunkdisk`)
  }

  get part(): string {
    return join(this.directory, `${this.#name}.chunks`)
  }

  /** A new empty disk, and a new model. */
  async create(): Promise<void> {
    this.model = new CrashModel(DISK_BYTES)
    this.#parents.clear()
    this.depth = 0
    const { chunkSize, checksums = ChecksumKind.NONE } = this.#options
    await this.#make({ size: `${DISK_BYTES}`, chunkSize, checksums })
  }

  /** Goes on with a child of the disk, which is never changed from now on. */
  async createChild(): Promise<void> {
    const server = await this.start()
    await this.verify(server)
    assert.equal(await server.stop(), 0)
    this.#parents.set(this.part, fingerprint(this.part))
    this.depth++
    await this.#make({ parent: this.descriptor })
    // As a copy that was cut off leaves it, to be sure that there is one.
    writeFileSync(join(this.part, '.tmp-chunk1'), 'half')
    await this.check()
  }

  async #make(shape: NewDisk): Promise<void> {
    this.#name = `d${this.#disks++}`
    await makeDisk(this.descriptor, shape)
  }

  async start(): Promise<Served> {
    const socket = ['--listen', `nbd+unix:///?socket=${join(this.directory, 'socket')}`]
    const { engine, arguments: more = [] } = this.#options
    const server = await serve(this.#t, [this.descriptor, '--engine', engine, ...socket, ...more])
    assert.deepEqual(temporariesIn(this.part), [], 'what a crash left is removed at start')
    return server
  }

  /** Reads all of the disk and holds it against the model. */
  async verify({ uri }: Served): Promise<void> {
    const client = await DiskClient.connect(uri)
    for (let at = 0; at < DISK_BYTES; at += READ_BYTES) {
      this.model.verify(await client.read(at, READ_BYTES), at / SECTOR)
    }
    await client.disconnect()
  }

  /** Changes the disk over several connections, until the server is gone. */
  async load({ uri }: Served): Promise<void> {
    const work = async (connection: number): Promise<void> => {
      const client = await DiskClient.connect(uri)
      const lane = async (): Promise<void> => {
        for (;;) await this.#change(client, connection)
      }
      await allEnd(Array.from({ length: DEPTH }, lane))
      await client.raw.closed
    }
    await allEnd(Array.from({ length: CONNECTIONS }, (_, number) => work(number)))
  }

  async #change(client: DiskClient, connection: number): Promise<void> {
    const random = this.#random
    const choice = random.next()
    if (choice < 0.01) return client.flush()
    const isZero = choice < 0.25
    const wide = choice < 0.05
    const range = this.model.range(random, wide ? this.model.sectors / 4 : SECTORS_MAX)
    const change = this.model.send(connection, range.first, range.count, isZero)
    const flags = random.chance(0.02) ? Fua : 0
    const [offset, length] = [range.first * SECTOR, range.count * SECTOR]
    if (!isZero) await client.write(offset, this.model.render(change), flags)
    else if (random.chance(0.5)) await client.trim(offset, length, flags)
    else await client.zero(offset, length, flags | (random.chance(0.3) ? NO_HOLE : 0))
    this.model.answer(change)
    this.answered++
  }

  /** While nobody serves it. Whatever breaks a rule must be what a crash may leave. */
  async check(): Promise<void> {
    const findings = await checkDisk(createNodeIo().files, this.descriptor)
    for (const { rule, message, file } of findings) {
      assert.equal(rule, Rule.TEMPORARY, `${file}: ${message}`)
    }
    assert.equal(findings.length, temporariesIn(this.part).length)
    this.temporaries += findings.length
    if (existsSync(join(this.part, '.lock'))) this.locks++
    for (const [part, before] of this.#parents) assert.equal(fingerprint(part), before, part)
    if (this.#options.checksums !== undefined) await this.#scrub()
  }

  async #scrub(): Promise<void> {
    const { findings, layers } = await scrubDisk(createNodeIo().files, this.descriptor)
    assert.deepEqual(findings, [])
    for (const { verifiedBytes, unknownBytes } of layers) {
      this.verified += verifiedBytes
      this.unknown += unknownBytes
    }
  }
}

function temporariesIn(directory: string): string[] {
  return readdirSync(directory).filter((name) => name.startsWith('.tmp'))
}

/** What ends a load is that the server is gone, nothing else. */
async function allEnd(loads: readonly Promise<void>[]): Promise<void> {
  for (const end of await Promise.allSettled(loads)) {
    if (end.status === 'fulfilled') continue
    const { message, code } = end.reason as NodeJS.ErrnoException
    const isGone = ['ECONNRESET', 'EPIPE', 'ECONNREFUSED'].includes(code ?? '')
    if (!isGone) assert.match(message, /^the server closed the connection|is shutting down$/)
  }
}
