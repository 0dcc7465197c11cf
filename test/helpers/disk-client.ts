/** A connection to a served disk with one method for each command, over `RawClient`. */
import { RawClient, type Target } from './raw-client.ts'

export const Fua = 1

const Command = { READ: 0, WRITE: 1, FLUSH: 3, TRIM: 4, WRITE_ZEROES: 6, BLOCK_STATUS: 7 } as const

export class DiskClient {
  readonly raw: RawClient

  static async connect(uri: string): Promise<DiskClient> {
    const url = new URL(uri.replace(/^nbd/, 'http'))
    const socket = /[?&]socket=([^&]*)/.exec(uri)?.[1]
    const target: Target =
      socket === undefined
        ? { host: url.hostname.replaceAll(/[[\]]/g, ''), port: Number(url.port) }
        : { path: decodeURIComponent(socket) }
    const raw = await RawClient.connect(target)
    const exportName = decodeURIComponent(/^[^?]*:\/\/[^/]*\/([^?]*)/.exec(uri)?.[1] ?? '')
    await raw.handshake({ exportName, contexts: ['base:allocation'] })
    return new DiskClient(raw)
  }

  constructor(raw: RawClient) {
    this.raw = raw
  }

  async read(offset: number, length: number): Promise<Uint8Array> {
    const { error, data } = await this.raw.request({ command: Command.READ, offset, length })
    if (error !== 0) throw new Error(`READ at ${offset} fails with ${error}`)
    if (data === null) throw new Error('READ without data')
    return data
  }

  write(offset: number, data: Uint8Array, flags = 0): Promise<void> {
    return this.#change(Command.WRITE, offset, data.length, flags, data)
  }

  trim(offset: number, length: number, flags = 0): Promise<void> {
    return this.#change(Command.TRIM, offset, length, flags)
  }

  zero(offset: number, length: number, flags = 0): Promise<void> {
    return this.#change(Command.WRITE_ZEROES, offset, length, flags)
  }

  flush(): Promise<void> {
    return this.#change(Command.FLUSH, 0, 0, 0)
  }

  async #change(
    command: number,
    offset: number,
    length: number,
    flags: number,
    data?: Uint8Array,
  ): Promise<void> {
    const { error } = await this.raw.request({ command, offset, length, flags }, data)
    if (error !== 0) throw new Error(`command ${command} at ${offset} fails with ${error}`)
  }

  /** DISC, then waits until the server has closed (and flushed). */
  disconnect(): Promise<void> {
    return this.raw.disconnect()
  }
}
