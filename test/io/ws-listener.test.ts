/** The way in: requests that are upgraded, and all the others. */
import { once } from 'node:events'
import net from 'node:net'
import test from 'ava'
import { WS_PENDING_MAX } from '../../io/ws-limits.ts'
import { WebSocketTokens } from '../../io/ws-tokens.ts'
import { tempDirectory } from '../helpers/temp.ts'
import { until } from '../helpers/socket-server.ts'
import { connect as connectTo } from '../helpers/web-socket.ts'
import { serveWebSocketEcho } from '../helpers/web-socket-echo.ts'

const TOKEN = 'dGhpcyBpcyBhIHNlY3JldA'

/** Also by a reset. */
function closeOf(socket: net.Socket): Promise<void> {
  return new Promise((resolve) => void socket.resume().once('close', () => resolve()))
}

/** Sends text, and reads until the server closes. */
async function exchange(port: number, text: string): Promise<string> {
  const socket = net.connect(port, '127.0.0.1')
  socket.on('error', () => {})
  socket.write(text)
  let answer = ''
  socket.on('data', (bytes) => (answer += bytes.toString('latin1')))
  await closeOf(socket)
  return answer
}

test('the stream knows the peer, the path and the exports of the token', async (t) => {
  const tokens = WebSocketTokens.parse(`disk:${TOKEN}`, 'f')
  const { connect, accepted } = await serveWebSocketEcho(t, { tokens: () => tokens })
  const pending = accepted()
  const client = await connect({ path: '/disk', headers: { Authorization: `Bearer ${TOKEN}` } })
  const { stream } = await pending
  t.deepEqual(stream.entry, {
    defaultExport: 'disk',
    exports: new Set(['disk']),
    identity: null,
  })
  const { localPort } = client.socket as net.Socket
  t.is(stream.remote, `127.0.0.1:${localPort}`)
})

test('an offered subprotocol is chosen; extensions never are', async (t) => {
  const { connect } = await serveWebSocketEcho(t)
  const headers = {
    'Sec-WebSocket-Protocol': 'chat, binary',
    'Sec-WebSocket-Extensions': 'permessage-deflate; client_max_window_bits',
  }
  const { answer } = await connect({ headers })
  t.is(answer.headers.get('sec-websocket-protocol'), 'binary')
  t.false(answer.headers.has('sec-websocket-extensions'))
  const other = await connect({ headers: { 'Sec-WebSocket-Protocol': 'chat' } })
  t.is(other.answer.status, 101)
  t.false(other.answer.headers.has('sec-websocket-protocol'))
})

for (const [what, path, headers, status] of [
  ['an upgrade to a wrong path', '/nothing', {}, 404],
  ['an upgrade to a path with a query', '/?token=x', {}, 400],
  ['an origin that is not allowed', '/disk', { Origin: 'https://evil.example' }, 403],
  ['an upgrade without a key', '/', { 'Sec-WebSocket-Key': null }, 400],
  ['an upgrade with a wrong key', '/', { 'Sec-WebSocket-Key': 'x' }, 400],
  ['an upgrade of another version', '/', { 'Sec-WebSocket-Version': '7' }, 400],
  ['an upgrade to something else', '/', { Upgrade: 'h2c' }, 400],
  ['a page', '/', { Upgrade: null, Connection: null }, 426],
  ['a page for an export', '/disk', { Upgrade: null, Connection: null }, 426],
  ['a page that is not there', '/favicon.ico', { Upgrade: null, Connection: null }, 404],
  ['a header of 17 KiB', '/', { X: 'x'.repeat(17 * 1024) }, 431],
] as const) {
  test(`${what} is answered with ${status}, and the connection closed`, async (t) => {
    const { connect, echoes } = await serveWebSocketEcho(t)
    const client = await connect({ path, headers })
    t.is(client.answer.status, status)
    if (status === 426) t.is(client.answer.headers.get('upgrade'), 'websocket')
    client.socket.resume()
    await client.closed
    t.is(echoes.length, 0)
  })
}

test('a wrong token, or none, is answered with 401, whatever the path', async (t) => {
  const tokens = WebSocketTokens.parse(`disk:${TOKEN}`, 'f')
  const service = await serveWebSocketEcho(t, { tokens: () => tokens })
  const answers = new Set<string>()
  for (const path of ['/', '/disk', '/nothing']) {
    for (const authorization of [null, 'Bearer wrong', `Basic ${TOKEN}`]) {
      const { answer } = await service.connect({ path, headers: { Authorization: authorization } })
      t.is(answer.status, 401)
      answers.add([...answer.headers].join('\n'))
    }
  }
  t.is(answers.size, 1, 'one cannot be told from the other')
  t.is(service.echoes.length, 0)
  t.true(service.refusals.every((reason) => reason === 'a token is needed'))
  t.is(service.refusals.length, 9)
})

test('what is no HTTP, or not GET, or has much to say, is turned away', async (t) => {
  const { port, echoes } = await serveWebSocketEcho(t)
  const upgrade = 'Host: x\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n'
  const key = 'Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n'
  t.regex(await exchange(port, 'NBDMAGICIHAVEOPT\r\n\r\n'), /^HTTP\/1\.1 400 /)
  t.regex(await exchange(port, '\x16\x03\x01\x02\x00\x01\r\n\r\n'), /^HTTP\/1\.1 400 /)
  t.regex(await exchange(port, `POST / HTTP/1.1\r\n${upgrade}${key}\r\n`), /^HTTP\/1\.1 405 /)
  const body = `POST /disk HTTP/1.1\r\nHost: x\r\nContent-Length: 1000000000\r\n\r\nxxx`
  t.regex(await exchange(port, body), /^HTTP\/1\.1 426 /)
  const two = 'GET / HTTP/1.1\r\nHost: x\r\n\r\n'
  t.is((await exchange(port, two + two)).match(/HTTP\/1\.1 /g)?.length, 1)
  await exchange(port, 'CONNECT x:1 HTTP/1.1\r\nHost: x\r\n\r\n')
  t.is(echoes.length, 0)
})

test('a request with very many headers, or subprotocols, is one request', async (t) => {
  const { port, connect } = await serveWebSocketEcho(t)
  const first = 'GET / HTTP/1.1\r\nHost: x\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n'
  const many = Array.from({ length: 2500 }, (_, index) => `h${index.toString(36)}:\r\n`).join('')
  t.true(first.length + many.length < 16 * 1024)
  // The headers of the upgrade are behind them: as good as missing.
  const key = 'Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n'
  t.regex(await exchange(port, `${first}${many}${key}\r\n`), /^HTTP\/1\.1 4\d\d /)
  for (const protocols of [`a${' '.repeat(15_000)}b`, 'a,'.repeat(7000), ','.repeat(15_000)]) {
    const { answer } = await connect({ headers: { 'Sec-WebSocket-Protocol': protocols } })
    t.is(answer.status, 400)
  }
  const client = await connect()
  client.sendBytes(Buffer.from('x'))
  t.is((await client.read(1)).toString(), 'x')
})

test('frames that come with the request are not lost', async (t) => {
  const { port, accepted } = await serveWebSocketEcho(t)
  const pending = accepted()
  const socket = net.connect(port, '127.0.0.1')
  t.teardown(() => socket.destroy())
  const lines = [
    'GET / HTTP/1.1',
    'Host: x',
    'Upgrade: websocket',
    'Connection: Upgrade',
    'Sec-WebSocket-Version: 13',
    'Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==',
  ]
  socket.write(`${lines.join('\r\n')}\r\n\r\n\x82\x83\0\0\0\0abc`, 'latin1')
  const echo = await pending
  await until(() => echo.receivedBytes === 3)
  t.pass()
})

test('who does not upgrade in time is dropped, one byte at a time or silent', async (t) => {
  const { port, refusals } = await serveWebSocketEcho(t, { handshakeMs: 100 })
  const silent = exchange(port, '')
  const socket = net.connect(port, '127.0.0.1')
  socket.on('error', () => {})
  const slow = setInterval(() => socket.write('G'), 10)
  await closeOf(socket)
  clearInterval(slow)
  t.is(await silent, '')
  // The one that wrote nonsense may have been answered before.
  t.true(refusals.length >= 1)
  t.true(refusals.every((reason) => reason === 'no upgrade in time'))
})

test('of too many that wait the one that waits longest is dropped', async (t) => {
  const { port, connect, refusals } = await serveWebSocketEcho(t, { handshakeMs: 120_000 })
  const sockets: net.Socket[] = []
  t.teardown(() => sockets.forEach((socket) => socket.destroy()))
  for (let count = 0; count < WS_PENDING_MAX; count++) {
    const socket = net.connect(port, '127.0.0.1')
    sockets.push(socket.on('error', () => {}))
    if (count % 100 === 0) await once(socket, 'connect')
  }
  const first = closeOf(sockets[0])
  const client = await connect()
  client.sendBytes(Buffer.from('x'))
  t.is((await client.read(1)).toString(), 'x')
  await first
  t.deepEqual(refusals, ['too many connections wait for their upgrade'])
  t.false(sockets[1].destroyed)
})

test('close: nobody is accepted any more, those who wait are gone', async (t) => {
  const service = await serveWebSocketEcho(t)
  const waiting = net.connect(service.port, '127.0.0.1')
  await once(waiting, 'connect')
  waiting.write('GET ')
  const gone = closeOf(waiting.on('error', () => {}))
  await service.connect()
  await service.close()
  await gone
  await t.throwsAsync(service.connect(), { code: 'ECONNREFUSED' })
})

test('WebSockets on a unix socket, for a proxy on the same machine', async (t) => {
  const path = `${tempDirectory(t)}/s`
  const { accepted } = await serveWebSocketEcho(t, {}, { kind: 'unix', path })
  const pending = accepted()
  const client = await connectTo(t, { path }, { path: '/disk' })
  client.sendBytes(Buffer.from('x'))
  t.is((await client.read(1)).toString(), 'x')
  t.is((await pending).stream.remote, `unix:${path}`)
})
