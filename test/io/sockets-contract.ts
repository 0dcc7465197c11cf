/** What listening sockets of every engine do. */
import { spawn } from 'node:child_process'
import { once } from 'node:events'
import { existsSync, renameSync, statSync, writeFileSync } from 'node:fs'
import net from 'node:net'
import { join } from 'node:path'
import test from 'ava'
import type { Engine } from '../../io/engine.ts'
import type { Io } from '../../io/io.ts'
import { serveEcho, unixAddress } from '../helpers/echo.ts'
import { tempDirectory } from '../helpers/temp.ts'

export function socketsContract(listen: Io['listen'], engine: Engine): void {
  portTests(listen)
  unixTests(listen)
  inheritanceTests(engine)
}

function portTests(listen: Io['listen']): void {
  test('the real port is told', async (t) => {
    const { listener } = await serveEcho(t, { kind: 'tcp', host: '127.0.0.1', port: 0 }, listen)
    t.true(listener.address.kind === 'tcp' && listener.address.port > 0)
  })

  test('IPv6: the address of the peer has brackets', async (t) => {
    const service = await serveEcho(t, { kind: 'tcp', host: '::1', port: 0 }, listen).catch(
      () => null,
    )
    if (service === null) {
      t.pass('no IPv6 here')
      return
    }
    const pending = service.accepted()
    await service.connect()
    t.regex((await pending).stream.remote, /^\[::1\]:\d+$/)
  })

  test('close: nobody is accepted any more, those who are connected live on', async (t) => {
    const { listener, connect } = await serveEcho(
      t,
      { kind: 'tcp', host: '127.0.0.1', port: 0 },
      listen,
    )
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
    const { listener } = await serveEcho(t, { kind: 'tcp', host: '127.0.0.1', port: 0 }, listen)
    const error = await t.throwsAsync(
      listen(listener.address, () => {}),
      { code: 'EADDRINUSE' },
    )
    t.regex(error?.message ?? '', /127\.0\.0\.1 port \d+: another program uses it/)
  })
}

function unixTests(listen: Io['listen']): void {
  test('a unix socket is for its owner only, and is gone after close', async (t) => {
    const address = unixAddress(t)
    const { listener } = await serveEcho(t, address, listen)
    t.is(statSync(address.path).mode & 0o777, 0o700)
    await listener.close()
    t.false(existsSync(address.path))
  })

  test('whoever connects to a unix socket is known by user and group, on TCP not', async (t) => {
    const onUnix = await serveEcho(t, unixAddress(t), listen)
    const local = onUnix.accepted()
    await onUnix.connect()
    const known = { uid: process.getuid?.(), gid: process.getgid?.() }
    t.deepEqual((await local).stream.credentials?.() as unknown, known)
    const onTcp = await serveEcho(t, { kind: 'tcp', host: '127.0.0.1', port: 0 }, listen)
    const remote = onTcp.accepted()
    await onTcp.connect()
    t.is((await remote).stream.credentials?.(), null)
  })

  test('a unix socket somebody listens on is not taken', async (t) => {
    const address = unixAddress(t)
    const { connect } = await serveEcho(t, address, listen)
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
    const { connect } = await serveEcho(t, address, listen)
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
}

function inheritanceTests(engine: Engine): void {
  test('an inherited listening socket is served', async (t) => {
    const server = net.createServer().listen(0, '127.0.0.1')
    await once(server, 'listening')
    const { port } = server.address() as net.AddressInfo
    const { fd } = (server as unknown as Record<string, { fd: number }>)['_handle']
    const module = import.meta.resolve('../../io/engine.ts')
    const code = `
    const { createIo } = await import(${JSON.stringify(module)})
    const { listen } = createIo(${JSON.stringify(engine)}).io
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
}
