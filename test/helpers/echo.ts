/** A service for tests of streams: it sends back what it gets. */
import { once } from 'node:events'
import net from 'node:net'
import { join } from 'node:path'
import type { ExecutionContext } from 'ava'
import type { Io, ListenAddress, Listener, Stream, StreamHandler } from '../../io/io.ts'
import { listen } from '../../io/node-sockets.ts'
import { tempDirectory } from './temp.ts'

/** Sends back what it gets, and notes what happens. */
export class Echo implements StreamHandler {
  readonly events: string[] = []
  readonly stream: Stream
  readonly over: Promise<Error | null>
  receivedBytes = 0
  sentCount = 0
  /** Set by tests that want no echo. */
  onReceived: ((bytes: Uint8Array) => void) | null = null
  readonly #memory: Uint8Array
  readonly #queue: Uint8Array[] = []
  #isSending = false
  #hasEnded = false
  #resolve: (reason: Error | null) => void = () => {}

  constructor(stream: Stream, memoryBytes = 1000) {
    this.stream = stream
    this.#memory = new Uint8Array(memoryBytes)
    this.over = new Promise((resolve) => (this.#resolve = resolve))
    stream.start(this)
    this.events.push('started')
  }

  receiveBuffer(): Uint8Array {
    return this.#memory
  }

  received(bytes: number): void {
    this.receivedBytes += bytes
    const copy = this.#memory.slice(0, bytes)
    if (this.onReceived !== null) return this.onReceived(copy)
    this.#queue.push(copy)
    this.#send()
  }

  sent(): void {
    this.sentCount++
    this.#isSending = false
    this.#send()
  }

  ended(): void {
    this.events.push('ended')
    this.#hasEnded = true
    this.#send()
  }

  closed(reason: Error | null): void {
    this.events.push('closed')
    this.#resolve(reason)
  }

  #send(): void {
    if (this.#isSending) return
    if (this.#queue.length > 0) this.#isSending = !this.stream.send(this.#queue.splice(0))
    if (this.#hasEnded && !this.#isSending) this.stream.finish()
  }
}

export interface Service {
  readonly listener: Listener
  readonly echoes: Echo[]
  connect(): Promise<net.Socket>
  /** The connection below what `connect` returned. */
  carrierOf(socket: net.Socket): net.Socket
  /** The next client's far side. */
  accepted(): Promise<Echo>
}

/** What a client does with its new connection before anything else, for instance TLS. */
export type Upgrade = (socket: net.Socket) => Promise<net.Socket>

/** @param listenOn of the engine under test */
export async function serveEcho(
  t: ExecutionContext,
  address: ListenAddress,
  listenOn: Io['listen'] = listen,
  upgrade: Upgrade = async (socket) => socket,
): Promise<Service> {
  const echoes: Echo[] = []
  const waiting: ((echo: Echo) => void)[] = []
  const carriers = new WeakMap<net.Socket, net.Socket>()
  const listener = await listenOn(address, (stream) => {
    const echo = new Echo(stream)
    echoes.push(echo)
    waiting.shift()?.(echo)
  })
  t.teardown(() => listener.close())
  return {
    listener,
    echoes,
    accepted: () => new Promise((resolve) => waiting.push(resolve)),
    async connect() {
      const real = listener.address
      const socket =
        real.kind === 'tcp' ? net.connect(real.port, real.host) : net.connect(pathOf(real))
      t.teardown(() => socket.destroy())
      socket.on('error', () => {})
      await once(socket, 'connect')
      const upgraded = await upgrade(socket)
      carriers.set(upgraded, socket)
      return upgraded
    },
    carrierOf: (socket) => carriers.get(socket) ?? socket,
  }
}

function pathOf(address: ListenAddress): string {
  return address.kind === 'unix' ? address.path : ''
}

export function unixAddress(t: ExecutionContext): { kind: 'unix'; path: string } {
  return { kind: 'unix', path: join(tempDirectory(t), 's') }
}
