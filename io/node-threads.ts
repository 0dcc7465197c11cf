/**
 * Runs file operations on Node's thread pool. Each `FileOperation` keeps a `ThreadSlot` with its
 * callbacks bound once, so starting one allocates nothing of ours. Short transfers go on until
 * the end of the file.
 */
import fs from 'node:fs'
import os from 'node:os'
import { resumeFrom } from './direct-files.ts'
import type { FileOperation } from './io.ts'
import type { SystemCalls } from './syscalls.ts'

/** The FFI runs at most 256 calls at once; stay well below, the pool has fewer threads anyway. */
const FFI_CALLS_MAX = 64
const EIO = 5

type Callback = (error: NodeJS.ErrnoException | null) => void
type TransferCallback = (error: NodeJS.ErrnoException | null, count: number) => void

export class ThreadSlot {
  readonly #operation: FileOperation
  readonly #queue: ThreadQueue
  mode = 0
  /** The transfer under way is on a descriptor with O_DIRECT. */
  isDirect = false

  /** @returns the slot of this operation, made at its first use */
  static of(operation: FileOperation, queue: ThreadQueue): ThreadSlot {
    if (!(operation.engineState instanceof ThreadSlot)) {
      operation.engineState = new ThreadSlot(operation, queue)
    }
    const slot = operation.engineState as ThreadSlot
    slot.isDirect = false
    return slot
  }

  constructor(operation: FileOperation, queue: ThreadQueue) {
    this.#operation = operation
    this.#queue = queue
  }

  /** Continues after `result` bytes that were read already. */
  read(): void {
    const { fd, buffer, bufferOffset, length, position, result } = this.#operation
    fs.read(fd, buffer, bufferOffset + result, length - result, position + result, this.#onRead)
  }

  readonly #onRead: TransferCallback = (error, count) => {
    if (this.#transferred(error, count)) this.#operation.complete()
    else this.read()
  }

  write(): void {
    const { fd, buffer, bufferOffset, length, position, result } = this.#operation
    fs.write(fd, buffer, bufferOffset + result, length - result, position + result, this.#onWrite)
  }

  readonly #onWrite: TransferCallback = (error, count) => {
    const operation = this.#operation
    if (!this.#transferred(error, count)) return this.write()
    // Unlike a read, a write does not end early.
    if (operation.result >= 0 && operation.result < operation.length) operation.result = -EIO
    operation.complete()
  }

  /** @returns true: nothing is left to transfer */
  #transferred(error: NodeJS.ErrnoException | null, count: number): boolean {
    const operation = this.#operation
    if (error !== null) {
      operation.result = -errnoOf(error)
      return true
    }
    const before = operation.result
    operation.result += count
    if (operation.result === operation.length) return true
    const resumed = resumeFrom(before, operation.result, this.isDirect)
    if (resumed >= 0) operation.result = resumed
    return resumed < 0
  }

  sync(): void {
    fs.fdatasync(this.#operation.fd, this.#onDone)
  }

  syncDirectory(): void {
    fs.fsync(this.#operation.fd, this.#onDone)
  }

  truncate(): void {
    fs.ftruncate(this.#operation.fd, this.#operation.length, this.#onDone)
  }

  readonly #onDone: Callback = (error) => {
    this.#operation.result = error === null ? 0 : -errnoOf(error)
    this.#operation.complete()
  }

  fallocate(mode: number): void {
    this.mode = mode
    this.#queue.add(this)
  }

  /** Called by the queue when the FFI has room. */
  startFallocate(calls: SystemCalls): void {
    const { fd, position, length } = this.#operation
    calls.fallocateAsync(fd, this.mode, position, length, this.#onFallocate)
  }

  readonly #onFallocate = (error: Error | null, result: number): void => {
    this.#operation.result = error === null ? this.#queue.outcome(result) : -EIO
    this.#queue.done()
    this.#operation.complete()
  }
}

/** Calls that wait for room in the FFI, first in, first out. */
export class ThreadQueue {
  readonly #calls: SystemCalls | null
  readonly #waiting: ThreadSlot[] = []
  #running = 0

  constructor(calls: SystemCalls | null) {
    this.#calls = calls
  }

  add(slot: ThreadSlot): void {
    if (this.#running < FFI_CALLS_MAX) this.#start(slot)
    else this.#waiting.push(slot)
  }

  #start(slot: ThreadSlot): void {
    if (this.#calls === null) throw new Error('no system calls on this machine')
    this.#running++
    slot.startFallocate(this.#calls)
  }

  outcome(result: number): number {
    return this.#calls === null ? result : this.#calls.outcome(result)
  }

  done(): void {
    this.#running--
    const next = this.#waiting.shift()
    if (next !== undefined) this.#start(next)
  }
}

/** @returns the errno (above 0) of one of Node's system errors; EIO if it is not one */
export function errnoOf(error: unknown): number {
  const { errno, code } = error as NodeJS.ErrnoException
  if (typeof errno === 'number' && errno < 0) return -errno
  const known = os.constants.errno as Record<string, number | undefined>
  return (code !== undefined ? known[code] : undefined) ?? EIO
}
