/**
 * Files with an io_uring. What the kernel can do from its memory is done at once, by a plain system
 * call. Everything that may wait goes through the ring: cold reads, writes while the kernel makes
 * writers wait, syncs, holes. The control path is the node engine's.
 */
import { resumeFrom } from './direct-files.ts'
import type { FileOperation } from './io.ts'
import { NodeFiles } from './node-files.ts'
import { Fallocate, type SystemCalls } from './syscalls.ts'
import { FSYNC_DATASYNC, Opcode } from './uring-abi.ts'
import type { Entry, RingUser } from './uring-entry.ts'
import type { Ring } from './uring-ring.ts'

const EINTR = 4
const EAGAIN = 11
const EIO = 5

export interface UringFilesOptions {
  /** The kernel can set the size of a file through the ring. */
  readonly hasTruncate: boolean
}

export class UringFiles extends NodeFiles {
  readonly #ring: Ring
  readonly #calls: SystemCalls
  readonly #options: UringFilesOptions
  /** See `Io.threadsOnly`. */
  threadsOnly = false

  constructor(ring: Ring, calls: SystemCalls, options: UringFilesOptions) {
    super(calls)
    this.#ring = ring
    this.#calls = calls
    this.#options = options
  }

  protected override readAlone(operation: FileOperation): boolean {
    if (this.threadsOnly) return super.readAlone(operation)
    const { fd, buffer, bufferOffset, length, position } = operation
    const count = this.#calls.readNowait(fd, buffer, bufferOffset, length, position)
    // Not in memory, or whatever keeps this call from working here: the ring finds out.
    if (count > 0) operation.result = count
    return count === length || count === 0 || this.#start(operation, Opcode.READ, 0)
  }

  protected override writeAlone(operation: FileOperation): boolean {
    if (this.threadsOnly || this.pieces === null) return super.writeAlone(operation)
    const start = performance.now()
    if (this.slowness.mustAvoid(start)) return this.#start(operation, Opcode.WRITE, 0)
    const failure = this.pieces.write(operation)
    this.slowness.took(start, performance.now())
    // The ring goes on behind what was written, and tells of what is in the way.
    return failure === 0 || this.#start(operation, Opcode.WRITE, 0)
  }

  override sync(operation: FileOperation): boolean {
    if (this.threadsOnly) return super.sync(operation)
    return this.#start(operation, Opcode.FSYNC, FSYNC_DATASYNC)
  }

  override syncDirectory(operation: FileOperation): boolean {
    if (this.threadsOnly) return super.syncDirectory(operation)
    return this.#start(operation, Opcode.FSYNC, 0)
  }

  override punchHole(operation: FileOperation): boolean {
    if (this.threadsOnly) return super.punchHole(operation)
    return this.#start(operation, Opcode.FALLOCATE, Fallocate.PUNCH_HOLE)
  }

  override zeroRange(operation: FileOperation): boolean {
    if (this.threadsOnly) return super.zeroRange(operation)
    return this.#start(operation, Opcode.FALLOCATE, Fallocate.ZERO_RANGE)
  }

  override allocate(operation: FileOperation): boolean {
    if (this.threadsOnly) return super.allocate(operation)
    return this.#start(operation, Opcode.FALLOCATE, Fallocate.ALLOCATE)
  }

  override truncate(operation: FileOperation): boolean {
    if (this.threadsOnly || !this.#options.hasTruncate) return super.truncate(operation)
    return this.#start(operation, Opcode.FTRUNCATE, 0)
  }

  protected override startTransfer(operation: FileOperation, isWrite: boolean): void {
    if (this.threadsOnly) super.startTransfer(operation, isWrite)
    else this.#start(operation, isWrite ? Opcode.WRITE : Opcode.READ, 0, true)
  }

  #start(operation: FileOperation, opcode: number, flags: number, isDirect = false): boolean {
    if (!(operation.engineState instanceof FileUser)) {
      operation.engineState = new FileUser(operation, this.#ring, this.#calls)
    }
    const user = operation.engineState as FileUser
    user.begin(opcode, flags, isDirect)
    return false
  }
}

/** A file operation on the ring; each keeps its own from one use to the next. */
class FileUser implements RingUser {
  readonly #operation: FileOperation
  readonly #ring: Ring
  readonly #calls: SystemCalls
  #opcode = 0
  #flags = 0
  #isDirect = false

  constructor(operation: FileOperation, ring: Ring, calls: SystemCalls) {
    this.#operation = operation
    this.#ring = ring
    this.#calls = calls
  }

  /** @param flags of the sync, or the mode of the fallocate */
  begin(opcode: number, flags: number, isDirect: boolean): void {
    this.#opcode = opcode
    this.#flags = flags
    this.#isDirect = isDirect
    if (isDirect) this.#ring.startEarly(this)
    else this.#ring.start(this)
  }

  prepare(entry: Entry): void {
    const { fd, length, position } = this.#operation
    switch (this.#opcode) {
      case Opcode.READ:
      case Opcode.WRITE:
        return this.#prepareTransfer(entry)
      case Opcode.FSYNC:
        return entry.set(Opcode.FSYNC, fd, 0, 0, 0, this.#flags)
      case Opcode.FALLOCATE:
        return entry.set(Opcode.FALLOCATE, fd, length, this.#flags, position, 0)
      default:
        return entry.set(Opcode.FTRUNCATE, fd, 0, 0, length, 0)
    }
  }

  /** Goes on behind what was transferred already. */
  #prepareTransfer(entry: Entry): void {
    const { fd, buffer, bufferOffset, length, position, result } = this.#operation
    const left = length - result
    const address = this.#calls.addressOf(buffer, bufferOffset + result, left)
    entry.set(this.#opcode, fd, address, left, position + result, 0)
  }

  completed(result: number): void {
    if (result === -EINTR || result === -EAGAIN) return this.#ring.start(this)
    const operation = this.#operation
    const isTransfer = this.#opcode === Opcode.READ || this.#opcode === Opcode.WRITE
    if (result < 0) operation.result = result
    else if (!isTransfer) operation.result = 0
    else if (this.#mustGoOn(result)) return this.#ring.start(this)
    operation.complete()
  }

  /** @param count bytes that were transferred now */
  #mustGoOn(count: number): boolean {
    const operation = this.#operation
    const before = operation.result
    const after = before + count
    operation.result = after
    if (after === operation.length) return false
    const resumed = resumeFrom(before, after, this.#isDirect)
    if (resumed >= 0) operation.result = resumed
    // Unlike a read, a write does not end early.
    else if (this.#opcode === Opcode.WRITE) operation.result = -EIO
    return resumed >= 0
  }
}
