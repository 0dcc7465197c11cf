/**
 * Chunk disks in a temporary directory: made by hand (not by the code under test), opened, and
 * looked at from outside. Each disk `x` is `x.chunkdisk` with its parts beside it.
 */
import assert from 'node:assert/strict'
import { createHash } from 'node:crypto'
import fs from 'node:fs'
import path from 'node:path'
import type { ExecutionContext } from 'ava'
import { ChunkDisk } from '../../chunkstore/disk.ts'
import type { DiskOptions } from '../../chunkstore/options.ts'
import type { Files } from '../../io/io.ts'
import { NodeFiles } from '../../io/node-files.ts'
import { SystemCalls, loadSystemCalls } from '../../io/syscalls.ts'
import { difference } from './bytes.ts'
import { headerText } from './checksum-oracle.ts'
import { DeviceClient } from './device-client.ts'
import { tempDirectory } from './temp.ts'

/** The node engine's files with system calls (null: this machine has none), and without. */
const calls = loadSystemCalls()
export const systemCalls = calls instanceof SystemCalls ? calls : null
export const nodeFiles = (): NodeFiles => new NodeFiles(systemCalls)
export const plainFiles = (): NodeFiles => new NodeFiles(null)

export interface OpenedDisk {
  readonly disk: ChunkDisk
  readonly client: DeviceClient
  /** Messages of errors and warnings. */
  readonly messages: string[]
}

export interface DiskShape {
  readonly size?: number
  readonly chunkSize?: number
  readonly parent?: string
  /** Directory and quota; one directory `NAME` that is large enough if not given. */
  readonly parts?: Readonly<Record<string, number>>
  readonly checksums?: boolean
}

export class DiskFolder {
  readonly directory: string
  readonly #opened = new Set<ChunkDisk>()

  constructor(t: ExecutionContext) {
    this.directory = tempDirectory(t)
    t.teardown(async () => {
      for (const disk of this.#opened) await disk.close().catch(() => {})
    })
  }

  path(...names: string[]): string {
    return path.join(this.directory, ...names)
  }

  /** Writes a descriptor and makes its part directories. @returns the descriptor's path */
  make(name: string, shape: DiskShape = {}): string {
    const { size = 2 ** 20, chunkSize = 65_536, parent, checksums = false } = shape
    const { parts = { [name]: 1_000_000 } } = shape
    const lines = parent === undefined ? [] : [`${parent}.chunkdisk`]
    lines.push(String(size), String(chunkSize))
    for (const [directory, quota] of Object.entries(parts)) {
      lines.push(`${quota} ${directory}`)
      fs.mkdirSync(this.path(directory), { recursive: true })
      if (checksums) fs.writeFileSync(this.path(directory, 'checksums'), headerText(chunkSize))
    }
    if (checksums) lines.push('checksums crc32c')
    const file = this.path(`${name}.chunkdisk`)
    fs.writeFileSync(file, lines.join('\n') + '\n')
    return file
  }

  /** Opens a disk; it is closed when the test ends, if the test has not done so. */
  async open(
    name: string,
    options: Partial<DiskOptions> = {},
    files: Files = nodeFiles(),
  ): Promise<OpenedDisk> {
    const messages: string[] = []
    const note = (_fields: object, message: string): void => void messages.push(message)
    const log = { info: () => {}, warn: note, error: note }
    const file = this.path(`${name}.chunkdisk`)
    const disk = await ChunkDisk.open(files, file, { log, ...options })
    this.#opened.add(disk)
    const close = disk.close.bind(disk)
    disk.close = () => {
      this.#opened.delete(disk)
      return close()
    }
    return { disk, client: new DeviceClient(disk), messages }
  }

  /** The files of a part with their sizes, sorted, as `chunk0 65536`. */
  list(part: string): string[] {
    return fs
      .readdirSync(this.path(part))
      .map((name) => `${name} ${fs.statSync(this.path(part, name)).size}`)
      .sort()
  }

  /** Bytes of storage in use by a file, or by all files of a directory. */
  allocated(...names: string[]): number {
    const file = this.path(...names)
    const stats = fs.statSync(file)
    if (!stats.isDirectory()) return stats.blocks * 512
    return fs.readdirSync(file).reduce((sum, name) => sum + this.allocated(...names, name), 0)
  }

  /** Contents, size and times of all files of a directory: equal if nothing was changed. */
  fingerprint(part: string): string[] {
    return fs
      .readdirSync(this.path(part))
      .sort()
      .map((name) => {
        const file = this.path(part, name)
        const { mtimeNs, ctimeNs, ino } = fs.statSync(file, { bigint: true })
        const hash = createHash('sha256').update(fs.readFileSync(file)).digest('hex')
        return `${name} ${hash} ${mtimeNs} ${ctimeNs} ${ino}`
      })
  }

  /** Descriptors of this process that point into the folder. */
  openDescriptors(): string[] {
    const open: string[] = []
    for (const fd of fs.readdirSync('/proc/self/fd')) {
      try {
        const target = fs.readlinkSync(`/proc/self/fd/${fd}`)
        if (target.startsWith(this.directory)) open.push(path.relative(this.directory, target))
      } catch {
        // Closed since the directory was read.
      }
    }
    return open
  }
}

/** Asserts that a device holds exactly `image`, by reads of both kinds and by block status. */
export async function sameAsImage(client: DeviceClient, image: Uint8Array): Promise<void> {
  const step = 2 ** 20
  for (let at = 0; at < image.length; at += step) {
    const length = Math.min(step, image.length - at)
    const expected = image.subarray(at, at + length)
    assert.equal(difference(await client.read(at, length), expected), '', `read at ${at}`)
    const [bytes] = await client.readExtents(at, length)
    assert.equal(difference(bytes, expected), '', `read with extents at ${at}`)
  }
  let at = 0
  for (const { length, flags } of await client.blockStatus(0, image.length)) {
    if ((flags & 2) !== 0) {
      const wrong = image.subarray(at, at + length).findIndex((byte) => byte !== 0)
      assert.equal(wrong, -1, `block status says zeros at ${at + wrong}`)
    }
    at += length
  }
}
