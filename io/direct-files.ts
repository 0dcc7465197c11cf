/**
 * Descriptors opened with O_DIRECT, and the transfers on them. Offsets and lengths are the
 * caller's care: multiples of `DIRECT_ALIGNMENT`. Memory is ours: what is not aligned as the
 * kernel wants it goes through aligned buffers, a piece at a time.
 *
 *   start ─▶ aligned? ──yes──▶ engine
 *              └─no─▶ a buffer? ──yes──▶ engine, copy, next piece ... ─▶ operation.complete()
 *                        └─no─▶ waits, first in, first out
 *
 * Buffers are kept for the next use: once there are enough, nothing is allocated.
 */
import { FileOperation } from './io.ts'
import type { SystemCalls } from './syscalls.ts'

/** Enough for every file system we accept: a page, and the largest block of common disks. */
export const DIRECT_ALIGNMENT = 4096

/** All buffers of an engine together; over it operations wait for one. */
export const BOUNCE_BYTES_MAX = 32 << 20

/** The largest buffer. What is longer goes in pieces, one after the other. */
export const BOUNCE_PIECE_BYTES_MAX = 1 << 20

const SIZE_BITS_MIN = Math.log2(DIRECT_ALIGNMENT)

/** Hands a transfer on an O_DIRECT descriptor to the kernel. It completes later, never at once. */
export type StartTransfer = (operation: FileOperation, isWrite: boolean) => void

export class DirectFiles {
  readonly #calls: SystemCalls
  readonly #startTransfer: StartTransfer
  /** What each descriptor wants of addresses. */
  readonly #alignments = new Map<number, number>()
  /** Free buffers by size. */
  readonly #free: Bounce[][] = []
  /** Of all buffers there are. */
  #bytes = 0
  #waiting: { readonly operation: FileOperation; readonly isWrite: boolean }[] = []

  constructor(calls: SystemCalls, startTransfer: StartTransfer) {
    this.#calls = calls
    this.#startTransfer = startTransfer
  }

  /** To be called with what was opened with O_DIRECT. */
  opened(fd: number): void {
    const alignment = this.#calls.memoryAlignment(fd)
    this.#alignments.set(fd, alignment > 0 ? alignment : DIRECT_ALIGNMENT)
  }

  /** To be called with every descriptor that is closed. */
  closed(fd: number): void {
    this.#alignments.delete(fd)
  }

  has(fd: number): boolean {
    return this.#alignments.size > 0 && this.#alignments.has(fd)
  }

  /** @returns false, always: it completes later */
  start(operation: FileOperation, isWrite: boolean): boolean {
    operation.result = 0
    if (this.#isAligned(operation)) this.#startTransfer(operation, isWrite)
    else if (this.#waiting.length > 0 || !this.#tryBounce(operation, isWrite)) {
      this.#waiting.push({ operation, isWrite })
    }
    return false
  }

  #isAligned({ fd, buffer, bufferOffset, length }: FileOperation): boolean {
    const alignment = this.#alignments.get(fd) ?? DIRECT_ALIGNMENT
    return this.#calls.addressOf(buffer, bufferOffset, length) % alignment === 0
  }

  /** @returns false: there is no buffer for it now */
  #tryBounce(operation: FileOperation, isWrite: boolean): boolean {
    const bytes = Math.min(operation.length, BOUNCE_PIECE_BYTES_MAX)
    const sizeBits = Math.max(SIZE_BITS_MIN, 32 - Math.clz32(bytes - 1))
    const bounce = this.#free[sizeBits]?.pop() ?? this.#make(sizeBits)
    bounce?.begin(operation, isWrite)
    return bounce !== null
  }

  #make(sizeBits: number): Bounce | null {
    const bytes = 2 ** sizeBits
    if (!this.#makeRoom(bytes)) return null
    this.#bytes += bytes
    return new Bounce(this.#calls.memory(bytes), this.#startTransfer, this.#giveBack)
  }

  /** Lets go of free buffers of other sizes, if it must. */
  #makeRoom(bytes: number): boolean {
    const bytesMax = BOUNCE_BYTES_MAX - bytes
    for (const list of this.#free.filter(Boolean)) {
      while (this.#bytes > bytesMax) {
        const bounce = list.pop()
        if (bounce === undefined) break
        this.#bytes -= bounce.memory.length
      }
    }
    return this.#bytes <= bytesMax
  }

  readonly #giveBack = (bounce: Bounce): void => {
    const sizeBits = Math.log2(bounce.memory.length)
    const list = (this.#free[sizeBits] ??= [])
    list.push(bounce)
    while (this.#waiting.length > 0) {
      const { operation, isWrite } = this.#waiting[0]
      if (!this.#tryBounce(operation, isWrite)) return
      this.#waiting.shift()
    }
  }
}

/** An aligned buffer, and the transfer through it on behalf of another operation. */
class Bounce extends FileOperation {
  readonly memory: Uint8Array
  readonly #startTransfer: StartTransfer
  readonly #giveBack: (bounce: Bounce) => void
  #outer: FileOperation | null = null
  #isWrite = false

  constructor(
    memory: Uint8Array,
    startTransfer: StartTransfer,
    giveBack: (bounce: Bounce) => void,
  ) {
    super()
    this.memory = memory
    this.buffer = memory
    this.#startTransfer = startTransfer
    this.#giveBack = giveBack
  }

  begin(outer: FileOperation, isWrite: boolean): void {
    this.#outer = outer
    this.#isWrite = isWrite
    this.fd = outer.fd
    this.#next(outer)
  }

  #next(outer: FileOperation): void {
    const done = outer.result
    this.length = Math.min(outer.length - done, this.memory.length)
    this.position = outer.position + done
    this.result = 0
    if (this.#isWrite) {
      const start = outer.bufferOffset + done
      this.memory.set(outer.buffer.subarray(start, start + this.length))
    }
    this.#startTransfer(this, this.#isWrite)
  }

  override complete(): void {
    const outer = this.#outer
    const { result, memory } = this
    if (outer === null) throw new Error('a bounce buffer completed that was not started')
    if (result > 0 && !this.#isWrite) {
      const bytes = result === memory.length ? memory : memory.subarray(0, result)
      outer.buffer.set(bytes, outer.bufferOffset + outer.result)
    }
    if (result >= 0) outer.result += result
    else outer.result = result
    if (result === this.length && outer.result < outer.length) return this.#next(outer)
    this.#outer = null
    this.#giveBack(this)
    outer.complete()
  }
}

/**
 * A transfer fell short: at the end of the file, or before an error that shows when it goes on.
 * @param before bytes done when the last part of it began
 * @param after bytes done now
 * @returns bytes that count as done when it goes on, or -1: it ends
 */
export function resumeFrom(before: number, after: number, isDirect: boolean): number {
  if (!isDirect) return after > before ? after : -1
  const aligned = after - (after % DIRECT_ALIGNMENT)
  return aligned > before ? aligned : -1
}
