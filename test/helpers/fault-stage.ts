/**
 * A served disk on a file system that can be made to fail. The real one is a file system of its
 * own under the real server; where nothing can be mounted, and in any case beside it, the faults
 * are injected below a server in this process.
 */
import assert from 'node:assert/strict'
import fs from 'node:fs'
import { join } from 'node:path'
import type { ExecutionContext } from 'ava'
import { OPEN } from '../../cli/access-rules.ts'
import { Exports } from '../../cli/exports.ts'
import { checkDisk } from '../../chunkstore/check.ts'
import { DEFAULT_OPTIONS } from '../../chunkstore/options.ts'
import { createNodeIo } from '../../io/node.ts'
import { Server } from '../../nbd/server.ts'
import { DiskClient } from './disk-client.ts'
import { type Mounted, mount } from './mounted.ts'
import { COMMAND_LINE, serve, type Served } from './serve.ts'
import { tempDirectory } from './temp.ts'
import { TestFiles } from './test-files.ts'
import { run } from './tools.ts'

export const DISK_BYTES = 8 << 20
export const CHUNK_BYTES = 1 << 20

export interface Stage {
  /** Descriptor of the parent, if there is one. */
  readonly parent: string | undefined
  /** Where the chunk files of the disk are, as this process sees it. */
  readonly part: string
  /** The same as the server sees and logs it. */
  readonly partName: string
  readonly uri: string
  connect(): Promise<DiskClient>
  log(): string
  /** Takes all space but so many bytes. */
  fill(leave?: number): void
  free(): void
  /** Stops the server and checks the files; a failed flush is expected to be told. */
  end(expected?: { readonly status: number }): Promise<void>
}

/** A parent full of data, to be copied from. */
export interface StageOptions {
  readonly parent?: string | undefined
  readonly engine?: string
}

/** Writes `d.chunkdisk`. @returns its path */
export function describeDisk(directory: string, part: string, parent = ''): string {
  const lines = [`${DISK_BYTES}`, `${CHUNK_BYTES}`, `100 ${part}`]
  const file = join(directory, 'd.chunkdisk')
  fs.writeFileSync(file, [...(parent === '' ? [] : [parent]), ...lines, ''].join('\n'))
  return file
}

export class RealStage implements Stage {
  readonly parent: string | undefined
  readonly part: string
  readonly partName: string
  readonly mounted: Mounted
  server: Served
  readonly #t: ExecutionContext
  readonly #file: string
  readonly #engine: string

  /** @param script as `mount` wants it. @returns null, and says so: that is impossible here */
  static async start(
    t: ExecutionContext,
    script: string,
    { parent, engine = 'node' }: StageOptions = {},
  ): Promise<RealStage | null> {
    const mounted = await mount(t, script)
    if (mounted === null) {
      t.log('SKIPPED: the real fault; only the injected one is tested')
      return null
    }
    fs.mkdirSync(mounted.outside('part'))
    const file = describeDisk(tempDirectory(t), join(mounted.directory, 'part'), parent)
    const server = await RealStage.#serve(t, mounted, file, engine)
    return new RealStage(t, mounted, file, { parent, engine }, server)
  }

  static #serve(t: ExecutionContext, { launcher }: Mounted, file: string, engine: string) {
    const listen = `nbd+unix:///?socket=${join(tempDirectory(t), 'socket')}`
    return serve(t, [file, '--engine', engine, '--listen', listen], { launcher })
  }

  private constructor(
    t: ExecutionContext,
    mounted: Mounted,
    file: string,
    { parent, engine = 'node' }: StageOptions,
    server: Served,
  ) {
    this.#t = t
    this.#file = file
    this.#engine = engine
    this.parent = parent
    this.mounted = mounted
    this.server = server
    this.part = mounted.outside('part')
    this.partName = join(mounted.directory, 'part')
  }

  get uri(): string {
    return this.server.uri
  }

  connect(): Promise<DiskClient> {
    return DiskClient.connect(this.uri)
  }

  log(): string {
    return this.server.log()
  }

  fill(leave = 0): void {
    const filler = fs.openSync(this.mounted.outside('filler'), 'w')
    let size = 0
    for (const step of [65_536, 4096]) {
      const bytes = Buffer.alloc(step, 1)
      try {
        for (;;) size += fs.writeSync(filler, bytes, 0, step, size)
      } catch (error) {
        assert.equal((error as NodeJS.ErrnoException).code, 'ENOSPC')
      }
    }
    fs.fsyncSync(filler)
    fs.ftruncateSync(filler, Math.max(0, size - leave))
    fs.closeSync(filler)
  }

  free(): void {
    fs.rmSync(this.mounted.outside('filler'))
  }

  async restart(): Promise<void> {
    this.server = await RealStage.#serve(this.#t, this.mounted, this.#file, this.#engine)
  }

  async end({ status } = { status: 0 }): Promise<void> {
    assert.equal(await this.server.stop(), status)
    const [enter, ...args] = this.mounted.launcher
    const check = [process.execPath, ...COMMAND_LINE, 'check', this.#file]
    await run(this.#t, enter, [...args, ...check])
  }
}

const ENOSPC = 28
const TAKES_SPACE = /^(write|zeroRange) |^create \.tmp/

export class InjectedStage implements Stage {
  readonly parent: string | undefined
  readonly part: string
  readonly partName: string
  readonly files = new TestFiles(createNodeIo().files)
  readonly #file: string
  readonly #server: Server
  readonly #exports = new Exports({ ...createNodeIo(), files: this.files })
  readonly #lines: string[] = []
  readonly #log: { readonly info: Note; readonly warn: Note; readonly error: Note }
  uri = ''

  static async start(t: ExecutionContext, { parent }: StageOptions = {}): Promise<InjectedStage> {
    const stage = new InjectedStage(tempDirectory(t), parent)
    await stage.#start(t)
    return stage
  }

  private constructor(directory: string, parent: string | undefined) {
    this.parent = parent
    this.part = this.partName = join(directory, 'part')
    fs.mkdirSync(this.part)
    this.#file = describeDisk(directory, this.part, parent)
    const note = (fields: object, message: string) =>
      void this.#lines.push(JSON.stringify({ ...fields, msg: message }))
    const log = { trace() {}, debug() {}, info: note, warn: note, error: note }
    const settings = { exports: this.#exports, log: { ...log, isLevelEnabled: () => false } }
    this.#server = new Server({ io: createNodeIo(), ...settings })
    this.#log = log
  }

  async #start(t: ExecutionContext): Promise<void> {
    const socket = join(tempDirectory(t), 'socket')
    const { cacheMode: cache, trim, openFilesMax } = DEFAULT_OPTIONS
    const how = { cache, trim, movable: false, lockFiles: false, uuid: null, mapPath: [] }
    const disk = { file: this.#file, pageCache: 1 << 20, ...how }
    const shared = { openFilesMax, log: this.#log }
    const entry = { name: 'd', readOnly: false, access: OPEN, disk }
    await this.#exports.open({ exports: [entry], defaultExport: 'd' }, shared)
    await this.#server.listen({ kind: 'unix', path: socket })
    this.uri = `nbd+unix:///?socket=${socket}`
    t.teardown(() => this.#server.stop())
  }

  connect(): Promise<DiskClient> {
    return DiskClient.connect(this.uri)
  }

  log(): string {
    return this.#lines.join('\n')
  }

  /** Space that is there already can be written to, as on a real file system. */
  fill(leave = 0): void {
    let left = leave
    this.files.fault = (call) => {
      if (!TAKES_SPACE.test(call)) return 0
      const [, name, place] = call.split(' ')
      const [position, length] = (place ?? '0+0').split('+').map(Number)
      const isThere = isAllocated(join(this.part, name), position, length)
      if (isThere || (left -= length || 1) >= 0) return 0
      return ENOSPC
    }
  }

  free(): void {
    this.files.fault = () => 0
  }

  async end({ status } = { status: 0 }): Promise<void> {
    await this.#server.stop()
    const closed = this.#exports.close()
    if (status === 0) await closed
    else await assert.rejects(closed, { code: 'ESYNC' })
    assert.deepEqual(await checkDisk(createNodeIo().files, this.#file), [])
  }
}

type Note = (fields: object, message: string) => void

/** Nothing but data in this range: told by comparing what is allocated with the whole file. */
function isAllocated(file: string, position: number, length: number): boolean {
  if (!fs.existsSync(file)) return false
  const bytes = fs.readFileSync(file).subarray(position, position + length)
  return bytes.length === length && bytes.every((byte) => byte !== 0)
}
