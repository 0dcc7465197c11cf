import { spawn } from 'node:child_process'
import { once } from 'node:events'
import { existsSync, renameSync, statSync, writeFileSync } from 'node:fs'
import net from 'node:net'
import { join } from 'node:path'
import { Duplex } from 'node:stream'
import test from 'ava'
import type { ExecutionContext } from 'ava'
import type { ListenAddress, Listener, Stream, StreamHandler } from '../../io/io.ts'
import { listen } from '../../io/node-sockets.ts'
import { NodeStream } from '../../io/node-stream.ts'
import { sameBytes } from '../helpers/bytes.ts'
import { Random, seedFor } from '../helpers/random.ts'
import { tempDirectory } from '../helpers/temp.ts'

/** Sends back what it gets, and notes what happens. */
class Echo implements StreamHandler {
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
    if (this.#queue.length > 0) {
      this.#isSending = true
      this.stream.send(this.#queue.splice(0))
    } else if (this.#hasEnded) this.stream.finish()
  }
}

interface Service {
  readonly listener: Listener
  readonly echoes: Echo[]
  connect(): Promise<net.Socket>
  /** The next client's far side. */
  accepted(): Promise<Echo>
}

async function start(t: ExecutionContext, address: ListenAddress): Promise<Service> {
  const echoes: Echo[] = []
  const waiting: ((echo: Echo) => void)[] = []
  const listener = await listen(address, (stream) => {
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
      return socket
    },
  }
}

function pathOf(address: ListenAddress): string {
  return address.kind === 'unix' ? address.path : ''
}

function unixAddress(t: ExecutionContext): { kind: 'unix'; path: string } {
  return { kind: 'unix', path: join(tempDirectory(t), 's') }
}

async function readAll(socket: net.Socket): Promise<Buffer> {
  const pieces: Buffer[] = []
  for await (const piece of socket) pieces.push(piece as Buffer)
  return Buffer.concat(pieces)
}

const ADDRESSES: readonly (readonly [string, (t: ExecutionContext) => ListenAddress])[] = [
  ['tcp', () => ({ kind: 'tcp', host: '127.0.0.1', port: 0 })],
  ['unix', unixAddress],
]

for (const [kind, addressFor] of ADDRESSES) {
  test(`${kind}: bytes arrive in the handler's memory and go back`, async (t) => {
    const random = new Random(seedFor(t))
    const { connect, echoes } = await start(t, addressFor(t))
    const socket = await connect()
    const bytes = random.bytes(300_000)
    socket.end(bytes)
    sameBytes(t, await readAll(socket), bytes)
    t.is(await echoes[0].over, null)
    t.deepEqual(echoes[0].events, ['started', 'ended', 'closed'])
  })

  test(`${kind}: many pieces in one send arrive in order`, async (t) => {
    const { connect, accepted } = await start(t, addressFor(t))
    const pending = accepted()
    const socket = await connect()
    const { stream, ...echo } = await pending
    t.truthy(echo)
    const pieces = Array.from({ length: 500 }, (_, index) => Buffer.alloc(1000, index))
    stream.send(pieces)
    stream.finish()
    const all = readAll(socket)
    socket.end()
    sameBytes(t, await all, Buffer.concat(pieces))
  })

  test(`${kind}: a paused stream receives nothing until it is resumed`, async (t) => {
    const { connect, accepted } = await start(t, addressFor(t))
    const pending = accepted()
    const socket = await connect()
    const echo = await pending
    socket.write('a')
    await once(socket, 'data')
    echo.stream.pause()
    const other = await connect()
    socket.write('b'.repeat(5000))
    other.write('x')
    await once(other, 'data')
    t.is(echo.receivedBytes, 1)
    echo.stream.resume()
    while (echo.receivedBytes < 5001) await once(socket, 'data')
    t.is(echo.receivedBytes, 5001)
  })

  test(`${kind}: a client that resets is a closed stream, not an exception`, async (t) => {
    const { connect, accepted } = await start(t, addressFor(t))
    const pending = accepted()
    const socket = await connect()
    const echo = await pending
    echo.onReceived = () => {
      if (kind === 'tcp') socket.resetAndDestroy()
      else socket.destroy()
      const again = (): void => {
        if (!echo.events.includes('closed')) setImmediate(again)
      }
      echo.stream.send([Buffer.alloc(10_000_000)])
      again()
    }
    socket.write('x')
    await echo.over
    t.is(echo.sentCount, 0)
    t.is(echo.events.at(-1), 'closed')
  })

  test(`${kind}: destroy closes at once and is heard once`, async (t) => {
    const { connect, accepted } = await start(t, addressFor(t))
    const pending = accepted()
    const socket = await connect()
    const echo = await pending
    echo.stream.destroy()
    echo.stream.destroy()
    t.is(await echo.over, null)
    await once(socket, 'close')
    t.deepEqual(echo.events, ['started', 'closed'])
  })
}

test('the real port is told', async (t) => {
  const { listener } = await start(t, { kind: 'tcp', host: '127.0.0.1', port: 0 })
  t.true(listener.address.kind === 'tcp' && listener.address.port > 0)
})

test('IPv6: the address of the peer has brackets', async (t) => {
  const service = await start(t, { kind: 'tcp', host: '::1', port: 0 }).catch(() => null)
  if (service === null) {
    t.pass('no IPv6 here')
    return
  }
  const pending = service.accepted()
  await service.connect()
  t.regex((await pending).stream.remote, /^\[::1\]:\d+$/)
})

test('close: nobody is accepted any more, those who are connected live on', async (t) => {
  const { listener, connect } = await start(t, { kind: 'tcp', host: '127.0.0.1', port: 0 })
  const socket = await connect()
  await listener.close()
  await t.throwsAsync(async () => {
    const refused = net.connect((listener.address as { port: number }).port, '127.0.0.1')
    await once(refused, 'connect')
  })
  socket.write('still here')
  const [bytes] = (await once(socket, 'data')) as [Buffer]
  t.is(bytes.toString(), 'still here')
})

test('a port in use is told by name', async (t) => {
  const { listener } = await start(t, { kind: 'tcp', host: '127.0.0.1', port: 0 })
  const error = await t.throwsAsync(
    listen(listener.address, () => {}),
    { code: 'EADDRINUSE' },
  )
  t.regex(error?.message ?? '', /127\.0\.0\.1 port \d+: another program uses it/)
})

test('a unix socket is for its owner only, and is gone after close', async (t) => {
  const address = unixAddress(t)
  const { listener } = await start(t, address)
  t.is(statSync(address.path).mode & 0o777, 0o700)
  await listener.close()
  t.false(existsSync(address.path))
})

test('a unix socket somebody listens on is not taken', async (t) => {
  const address = unixAddress(t)
  const { connect } = await start(t, address)
  const error = await t.throwsAsync(
    listen(address, () => {}),
    { code: 'EADDRINUSE' },
  )
  t.regex(error?.message ?? '', /in use, a server listens there/)
  const socket = await connect()
  socket.write('x')
  await once(socket, 'data')
  t.pass()
})

test('a unix socket left behind is replaced', async (t) => {
  const address = unixAddress(t)
  // Its own inode stays when the path is moved away before the listener closes.
  const dead = net.createServer().listen(address.path)
  await once(dead, 'listening')
  renameSync(address.path, `${address.path}.old`)
  await new Promise((resolve) => dead.close(resolve))
  renameSync(`${address.path}.old`, address.path)
  const { connect } = await start(t, address)
  const socket = await connect()
  socket.write('x')
  await once(socket, 'data')
  t.pass()
})

test('a file that is not a socket is never removed', async (t) => {
  const address = unixAddress(t)
  writeFileSync(address.path, 'precious')
  await t.throwsAsync(
    listen(address, () => {}),
    { code: 'SOCKET_PATH_TAKEN' },
  )
  t.true(existsSync(address.path))
})

test('a path too long for a unix socket is told', async (t) => {
  const path = join(tempDirectory(t), 'x'.repeat(120))
  await t.throwsAsync(
    listen({ kind: 'unix', path }, () => {}),
    { code: 'SOCKET_PATH_TOO_LONG' },
  )
})

test('an inherited listening socket is served', async (t) => {
  const server = net.createServer().listen(0, '127.0.0.1')
  await once(server, 'listening')
  const { port } = server.address() as net.AddressInfo
  const { fd } = (server as unknown as { _handle: { fd: number } })._handle
  const code = `
    const { listen } = await import(${JSON.stringify(import.meta.resolve('../../io/node-sockets.ts'))})
    const { address } = await listen({ kind: 'fd', fd: 3 }, (stream) => stream.destroy())
    console.log(JSON.stringify(address))`
  const args = ['--import', import.meta.resolve('tsx'), '--input-type=module', '-e', code]
  const child = spawn(process.execPath, args, { stdio: ['ignore', 'pipe', 'inherit', fd] })
  t.teardown(() => child.kill('SIGKILL'))
  const [line] = (await once(child.stdout ?? server, 'data')) as [Buffer]
  t.deepEqual(JSON.parse(line.toString()), { kind: 'tcp', host: '127.0.0.1', port })
  server.close()
  const socket = net.connect(port, '127.0.0.1')
  await once(socket.resume(), 'close')
})

test('without the handle of Node, bytes are copied, and pause holds them', async (t) => {
  const random = new Random(seedFor(t))
  const bytes = random.bytes(100_000)
  const sent: Buffer[] = []
  // A stream that is no socket inside, as a later version of Node might have it.
  const duplex = new Duplex({
    allowHalfOpen: true,
    read() {},
    write(chunk: Buffer, _encoding, done) {
      sent.push(Buffer.from(chunk))
      done()
    },
  })
  const socket = Object.assign(duplex, { setNoDelay() {}, setKeepAlive() {} })
  socket.pause()
  const echo = new Echo(new NodeStream(socket as unknown as net.Socket, 'test'))
  for (let at = 0; at < bytes.length; at += 10_000) {
    socket.push(Buffer.from(bytes.subarray(at, at + 10_000)))
    if (at % 20_000 === 0) echo.stream.pause()
    await new Promise((resolve) => setImmediate(resolve))
    echo.stream.resume()
    await new Promise((resolve) => setImmediate(resolve))
  }
  socket.push(null)
  t.is(await echo.over, null)
  sameBytes(t, Buffer.concat(sent), bytes)
})
