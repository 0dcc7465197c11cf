/**
 * Files on Node's `fs` (a thread pool), with the missing system calls where they load.
 * A read is served at once when the kernel has the pages, else by a thread. A write goes to the
 * kernel's memory at once; while the kernel makes writers wait, writes go to threads. With
 * O_DIRECT both wait for the disk, so they always go to threads.
 */
import fs from 'node:fs'
import type { DirectoryAbilities, FileOperation, FileOutlet, Files, FileStatus } from './io.ts'
import type { MachineIdentity } from './io.ts'
import { LockKind, Seek, type SeekKind } from './io.ts'
import { createText, replaceText } from './create-text.ts'
import { DirectFiles, type StartTransfer } from './direct-files.ts'
import { findAbilities } from './directory-abilities.ts'
import { lockFile, lockHolder } from './lock.ts'
import { machineIdentity } from './machine-identity.ts'
import { alignedMemory } from './memory.ts'
import { Slowness } from './slowness.ts'
import { Fallocate, type SystemCalls } from './syscalls.ts'
import { neighbourReads, neighbourWrites, type Neighbours } from './neighbours.ts'
import { WritePieces } from './write-pieces.ts'
import { ThreadSlot, ThreadQueue, errnoOf } from './node-threads.ts'

const EOPNOTSUPP = 95

export class NodeFiles implements Files {
  readonly #calls: SystemCalls | null
  readonly #threads: ThreadQueue
  protected readonly slowness = new Slowness()
  protected readonly pieces: WritePieces | null
  readonly #direct: DirectFiles | null
  readonly #reads: Neighbours | null
  readonly #writes: Neighbours | null

  constructor(calls: SystemCalls | null, pieces = calls && new WritePieces(calls)) {
    this.#calls = calls
    this.pieces = pieces
    this.#threads = new ThreadQueue(calls)
    const start: StartTransfer = (operation, isWrite) => this.startTransfer(operation, isWrite)
    this.#direct = calls === null ? null : new DirectFiles(calls, start)
    this.#reads = calls && neighbourReads(calls, (operation) => this.readAlone(operation))
    const writeAlone = (operation: FileOperation): boolean => this.writeAlone(operation)
    this.#writes = calls && pieces && neighbourWrites(calls, this.slowness, pieces, writeAlone)
  }

  read(operation: FileOperation): boolean {
    operation.result = 0
    if (this.isDirect(operation.fd)) return this.startDirect(operation, false)
    if (operation.outlet !== null && this.#giveAway(operation, operation.outlet)) return true
    if (this.#reads !== null && !operation.atOnce && this.#reads.take(operation)) return false
    return this.readAlone(operation)
  }

  /** @returns false: it is not in memory, or not wanted */
  #giveAway(operation: FileOperation, outlet: FileOutlet): boolean {
    const { fd, position, length } = operation
    if (!this.#calls?.isCached(fd, position, length)) return false
    if (!outlet.take(fd, position, length)) return false
    operation.result = length
    return true
  }

  protected readAlone(operation: FileOperation): boolean {
    if (this.#calls !== null) {
      const { fd, buffer, bufferOffset, length, position } = operation
      const count = this.#calls.readNowait(fd, buffer, bufferOffset, length, position)
      if (count === length || count === 0) {
        operation.result = count
        return true
      }
      // Not in memory, or whatever keeps this call from working here: a thread finds out.
      if (count > 0) operation.result = count
    }
    ThreadSlot.of(operation, this.#threads).read()
    return false
  }

  write(operation: FileOperation): boolean {
    operation.result = 0
    if (this.isDirect(operation.fd)) return this.startDirect(operation, true)
    if (this.#writes !== null && this.#writes.take(operation)) return false
    return this.writeAlone(operation)
  }

  protected writeAlone(operation: FileOperation): boolean {
    const start = performance.now()
    if (this.pieces === null || this.slowness.mustAvoid(start)) {
      ThreadSlot.of(operation, this.#threads).write()
      return false
    }
    const failure = this.pieces.write(operation)
    if (failure < 0) operation.result = failure
    else this.slowness.took(start, performance.now())
    return true
  }

  sync(operation: FileOperation): boolean {
    ThreadSlot.of(operation, this.#threads).sync()
    return false
  }

  syncDirectory(operation: FileOperation): boolean {
    ThreadSlot.of(operation, this.#threads).syncDirectory()
    return false
  }

  punchHole(operation: FileOperation): boolean {
    return this.#fallocate(operation, Fallocate.PUNCH_HOLE)
  }

  zeroRange(operation: FileOperation): boolean {
    return this.#fallocate(operation, Fallocate.ZERO_RANGE)
  }

  allocate(operation: FileOperation): boolean {
    return this.#fallocate(operation, Fallocate.ALLOCATE)
  }

  #fallocate(operation: FileOperation, mode: number): boolean {
    if (this.#calls === null) {
      operation.result = -EOPNOTSUPP
      return true
    }
    ThreadSlot.of(operation, this.#threads).fallocate(mode)
    return false
  }

  truncate(operation: FileOperation): boolean {
    ThreadSlot.of(operation, this.#threads).truncate()
    return false
  }

  seek(operation: FileOperation, kind: SeekKind): boolean {
    operation.result =
      this.#calls === null
        ? -EOPNOTSUPP
        : this.#calls.seek(operation.fd, operation.position, kind === Seek.DATA ? 3 : 4)
    return true
  }

  allocated(operation: FileOperation): boolean {
    try {
      operation.result = fs.fstatSync(operation.fd).blocks * 512
    } catch (error) {
      operation.result = -errnoOf(error)
    }
    return true
  }

  submit(): void {
    this.#reads?.transferNow()
    this.#writes?.transferNow()
  }

  memory(bytes: number): Uint8Array {
    return this.#calls === null ? alignedMemory(bytes) : this.#calls.memory(bytes)
  }

  open(path: string, flags: number, mode = 0o600): Promise<number> {
    const isDirect = (flags & fs.constants.O_DIRECT) !== 0
    const direct = this.#direct
    if (isDirect && direct === null) return Promise.reject(directNeedsCalls(path))
    return new Promise((resolve, reject) => {
      fs.open(path, flags, mode, (error, fd) => {
        if (error) return reject(error)
        if (isDirect) direct?.opened(fd)
        else this.pieces?.opened(path, fd)
        resolve(fd)
      })
    })
  }

  close(fd: number): Promise<void> {
    this.#direct?.closed(fd)
    this.pieces?.closed(fd)
    return new Promise((resolve, reject) => {
      fs.close(fd, (error) => (error ? reject(error) : resolve()))
    })
  }

  async status(path: string): Promise<FileStatus> {
    return statusFrom(await fs.promises.stat(path, { bigint: true }))
  }

  async statusOf(fd: number): Promise<FileStatus> {
    return statusFrom(fs.fstatSync(fd, { bigint: true }))
  }

  list(directory: string): Promise<string[]> {
    return fs.promises.readdir(directory)
  }

  async makeDirectory(path: string): Promise<void> {
    await fs.promises.mkdir(path, { recursive: true, mode: 0o700 })
  }

  rename(from: string, to: string): Promise<void> {
    return fs.promises.rename(from, to)
  }

  remove(path: string): Promise<void> {
    return fs.promises.unlink(path)
  }

  async readText(path: string, bytesMax: number): Promise<string> {
    const found = await fs.promises.stat(path)
    const { size } = found
    // A pipe would be waited for, a device may have no end.
    if (!found.isFile() && !found.isDirectory()) {
      throw Object.assign(new Error(`${path} is not a file`), { code: 'EINVAL' })
    }
    if (size > bytesMax) {
      const message = `${path} has ${size} bytes; at most ${bytesMax} are read`
      throw Object.assign(new Error(message), { code: 'EFBIG' })
    }
    return fs.promises.readFile(path, 'utf8')
  }

  createText(path: string, text: string, mode?: number): Promise<void> {
    return createText(path, text, mode)
  }

  replaceText(path: string, text: string): Promise<void> {
    return replaceText(path, text)
  }

  lock(fd: number, kind: LockKind): Promise<boolean> {
    return lockFile(this.#calls, fd, kind === LockKind.EXCLUSIVE)
  }

  lockHolder(fd: number): Promise<string> {
    return lockHolder(fd)
  }

  machineIdentity(): Promise<MachineIdentity> {
    return machineIdentity()
  }

  async abilities(directory: string): Promise<DirectoryAbilities> {
    await this.pieces?.probe(directory)
    return findAbilities(this.#calls, directory)
  }

  /** Hands a transfer on a descriptor with O_DIRECT to the kernel; its memory is aligned. */
  protected startTransfer(operation: FileOperation, isWrite: boolean): void {
    const slot = ThreadSlot.of(operation, this.#threads)
    slot.isDirect = true
    if (isWrite) slot.write()
    else slot.read()
  }

  protected isDirect(fd: number): boolean {
    return this.#direct !== null && this.#direct.has(fd)
  }

  /** @returns false: it completes later, for what the disk does is waited for */
  protected startDirect(operation: FileOperation, isWrite: boolean): boolean {
    this.#direct?.start(operation, isWrite)
    return false
  }
}

function statusFrom(stats: fs.BigIntStats): FileStatus {
  return {
    size: Number(stats.size),
    allocated: Number(stats.blocks) * 512,
    links: Number(stats.nlink),
    isFile: stats.isFile(),
    isDirectory: stats.isDirectory(),
    identity: `${stats.dev}:${stats.ino}`,
    mtimeMs: Number(stats.mtimeMs),
  }
}

function directNeedsCalls(path: string): Error {
  const message = `${path}: O_DIRECT needs aligned memory, and so the system calls of koffi`
  return Object.assign(new Error(message), { code: 'ENOTSUP', errno: -EOPNOTSUPP, path })
}
