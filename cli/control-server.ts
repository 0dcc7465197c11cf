/**
 * The server's end of `control.ts`. Whoever holds the lock on a disk owns its socket: a file of
 * that name was left by a server that is gone. Without a socket everything else works.
 */
import { lstatSync, rmSync } from 'node:fs'
import { createServer, type Server, type Socket } from 'node:net'
import type { Log } from '../chunkstore/options.ts'
import {
  type ControlAnswer,
  ControlPlace,
  readLine,
  REQUEST_BYTES_MAX,
  REQUEST_MS_MAX,
} from './control.ts'

/** @throws Error with a code; its message is for the one who asked */
export type ControlHandler = (request: unknown) => Promise<unknown>

export class ControlServer {
  readonly #server: Server
  readonly #place: ControlPlace
  /** Connections that have not asked yet. */
  readonly #idle = new Set<Socket>()

  /** @returns null, and a warning in the log, if there can be none */
  static async start(
    file: string,
    handler: ControlHandler,
    log: Log,
  ): Promise<ControlServer | null> {
    let place: ControlPlace | null = null
    try {
      place = new ControlPlace(file)
      const server = new ControlServer(place, handler)
      await server.#listen()
      return server
    } catch (error) {
      place?.close()
      const { message } = error as Error
      log.warn({ file, error: message }, 'no control socket: it cannot be resized while served')
      return null
    }
  }

  private constructor(place: ControlPlace, handler: ControlHandler) {
    this.#place = place
    this.#server = createServer((socket) => void this.#serve(socket, handler))
  }

  #listen(): Promise<void> {
    const { address } = this.#place
    const found = lstatSync(address, { throwIfNoEntry: false })
    if (found?.isSocket() === true) rmSync(address)
    return new Promise((resolve, reject) => {
      this.#server.once('error', reject)
      this.#server.once('listening', () => {
        this.#server.removeAllListeners('error')
        // Accepting may fail for a moment (EMFILE).
        this.#server.on('error', () => {})
        resolve()
      })
      // The file is created inside `listen`, so nobody else's files get this mask.
      const mask = process.umask(0o077)
      try {
        this.#server.listen(address)
      } finally {
        process.umask(mask)
      }
    })
  }

  async #serve(socket: Socket, handler: ControlHandler): Promise<void> {
    this.#idle.add(socket)
    socket.on('error', () => {})
    socket.once('close', () => this.#idle.delete(socket))
    const line = await readLine(socket, REQUEST_BYTES_MAX, REQUEST_MS_MAX)
    this.#idle.delete(socket)
    if (line === null) return void socket.destroy()
    const answer = await answerTo(line, handler)
    // Whether or not the other end closes, too.
    socket.end(JSON.stringify(answer) + '\n', () => socket.destroy())
  }

  /** Takes no more requests and removes the socket file; answers under way are still given. */
  close(): void {
    this.#server.close(() => this.#place.close())
    for (const socket of this.#idle) socket.destroy()
  }
}

async function answerTo(line: string, handler: ControlHandler): Promise<ControlAnswer> {
  try {
    return { ok: true, process: process.pid, result: await handler(JSON.parse(line)) }
  } catch (error) {
    const { code = 'EFAILED', message } = error as NodeJS.ErrnoException
    return { ok: false, code, message }
  }
}
