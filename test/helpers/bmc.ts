/**
 * What a BMC with OpenBMC's virtual media does: it waits for a WebSocket, and joins it to a unix
 * socket where an NBD client comes. Written by hand, without any of the server's code.
 */
import { once } from 'node:events'
import net from 'node:net'
import { join } from 'node:path'
import tls from 'node:tls'
import type { ExecutionContext } from 'ava'
import { tempDirectory } from './temp.ts'
import { acceptUpgrade, Opcode, type RawWebSocket } from './web-socket.ts'

export class Bmc {
  /** Requests so far, each with its head. */
  readonly heads: string[] = []
  /** The status of answers; 101 lets the server in. */
  status = 101
  readonly port: number
  readonly path: string
  #webSocket: RawWebSocket | null = null
  #wake: () => void = () => {}

  /** @param options with them it speaks TLS */
  static async start(t: ExecutionContext, options: tls.TlsOptions | null = null): Promise<Bmc> {
    const path = join(tempDirectory(t), 's')
    const server = options === null ? net.createServer() : tls.createServer(options)
    const local = net.createServer()
    server.listen(0, '127.0.0.1')
    local.listen(path)
    await Promise.all([once(server, 'listening'), once(local, 'listening')])
    const bmc = new Bmc((server.address() as net.AddressInfo).port, path)
    server.on(options === null ? 'connection' : 'secureConnection', (socket: net.Socket) => {
      t.teardown(() => socket.destroy())
      void bmc.#accept(socket)
    })
    server.on('tlsClientError', () => {})
    local.on('connection', (socket) => bmc.#join(socket))
    t.teardown(() => {
      server.close()
      local.close()
    })
    return bmc
  }

  private constructor(port: number, path: string) {
    this.port = port
    this.path = path
  }

  get uri(): string {
    return `nbd+unix:///?socket=${this.path}`
  }

  /** A server that is connected now. */
  async connected(): Promise<RawWebSocket> {
    while (this.#webSocket === null) await new Promise<void>((resolve) => (this.#wake = resolve))
    return this.#webSocket
  }

  async requests(count: number): Promise<void> {
    while (this.heads.length < count) await new Promise<void>((resolve) => (this.#wake = resolve))
  }

  async #accept(socket: net.Socket): Promise<void> {
    const { head, webSocket } = await acceptUpgrade(socket, this.status)
    this.heads.push(head)
    if (this.status === 101) this.#webSocket = webSocket
    this.#wake()
    await webSocket.closed
    if (this.#webSocket === webSocket) this.#webSocket = null
  }

  /** As nbd-proxy does: what comes from one goes to the other, and both end together. */
  #join(socket: net.Socket): void {
    const webSocket = this.#webSocket
    if (webSocket === null) return void socket.destroy()
    socket.on('error', () => {})
    socket.on('data', (bytes) => webSocket.sendBytes(bytes))
    socket.on('close', () => webSocket.send(Opcode.CLOSE, new Uint8Array(0)))
    webSocket.pipeTo(socket)
  }
}
