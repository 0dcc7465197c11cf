/**
 * How a command reaches the server that has a disk open: a unix socket beside the descriptor,
 * `.NAME.control`, for its owner only. A request is a line of JSON, so is the answer.
 *
 *   {"command": "resize", "size": 21474836480, "discardTail": false, "parts": []}
 *   {"ok": true, "process": 4711, "result": {...}}
 *   {"ok": false, "code": "ETAIL", "message": "..."}
 */
import { closeSync, constants, openSync, realpathSync } from 'node:fs'
import type { Socket } from 'node:net'
import path from 'node:path'

/** Longest lines. An answer may name many files. */
export const REQUEST_BYTES_MAX = 64 * 1024
export const ANSWER_BYTES_MAX = 64 * 1024 * 1024

/** From a connection to its request. */
export const REQUEST_MS_MAX = 10_000

/** `sun_path` has 108 bytes, one of them for the NUL. */
const UNIX_PATH_BYTES_MAX = 107

export type ControlAnswer =
  | { readonly ok: true; readonly process: number; readonly result: unknown }
  | { readonly ok: false; readonly code: string; readonly message: string }

/**
 * Where the socket of a disk is, by a path that is short enough for a socket's address. The name
 * is that of the descriptor itself, whatever symbolic links lead to it.
 */
export class ControlPlace {
  /** To be shown. */
  readonly path: string
  /** To be used, until `close`. */
  readonly address: string
  readonly #directory: number

  /** @throws Error if there is no such descriptor, or its directory cannot be opened */
  constructor(file: string) {
    const real = realpathSync(file)
    const folder = path.dirname(real)
    const name = `.${path.basename(real)}.control`
    this.path = path.join(folder, name)
    const isShort = Buffer.byteLength(this.path) <= UNIX_PATH_BYTES_MAX
    this.#directory = isShort ? -1 : openSync(folder, constants.O_RDONLY | constants.O_DIRECTORY)
    this.address = isShort ? this.path : `/proc/self/fd/${this.#directory}/${name}`
  }

  close(): void {
    if (this.#directory >= 0) closeSync(this.#directory)
  }
}

/**
 * @param waitMs 0: without end
 * @returns the first line, without its end; null if none comes in time, or it is too long
 */
export function readLine(socket: Socket, bytesMax: number, waitMs: number): Promise<string | null> {
  return new Promise((resolve) => {
    const pieces: Buffer[] = []
    let length = 0
    const finish = (line: string | null): void => {
      clearTimeout(timer)
      socket.off('data', onData)
      resolve(line)
    }
    const timer = waitMs > 0 ? setTimeout(finish, waitMs, null) : undefined
    const onData = (bytes: Buffer): void => {
      const end = bytes.indexOf('\n')
      pieces.push(end < 0 ? bytes : bytes.subarray(0, end))
      length += bytes.length
      if (length > bytesMax) finish(null)
      else if (end >= 0) finish(Buffer.concat(pieces).toString())
    }
    socket.on('data', onData)
    socket.once('close', () => finish(null))
  })
}
