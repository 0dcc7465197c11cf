/**
 * Sends on a socket at once, as much as it takes without waiting: one system call, no bookkeeping.
 * What is left over is for whoever can wait.
 */
import { SendVector } from './send-vector.ts'
import type { SystemCalls } from './syscalls.ts'

export class SocketSend {
  readonly #calls: SystemCalls
  readonly #vector: SendVector

  constructor(calls: SystemCalls) {
    this.#calls = calls
    this.#vector = new SendVector(calls.addresses)
  }

  /** @returns how many bytes have left, or -errno */
  send(fd: number, pieces: readonly Uint8Array[]): number {
    if (pieces.length > 1) return this.#calls.sendMessage(fd, this.#vector.fill(pieces, 0, 0))
    const piece = pieces[0]
    return this.#calls.send(fd, this.#calls.addresses.of(piece), piece.length)
  }
}
