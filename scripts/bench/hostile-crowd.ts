/**
 * Clients that wish a server ill, many at a time: they take what they can get and give nothing. A
 * connection that the server closes is opened again, if the crowd is told to come back.
 *
 *   silent         connects and says nothing
 *   halfway        stops in the middle of an option
 *   never-reading  asks for data all the time and takes none of it
 *   dribbling      sends its requests a byte at a time
 */
import net from 'node:net'

export const HostileKind = {
  SILENT: 'silent',
  HALFWAY: 'halfway',
  NEVER_READING: 'never-reading',
  DRIBBLING: 'dribbling',
} as const

export type HostileKind = (typeof HostileKind)[keyof typeof HostileKind]

export interface CrowdSettings {
  readonly target: net.NetConnectOpts
  readonly exportName: string
  /** Between two bytes of a dribbling client, milliseconds. */
  readonly byteMs: number
  readonly comesBack: boolean
}

const GREETING_BYTES = 18
/** Reply to EXPORT_NAME without zeroes: size and flags. */
const EXPORT_BYTES = 10
const FLAGS = Buffer.from([0, 0, 0, 3])
const HALF_OPTION_BYTES = 40
const READ_BYTES = 1 << 20
const READS_IN_BATCH = 64
/** Connections that are being opened at a time: less than a listening socket keeps waiting. */
const OPENING_MAX = 64

export class HostileCrowd {
  readonly #settings: CrowdSettings
  readonly #sockets = new Map<net.Socket, HostileKind>()
  readonly #dribble: NodeJS.Timeout
  readonly #dribblers = new Map<net.Socket, number>()
  #isClosed = false
  /** Connections that the server, or the network, has ended. */
  lost = 0

  constructor(settings: CrowdSettings) {
    this.#settings = settings
    this.#dribble = setInterval(() => this.#sendBytes(), settings.byteMs)
    this.#dribble.unref()
  }

  /** Open now. */
  get size(): number {
    return this.#sockets.size
  }

  /** Resolves when each of `count` has been connected once, and has done its worst. */
  async add(kind: HostileKind, count: number): Promise<void> {
    let left = count
    const open = async (): Promise<void> => {
      while (left-- > 0 && !this.#isClosed) await this.#open(kind)
    }
    await Promise.all(Array.from({ length: Math.min(count, OPENING_MAX) }, open))
  }

  /** All vanish at once. */
  close(): void {
    this.#isClosed = true
    clearInterval(this.#dribble)
    for (const socket of this.#sockets.keys()) socket.destroy()
  }

  async #open(kind: HostileKind): Promise<void> {
    const socket = net.connect(this.#settings.target)
    this.#sockets.set(socket, kind)
    const closed = new Promise<void>((resolve) => {
      socket.once('close', () => resolve())
    })
    socket.on('error', () => {})
    void closed.then(() => this.#gone(socket, kind))
    const begun = new Promise<void>((resolve) => {
      socket.once('connect', () => void this.#begin(socket, kind).then(resolve))
    })
    await Promise.race([begun, closed])
  }

  #gone(socket: net.Socket, kind: HostileKind): void {
    this.#sockets.delete(socket)
    this.#dribblers.delete(socket)
    if (this.#isClosed) return
    this.lost++
    if (this.#settings.comesBack) void this.#open(kind)
  }

  async #begin(socket: net.Socket, kind: HostileKind): Promise<void> {
    if (kind === HostileKind.SILENT) {
      await greeted(socket)
    } else if (kind === HostileKind.HALFWAY) {
      await greeted(socket)
      const go = option(7, Buffer.alloc(HALF_OPTION_BYTES))
      socket.write(Buffer.concat([FLAGS, go.subarray(0, -HALF_OPTION_BYTES / 2)]))
    } else {
      socket.write(Buffer.concat([FLAGS, option(1, Buffer.from(this.#settings.exportName))]))
      await skip(socket, GREETING_BYTES + EXPORT_BYTES)
      if (kind === HostileKind.DRIBBLING) this.#dribblers.set(socket, 0)
      else askForEver(socket)
    }
  }

  /** Of WRITE requests whose payload is as slow as the rest. */
  #sendBytes(): void {
    const write = request(1, WRITE_BYTES)
    for (const [socket, sent] of this.#dribblers) {
      const at = sent % (write.length + WRITE_BYTES)
      socket.write(Uint8Array.of(at < write.length ? write[at] : 0))
      this.#dribblers.set(socket, sent + 1)
    }
  }
}

const WRITE_BYTES = 4096

/** As fast as the socket takes it. */
function askForEver(socket: net.Socket): void {
  const batch = Buffer.concat(Array<Buffer>(READS_IN_BATCH).fill(request(0, READ_BYTES)))
  const ask = (): void => {
    while (!socket.destroyed && socket.write(batch));
  }
  socket.on('drain', ask)
  ask()
}

/** Reads so many bytes and then nothing any more. */
function skip(socket: net.Socket, count: number): Promise<void> {
  return new Promise((resolve) => {
    let left = count
    const onReadable = (): void => {
      while (left > 0) {
        const bytes = socket.read(Math.min(left, socket.readableLength)) as Buffer | null
        if (bytes === null) return
        left -= bytes.length
      }
      socket.off('readable', onReadable)
      socket.pause()
      resolve()
    }
    socket.on('readable', onReadable)
    socket.once('close', () => resolve())
  })
}

/** Magic, code, length, data. */
/** The server has accepted it: those who only wait for that are not more than may wait. */
function greeted(socket: net.Socket): Promise<void> {
  return new Promise((resolve) => {
    socket.once('data', () => {
      socket.resume()
      resolve()
    })
  })
}

function option(code: number, data: Buffer): Buffer {
  const header = Buffer.alloc(16)
  header.write('IHAVEOPT', 'latin1')
  header.writeUInt32BE(code, 8)
  header.writeUInt32BE(data.length, 12)
  return Buffer.concat([header, data])
}

/** At the beginning of the disk. */
function request(command: number, length: number): Buffer {
  const header = Buffer.alloc(28)
  header.writeUInt32BE(0x25609513)
  header.writeUInt16BE(command, 6)
  header.writeUInt32BE(length, 24)
  return header
}
