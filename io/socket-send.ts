/**
 * Sends on a socket at once, as much as it takes without waiting: one system call, no bookkeeping.
 * What is left over is for whoever can wait.
 */
import type { Credentials } from './io.ts'
import { SendVector } from './send-vector.ts'
import type { SystemCalls } from './syscalls.ts'

/** Several whole replies of 256 KiB fit in what a unix socket holds. */
const UNIX_SEND_BYTES = 1024 * 1024

export class SocketSend {
  readonly #calls: SystemCalls
  readonly #vector: SendVector

  constructor(calls: SystemCalls) {
    this.#calls = calls
    this.#vector = new SendVector(calls.addresses)
  }

  /** @param fd of a unix socket; TCP sees to itself */
  enlarge(fd: number): void {
    this.#calls.setSendBuffer(fd, UNIX_SEND_BYTES)
  }

  /** Who connected to a unix socket; null: it is none, or nobody knows. */
  credentials(fd: number): Credentials | null {
    return this.#calls.peerCredentials(fd)
  }

  /** @returns how many bytes have left, or -errno */
  send(fd: number, pieces: readonly Uint8Array[]): number {
    if (pieces.length > 1) return this.#calls.sendMessage(fd, this.#vector.fill(pieces, 0, 0))
    const piece = pieces[0]
    return this.#calls.send(fd, this.#calls.addresses.of(piece), piece.length)
  }
}
