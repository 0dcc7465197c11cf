/** Clients that send more than they should, or read less: memory stays, others are served. */
import type { Duplex } from 'node:stream'
import type net from 'node:net'
import test from 'ava'
import { until } from '../helpers/socket-server.ts'
import { encodeFrame, Opcode } from '../helpers/web-socket.ts'
import { serveWebSocketEcho } from '../helpers/web-socket-echo.ts'

const { BINARY, CONTINUATION, PING, PONG } = Opcode
const MIB = 1 << 20

/** What has left the client's memory: it is with the server, or with the kernel. */
function sentBytes(socket: Duplex): number {
  const { bytesWritten, writableLength } = socket as net.Socket
  return bytesWritten - writableLength
}

test('a stream that is not read from does not take more than the kernel holds', async (t) => {
  const { connect, accepted } = await serveWebSocketEcho(t)
  const pending = accepted()
  const client = await connect()
  const echo = await pending
  echo.onReceived = () => {}
  echo.stream.pause()
  const message = encodeFrame(BINARY, Buffer.alloc(MIB, 1))
  for (let count = 0; count < 32; count++) client.socket.write(message)
  let before = -1
  while (sentBytes(client.socket) > before) {
    before = sentBytes(client.socket)
    await new Promise((resolve) => setTimeout(resolve, 100))
  }
  t.is(echo.receivedBytes, 0)
  t.true(before < 24 * MIB, `${Math.round(before / MIB)} MiB were taken`)
  echo.stream.resume()
  await until(() => echo.receivedBytes === 32 * MIB)
  t.pass()
})

test('a send to a client that does not read is lent until it has left', async (t) => {
  const { connect, accepted } = await serveWebSocketEcho(t)
  const pending = accepted()
  const client = await connect()
  const echo = await pending
  client.socket.pause()
  t.false(echo.stream.send([Buffer.alloc(32 * MIB, 1)]))
  const other = await connect()
  other.sendBytes(Buffer.from('x'))
  await other.read(1)
  t.is(echo.sentCount, 0)
  client.socket.resume()
  await client.until(() => client.lengths.length === 256, '32 MiB')
  await until(() => echo.sentCount === 1)
  t.is(
    client.lengths.reduce((sum, each) => sum + each, 0),
    32 * MIB,
  )
})

test('unfinished messages of all together are limited; small ones are not concerned', async (t) => {
  const { connect, accepted } = await serveWebSocketEcho(t, { incompleteBytesMax: 8 * MIB })
  const unfinished = encodeFrame(BINARY, Buffer.alloc(3 * MIB, 1), { fin: false })
  const clients = [await connect(), await connect(), await connect()]
  const last = accepted()
  const good = await connect()
  const echo = await last
  for (const client of clients) client.socket.write(unfinished)
  const codes = await Promise.race(clients.map((client) => client.closeCode()))
  t.is(codes, 1013)
  // Those below the fair share, and those who have finished, go on.
  good.sendBytes(Buffer.alloc(MIB / 2, 1))
  await good.read(MIB / 2)
  for (const client of clients) client.socket.destroy()
  await until(() => echo.events.length === 1)
  const late = await connect()
  for (let count = 0; count < 4; count++) {
    late.sendBytes(Buffer.alloc(3 * MIB, 1))
    await late.read(3 * MIB)
  }
  t.pass()
})

test('a message of very many tiny fragments is refused: 1008', async (t) => {
  const { connect } = await serveWebSocketEcho(t)
  const client = await connect()
  client.send(BINARY, Buffer.alloc(1), { fin: false })
  const more = encodeFrame(CONTINUATION, Buffer.alloc(1), { fin: false })
  client.socket.write(Buffer.concat(Array.from({ length: 16_384 }, () => more)))
  t.is(await client.closeCode(), 1008)
})

test('pings are answered, the last one for certain; a flood unread costs nothing', async (t) => {
  const { connect, accepted } = await serveWebSocketEcho(t)
  const polite = await connect()
  for (let count = 0; count < 50; count++) polite.send(PING, Buffer.from([count]))
  await polite.until(() => polite.frames.at(-1)?.payload[0] === 49, 'the last pong')
  t.true(polite.frames.every(({ opcode }) => opcode === PONG))

  const pending = accepted()
  const flood = await connect()
  const echo = await pending
  flood.socket.pause()
  const ping = encodeFrame(PING, Buffer.alloc(125))
  const many = Buffer.concat(Array.from({ length: 1000 }, () => ping))
  for (let count = 0; count < 200; count++) flood.socket.write(many)
  await until(() => (flood.socket as net.Socket).writableLength === 0)
  flood.sendBytes(Buffer.from('x'))
  await until(() => echo.receivedBytes === 1)
  flood.socket.resume()
  t.is((await flood.read(1)).toString(), 'x')
  // All of 200,000 would be 26 MB; what the sockets held comes.
  t.true(flood.frames.length < 100_000, `${flood.frames.length} pongs`)
})
