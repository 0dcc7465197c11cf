/** Bytes in frames: what arrives, what leaves, and what is too much. The client is by hand. */
import test from 'ava'
import type { WebSocketStream } from '../../io/ws-stream.ts'
import { sameBytes } from '../helpers/bytes.ts'
import { Random, seedFor } from '../helpers/random.ts'
import { until } from '../helpers/socket-server.ts'
import { encodeFrame, type Frame, Opcode } from '../helpers/web-socket.ts'
import { serveWebSocketEcho } from '../helpers/web-socket-echo.ts'

const { BINARY, CLOSE, CONTINUATION, PING, PONG, TEXT } = Opcode
const EMPTY = new Uint8Array(0)

test('bytes arrive in the handler and go back, in frames of every size', async (t) => {
  const random = new Random(seedFor(t))
  const { connect } = await serveWebSocketEcho(t)
  const client = await connect()
  for (const length of [1, 2, 125, 126, 127, 65535, 65536, 65537, 3_000_000]) {
    const bytes = random.bytes(length)
    client.sendBytes(bytes)
    sameBytes(t, await client.read(length), bytes, `${length} bytes`)
  }
})

test('frames of 1 byte, in any pieces of the network', async (t) => {
  const random = new Random(seedFor(t))
  const { connect } = await serveWebSocketEcho(t)
  const client = await connect()
  const bytes = random.bytes(2000)
  const frames = Buffer.concat([...bytes].map((byte) => encodeFrame(BINARY, Buffer.from([byte]))))
  for (let at = 0; at < frames.length;) {
    const length = random.logarithmic(1, 1000)
    client.socket.write(frames.subarray(at, at + length))
    at += length
    if (random.chance(0.2)) await new Promise((resolve) => setImmediate(resolve))
  }
  sameBytes(t, await client.read(bytes.length), bytes)
})

test('messages in fragments, empty ones, and pings in the middle of one', async (t) => {
  const { connect } = await serveWebSocketEcho(t)
  const client = await connect()
  client.send(BINARY, Buffer.from('one '), { fin: false })
  client.send(PING, Buffer.from('hello'))
  client.send(CONTINUATION, EMPTY, { fin: false })
  client.send(CONTINUATION, Buffer.from('message'))
  client.send(BINARY, EMPTY)
  client.send(BINARY, EMPTY, { mask: Buffer.alloc(4) })
  client.sendBytes(Buffer.from('.'))
  t.is((await client.read(12)).toString(), 'one message.')
  const pongs = client.frames.filter(({ opcode }) => opcode === PONG)
  t.deepEqual(
    pongs.map(({ payload }) => payload.toString()),
    ['hello'],
  )
})

test('what is sent comes in frames of at most 128 KiB: bmcweb takes no larger ones', async (t) => {
  const random = new Random(seedFor(t))
  const { connect, accepted } = await serveWebSocketEcho(t)
  const pending = accepted()
  const client = await connect()
  const { stream } = await pending
  const pieces = Array.from({ length: 30 }, () => random.bytes(random.logarithmic(1, 400_000)))
  pieces.push(random.bytes(300_000))
  t.false(stream.send(pieces))
  const all = Buffer.concat(pieces)
  sameBytes(t, await client.read(all.length), all)
  t.is(Math.max(...client.lengths), 128 * 1024)
})

const closesWith = test.macro<[frame: Uint8Array, code: number, reason: RegExp]>({
  async exec(t, frame, code, reason) {
    const { connect, accepted } = await serveWebSocketEcho(t)
    const pending = accepted()
    const client = await connect()
    const echo = await pending
    client.sendBytes(Buffer.from('before'))
    client.socket.write(frame)
    // What comes behind it is nobody's.
    client.sendBytes(Buffer.from('after'))
    t.is(await client.closeCode(), code)
    client.send(CLOSE, EMPTY)
    t.regex((await echo.over)?.message ?? '', reason)
    t.is(echo.receivedBytes, 'before'.length)
    t.is(echo.events.at(-1), 'closed')
  },
  title: (title = '') => title,
})

const text = Buffer.from('text')
test('text is refused with 1003', closesWith, encodeFrame(TEXT, text), 1003, /binary frames only/)
test(
  'text that is not UTF-8 as well',
  closesWith,
  encodeFrame(TEXT, Buffer.from([0xff])),
  1003,
  /binary/,
)
test('frames without a mask', closesWith, encodeFrame(BINARY, text, { mask: null }), 1002, /MASK/)
test('reserved bits', closesWith, encodeFrame(BINARY, text, { reserved: 1 }), 1002, /RSV/)
test('compressed frames', closesWith, encodeFrame(BINARY, text, { reserved: 4 }), 1002, /RSV1/)
test('unknown opcodes', closesWith, encodeFrame(5, text), 1002, /opcode 5/)
test('a fragment of nothing', closesWith, encodeFrame(CONTINUATION, text), 1002, /opcode 0/)
test(
  'a ping longer than 125 bytes',
  closesWith,
  encodeFrame(PING, Buffer.alloc(126)),
  1002,
  /payload length/,
)

function announcing(length: bigint): Buffer {
  const head = Buffer.from([0x82, 0xff, 0, 0, 0, 0, 0, 0, 0, 0, 1, 2, 3, 4])
  head.writeBigUInt64BE(length, 2)
  return head
}

const longest = 33n * 1024n * 1024n
test('a message above 33 MiB', closesWith, announcing(longest + 1n), 1009, /Max payload/)
test('one of 2^63 bytes', closesWith, announcing(2n ** 63n - 1n), 1009, /payload length/)

test('the longest message arrives', async (t) => {
  const { connect, accepted } = await serveWebSocketEcho(t)
  const pending = accepted()
  const client = await connect()
  const echo = await pending
  echo.onReceived = () => {}
  client.sendBytes(Buffer.alloc(Number(longest), 1))
  await until(() => echo.receivedBytes === Number(longest))
  t.pass()
})

test('a paused stream receives nothing, also of what came at once; then all of it', async (t) => {
  const random = new Random(seedFor(t))
  const { connect, accepted } = await serveWebSocketEcho(t)
  const pending = accepted()
  const client = await connect()
  const echo = await pending
  const seen: Uint8Array[] = []
  let pauses = 0
  echo.onReceived = (bytes) => {
    seen.push(bytes)
    if (random.chance(0.8)) return
    echo.stream.pause()
    const before = echo.receivedBytes
    setTimeout(
      () => {
        if (echo.receivedBytes !== before) t.fail('received while paused')
        pauses++
        echo.stream.resume()
      },
      random.between(0, 3),
    )
  }
  const bytes = random.bytes(30_000)
  const frames: Buffer[] = []
  for (let at = 0; at < bytes.length;) {
    const length = random.logarithmic(1, 5000)
    frames.push(encodeFrame(BINARY, bytes.subarray(at, at + length)))
    at += length
  }
  client.socket.write(Buffer.concat(frames))
  await until(() => echo.receivedBytes === bytes.length)
  sameBytes(t, Buffer.concat(seen), bytes)
  t.true(pauses > 0)
})

test('finish says 1000 after what was sent; destroy says 1008, without waiting', async (t) => {
  const { connect, accepted } = await serveWebSocketEcho(t)
  const first = accepted()
  const client = await connect()
  const echo = await first
  echo.stream.send([Buffer.from('bye')])
  echo.stream.finish()
  t.is((await client.read(3)).toString(), 'bye')
  t.is(await client.closeCode(), 1000)
  t.deepEqual(echo.events, ['started'])
  client.send(CLOSE, Buffer.from([3, 232]))
  t.is(await echo.over, null)

  const second = accepted()
  const other = await connect()
  const { stream, over } = await second
  stream.destroy()
  stream.destroy()
  t.is(await other.closeCode(), 1008)
  t.is(await over, null)
  await other.closed
})

test('a peer that closes is answered; one that vanishes or complains is told apart', async (t) => {
  const { connect, accepted } = await serveWebSocketEcho(t)
  const endings: [(client: Awaited<ReturnType<typeof connect>>) => void, RegExp | null][] = [
    [(client) => client.send(CLOSE, EMPTY), null],
    [(client) => client.send(CLOSE, Buffer.from([3, 233])), null],
    [(client) => client.send(CLOSE, Buffer.from([3, 243, 104, 105])), /closed with 1011: hi/],
    [(client) => client.socket.destroy(), /closed with 1006/],
  ]
  for (const [end, reason] of endings) {
    const pending = accepted()
    const client = await connect()
    const echo = await pending
    end(client)
    const error = await echo.over
    if (reason === null) t.is(error, null)
    else t.regex(error?.message ?? '', reason)
    t.deepEqual(echo.events, ['started', 'closed'])
  }
})

test('a listener that closes tells its streams: 1001', async (t) => {
  const service = await serveWebSocketEcho(t)
  const pending = service.accepted()
  const client = await service.connect()
  const { stream } = await pending
  await service.close()
  client.sendBytes(Buffer.from('still here'))
  t.is((await client.read(10)).toString(), 'still here')
  stream.finish()
  t.is(await client.closeCode(), 1001)
})

test('a peer without a sign of life is gone; one that answers, or sends, lives', async (t) => {
  const { connect, accepted } = await serveWebSocketEcho(t)
  const pending = accepted()
  const client = await connect()
  const { stream, events, over } = await pending
  const { checkAlive } = stream as WebSocketStream
  const check = checkAlive.bind(stream)
  const pings = (): Frame[] => client.frames.filter(({ opcode }) => opcode === PING)
  for (let count = 1; count <= 3; count++) {
    check()
    await client.until(() => pings().length === count, 'a ping')
    if (count === 2) client.sendBytes(Buffer.from('.'))
    else client.send(PONG, pings()[count - 1].payload)
    // The echo proves that what is before it was received.
    client.sendBytes(Buffer.from('x'))
    await client.read(count === 2 ? 2 : 1)
  }
  t.deepEqual(events, ['started'])
  check()
  // Whom we do not read we cannot hear.
  stream.pause()
  check()
  stream.resume()
  check()
  t.deepEqual(events, ['started'])
  check()
  t.regex((await over)?.message ?? '', /no answer to a ping/)
  await client.closed
})

test('the clock of the listener asks for signs of life', async (t) => {
  const { connect, accepted } = await serveWebSocketEcho(t, { pingMs: 20 })
  const pending = accepted()
  await connect()
  t.regex((await (await pending).over)?.message ?? '', /no answer to a ping/)
})
