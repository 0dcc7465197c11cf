/**
 * A unix socket for clients of NBD in front of a WebSocket, by hand: what comes is cut into frames
 * of random lengths, some of them fragments of a message, with empty ones and pings between.
 */
import { once } from 'node:events'
import net from 'node:net'
import { join } from 'node:path'
import type { ExecutionContext } from 'ava'
import type { Random } from './random.ts'
import { tempDirectory } from './temp.ts'
import { connect, Opcode, type RawWebSocket } from './web-socket.ts'

/** @param longest frame, in bytes. @returns the path of the socket */
export async function framingProxy(
  t: ExecutionContext,
  port: number,
  random: Random,
  longest: number,
): Promise<string> {
  const path = join(tempDirectory(t), 's')
  const server = net.createServer((socket) => void passOn(t, socket, port, random, longest))
  server.listen(path)
  await once(server, 'listening')
  t.teardown(() => server.close())
  return path
}

async function passOn(
  t: ExecutionContext,
  socket: net.Socket,
  port: number,
  random: Random,
  longest: number,
): Promise<void> {
  socket.on('error', () => {})
  const webSocket = await connect(t, { port, host: '127.0.0.1' })
  webSocket.pipeTo(socket)
  let isInside = false
  socket.on('data', (bytes) => {
    for (let at = 0; at < bytes.length;) {
      if (random.chance(0.05)) webSocket.send(Opcode.PING, random.bytes(3))
      const length = random.chance(0.05) ? 0 : random.logarithmic(1, longest)
      const piece = bytes.subarray(at, at + length)
      at += piece.length
      // A message must end when nothing follows: nobody knows when the next bytes come.
      const fin = at === bytes.length || random.chance(0.7)
      sendPiece(webSocket, piece, isInside, fin)
      isInside = !fin
    }
  })
  socket.on('close', () => webSocket.send(Opcode.CLOSE, new Uint8Array(0)))
}

function sendPiece(webSocket: RawWebSocket, piece: Buffer, isInside: boolean, fin: boolean): void {
  webSocket.send(isInside ? Opcode.CONTINUATION : Opcode.BINARY, piece, { fin })
}
