/** The real server on a unix socket, over a device of the test's choice, and clients of it. */
import { join } from 'node:path'
import type { ExecutionContext } from 'ava'
import type { Device } from '../../device/device.ts'
import { listen } from '../../io/node-sockets.ts'
import { Server } from '../../nbd/server.ts'
import { silentLog } from './memory-session.ts'
import { RawClient } from './raw-client.ts'
import type { HandshakeWishes, Negotiated } from './raw-client.ts'
import { tempDirectory } from './temp.ts'

export class SocketServer {
  readonly server: Server
  readonly path: string
  readonly #t: ExecutionContext

  /** One export named `disk`, which is the default one too. Stopped when the test ends. */
  static async start(t: ExecutionContext, device: Device): Promise<SocketServer> {
    const started = new SocketServer(t, device)
    await started.server.listen({ kind: 'unix', path: started.path })
    t.teardown(() => started.server.stop())
    return started
  }

  constructor(t: ExecutionContext, device: Device) {
    const entry = { name: 'disk', description: 'for a test', device }
    const find = (name: string) => (name === '' || name === 'disk' ? entry : null)
    const exports = { find, list: () => [entry] }
    this.server = new Server({ io: { listen }, exports, log: silentLog })
    this.path = join(tempDirectory(t), 's')
    this.#t = t
  }

  /** A client to which the server has said nothing yet. */
  async connect(): Promise<RawClient> {
    const client = await RawClient.connect({ path: this.path })
    this.#t.teardown(() => client.destroy())
    return client
  }

  /** A client in the transmission phase. */
  async attach(wishes?: HandshakeWishes): Promise<RawClient> {
    return (await this.negotiate(wishes)).client
  }

  async negotiate(wishes?: HandshakeWishes): Promise<{ client: RawClient; agreed: Negotiated }> {
    const client = await this.connect()
    return { client, agreed: await client.handshake(wishes) }
  }
}

/** Until something that takes an unknown number of events has happened. */
export async function until(condition: () => boolean): Promise<void> {
  const deadline = Date.now() + 10_000
  while (!condition()) {
    if (Date.now() > deadline) throw new Error('what the test waits for does not happen')
    await new Promise((resolve) => setImmediate(resolve))
  }
}
