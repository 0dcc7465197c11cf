/**
 * Transfers of one direction that lie side by side in a file: held back until the batch ends, then
 * carried out by one system call. Which ones that will be is guessed: an operation that begins
 * where the one before it ended is probably followed by more.
 *
 *   take ─▶ held ─▶ transferNow ─▶ complete, in order
 *                        └── what the call did not do ─▶ each for itself
 */
import type { FileOperation } from './io.ts'
import type { Slowness } from './slowness.ts'
import type { SystemCalls } from './syscalls.ts'
import { PIECE_BYTES, type WritePieces } from './write-pieces.ts'

/** Of an operation; for larger ones the system call is the smaller part. */
const LENGTH_MAX = 16 * 1024
const HELD_MAX = 256
const VECTOR_WORDS = 4

/** Carries out one operation by itself, as the start methods of `Files`. */
type Alone = (operation: FileOperation) => boolean

/** @returns bytes transferred, or -errno */
type Transfer = (fd: number, vector: number, count: number, position: number) => number

/** Whether what is to be transferred has to be cut at multiples of `PIECE_BYTES`. */
type MustCut = (fd: number, position: number, length: number) => boolean

export class Neighbours {
  readonly #calls: SystemCalls
  readonly #transfer: Transfer
  readonly #alone: Alone
  readonly #mustCut: MustCut
  #held: FileOperation[] = []
  /** The other array: those being completed. */
  #ending: FileOperation[] = []
  /** Where the last one ended. */
  #fd = -1
  #end = -1
  #isArmed = false
  readonly #vector = new Uint32Array(HELD_MAX * VECTOR_WORDS)
  readonly #vectorAddress: number
  readonly #onArmed = (): void => {
    this.#isArmed = false
    this.transferNow()
  }

  constructor(calls: SystemCalls, transfer: Transfer, alone: Alone, mustCut: MustCut = never) {
    this.#calls = calls
    this.#transfer = transfer
    this.#alone = alone
    this.#mustCut = mustCut
    this.#vectorAddress = calls.addresses.of(new Uint8Array(this.#vector.buffer))
  }

  /** @returns true: it is held and will complete; false: it is the caller's */
  take(operation: FileOperation): boolean {
    const { fd, position, length } = operation
    const held = this.#held
    const follows = position === this.#end && fd === this.#fd && length <= LENGTH_MAX
    if (!follows || held.length === HELD_MAX) {
      if (held.length > 0) return false
      this.#fd = fd
      this.#end = position + length
      return false
    }
    this.#end = position + length
    held.push(operation)
    this.#arm()
    return true
  }

  /** Ends the batch. What is taken while it completes the last one waits for the next tick. */
  transferNow(): void {
    const operations = this.#held
    if (operations.length === 0 || this.#ending.length > 0) return
    this.#held = this.#ending
    this.#ending = operations
    let left = this.#transferAll(operations)
    for (const operation of operations) {
      const { length } = operation
      if (left >= length) operation.result = length
      left = left >= length ? left - length : -1
      if (left >= 0 || this.#alone(operation)) operation.complete()
    }
    operations.length = 0
    if (this.#held.length > 0) this.#arm()
  }

  /** @returns how many bytes, from the first one's on, were transferred */
  #transferAll(operations: readonly FileOperation[]): number {
    const vector = this.#vector
    let at = 0
    for (const { buffer, bufferOffset, length } of operations) {
      const address = this.#calls.addressOf(buffer, bufferOffset, length)
      vector[at] = address % 4294967296
      vector[at + 1] = address / 4294967296
      vector[at + 2] = length
      at += VECTOR_WORDS
    }
    const [{ fd, position }] = operations
    const mustCut = this.#mustCut(fd, position, this.#end - position)
    let done = 0
    for (let from = 0; from < operations.length;) {
      const to = mustCut ? pieceEnd(operations, from) : operations.length
      const vectorAddress = this.#vectorAddress + from * VECTOR_WORDS * 4
      const count = this.#transfer(fd, vectorAddress, to - from, position + done)
      if (count > 0) done += count
      const { position: last, length } = operations[to - 1]
      if (position + done < last + length) break
      from = to
    }
    return done
  }

  /** Somebody who has no batch, or forgets to end it, must not wait for ever. */
  #arm(): void {
    if (this.#isArmed) return
    this.#isArmed = true
    process.nextTick(this.#onArmed)
  }
}

const never: MustCut = () => false

/** @returns the index behind the operations that lie in the same piece as that at `from` */
function pieceEnd(operations: readonly FileOperation[], from: number): number {
  const piece = Math.floor(operations[from].position / PIECE_BYTES)
  const border = (piece + 1) * PIECE_BYTES
  let to = from + 1
  while (to < operations.length && operations[to].position < border) to++
  return to
}

/** Reads of what the kernel has in memory. */
export function neighbourReads(calls: SystemCalls, alone: Alone): Neighbours {
  const read: Transfer = (fd, vector, count, at) => calls.readVectorNowait(fd, vector, count, at)
  return new Neighbours(calls, read, alone)
}

/** Writes into the kernel's memory, unless that makes writers wait. */
export function neighbourWrites(
  calls: SystemCalls,
  slowness: Slowness,
  pieces: WritePieces,
  alone: Alone,
): Neighbours {
  const write: Transfer = (fd, vector, count, at) => {
    const start = performance.now()
    if (slowness.mustAvoid(start)) return 0
    const result = calls.writeVector(fd, vector, count, at)
    slowness.took(start, performance.now())
    return result
  }
  const mustCut: MustCut = (fd, position, length) => pieces.mustCut(fd, position, length)
  return new Neighbours(calls, write, alone, mustCut)
}
