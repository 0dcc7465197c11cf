/**
 * Sends on a socket at once, as much as it takes without waiting: one system call, no bookkeeping.
 * What is left over is for whoever can wait.
 */
import type { Credentials } from './io.ts'
import { SendVector } from './send-vector.ts'
import { MSG_MORE, type SystemCalls } from './syscalls.ts'

const EINTR = 4
const EIO = 5

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

  /**
   * The same, the last of several pieces from a file: what is not sent of it is read into the
   * piece's memory.
   * @param isBlocking the socket is in blocking mode
   * @returns how many bytes have left, or -errno if the file cannot be read
   */
  sendFile(
    socket: number,
    pieces: readonly Uint8Array[],
    file: number,
    position: number,
    isBlocking: boolean,
  ): number {
    const calls = this.#calls
    const last = pieces[pieces.length - 1]
    let front = -last.length
    for (const piece of pieces) front += piece.length
    const message = this.#vector.fill(pieces, 0, 0, pieces.length - 1)
    const sent = Math.max(0, calls.sendMessage(socket, message, MSG_MORE))
    let at = 0
    if (sent === front) {
      if (isBlocking) calls.setNonBlocking(socket, true)
      at = Math.max(0, calls.sendFile(socket, file, position, last.length))
      if (isBlocking) calls.setNonBlocking(socket, false)
    }
    const left = sent + at
    while (at < last.length) {
      const count = calls.read(file, last, at, last.length - at, position + at)
      if (count === -EINTR) continue
      if (count <= 0) return count < 0 ? count : -EIO
      at += count
    }
    return left
  }
}
