import type net from 'node:net'
import { Duplex } from 'node:stream'
import test from 'ava'
import { createNodeIo } from '../../io/node.ts'
import { NodeStream } from '../../io/node-stream.ts'
import { sameBytes } from '../helpers/bytes.ts'
import { Echo } from '../helpers/echo.ts'
import { Random, seedFor } from '../helpers/random.ts'
import { streamContract } from './stream-contract.ts'

streamContract(createNodeIo().listen)

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
  // The end is not told before what is held.
  echo.onReceived = (piece) => {
    echo.onReceived = null
    echo.stream.pause()
    sent.push(Buffer.from(piece))
  }
  socket.push(Buffer.alloc(2500, 1))
  socket.push(null)
  for (let turn = 0; turn < 10; turn++) await new Promise((resolve) => setImmediate(resolve))
  t.deepEqual(echo.events, ['started'])
  echo.stream.resume()
  t.is(await echo.over, null)
  sameBytes(t, Buffer.concat(sent), Buffer.concat([bytes, Buffer.alloc(2500, 1)]))
})
