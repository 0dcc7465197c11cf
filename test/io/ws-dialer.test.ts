/** Dialling out: what is shown to the other server, whom we trust, and how we come back. */
import { existsSync, readFileSync } from 'node:fs'
import { join } from 'node:path'
import test from 'ava'
import type { ExecutionContext } from 'ava'
import { dialWebSocket, type WebSocketTarget } from '../../io/ws-dialer.ts'
import { Authority } from '../helpers/authority.ts'
import { Bmc } from '../helpers/bmc.ts'
import { Echo } from '../helpers/echo.ts'
import { tempDirectory } from '../helpers/temp.ts'
import { until } from '../helpers/socket-server.ts'
import { requireTool } from '../helpers/tools.ts'

interface Dialled {
  readonly echoes: readonly Echo[]
  readonly failures: readonly string[]
  readonly waits: readonly number[]
  close(): Promise<void>
}

function dial(
  t: ExecutionContext,
  url: string,
  wishes: Partial<WebSocketTarget> = {},
  retryMs = 1,
): Dialled {
  const echoes: Echo[] = []
  const failures: string[] = []
  const waits: number[] = []
  const target = {
    url,
    headers: new Map<string, string>(),
    authority: null,
    certificate: null,
    verify: true,
    ...wishes,
  }
  const failed = (_: string, reason: string, waitMs: number): void => {
    failures.push(reason)
    waits.push(waitMs)
  }
  const listener = dialWebSocket(
    { kind: 'dial', url, exportName: 'disk' },
    { target: async () => target, reports: { connected: () => {}, failed }, retryMs },
    (stream) => void echoes.push(new Echo(stream)),
  )
  t.teardown(() => listener.close())
  return { echoes, failures, waits, close: () => listener.close() }
}

test('the server gets what the headers say, and bytes go both ways, masked', async (t) => {
  const bmc = await Bmc.start(t)
  const headers = new Map([
    ['X-Auth-Token', 'abc'],
    ['Sec-WebSocket-Protocol', 'token'],
  ])
  const { echoes } = dial(t, `ws://127.0.0.1:${bmc.port}/nbd/0?x=1`, { headers })
  const webSocket = await bmc.connected()
  const [head] = bmc.heads
  t.regex(head, /^GET \/nbd\/0\?x=1 HTTP\/1\.1\r\n/)
  t.regex(head, /\r\nX-Auth-Token: abc\r\n/)
  t.regex(head, /\r\nSec-WebSocket-Protocol: token\r\n/)
  t.notRegex(head, /Extensions|Origin/)
  const bytes = Buffer.alloc(300_000, 'x')
  webSocket.sendBytes(bytes)
  t.deepEqual(await webSocket.read(bytes.length), bytes)
  t.true(Math.max(...webSocket.lengths) <= 128 * 1024)
  t.deepEqual(echoes[0].stream.entry, { defaultExport: 'disk', exports: null, identity: null })
  t.is(echoes[0].stream.remote, `127.0.0.1:${bmc.port}`)
})

test('it comes back whenever the connection ends, whatever the reason', async (t) => {
  const bmc = await Bmc.start(t)
  const { echoes, failures } = dial(t, `ws://127.0.0.1:${bmc.port}/`)
  for (let count = 1; count <= 3; count++) {
    await bmc.requests(count)
    const { socket } = await bmc.connected()
    if (count === 3) bmc.status = 503
    socket.destroy()
    await until(() => failures.length >= count)
  }
  await until(() => failures.includes('the server answers 503'))
  bmc.status = 404
  await until(() => failures.includes('the server answers 404: it has nothing at this path'))
  bmc.status = 101
  await until(() => echoes.length === 4)
  t.true(echoes.every((echo, index) => index + 1 === echoes.length || echo.events.length === 2))
})

test('the waits grow, differ, and have an end', async (t) => {
  const { waits, failures } = dial(t, 'ws://127.0.0.1:1/', {}, 8)
  await until(() => waits.length >= 8)
  for (const [index, wait] of waits.slice(0, 8).entries()) {
    const longest = 8 * 2 ** index
    t.true(wait >= longest / 2 - 1 && wait <= longest + 1, `${index}: ${wait}`)
  }
  t.regex(failures[0], /ECONNREFUSED/)
})

test('close: it does not dial any more, also in the middle of an attempt or a wait', async (t) => {
  const bmc = await Bmc.start(t)
  const open = dial(t, `ws://127.0.0.1:${bmc.port}/`)
  const webSocket = await bmc.connected()
  await until(() => open.echoes.length === 1)
  await open.close()
  webSocket.sendBytes(Buffer.from('x'))
  t.is((await webSocket.read(1)).toString(), 'x', 'who is connected stays')
  open.echoes[0].stream.finish()
  t.is(await webSocket.closeCode(), 1001)
  webSocket.socket.destroy()
  const waiting = dial(t, 'ws://127.0.0.1:1/', {}, 60_000)
  await until(() => waiting.failures.length === 1)
  await waiting.close()
  const early = dial(t, `ws://127.0.0.1:${bmc.port}/`)
  await early.close()
  await open.echoes[0].over
  t.is(early.echoes.length, 0)
  t.is(open.failures.length, 0)
})

test('TLS: only a server that is who it should be, unless that is waived', async (t) => {
  if (!requireTool(t, 'openssl')) return
  const authority = new Authority(tempDirectory(t))
  const stranger = new Authority(tempDirectory(t), 'stranger')
  const right = authority.folder('server', { names: 'IP:127.0.0.1' })
  const client = authority.folder('client', { name: 'alice' })
  const ca = read(right, 'ca-cert.pem')
  const bmc = await Bmc.start(t, { ...options(right), ca, requestCert: true })
  const url = `wss://127.0.0.1:${bmc.port}/`
  const certificate = {
    certificate: read(client, 'client-cert.pem'),
    key: read(client, 'client-key.pem'),
  }
  for (const wishes of [
    { authority: ca, certificate },
    { verify: false, certificate },
  ]) {
    const { echoes, close } = dial(t, url, wishes)
    await until(() => echoes.length === 1)
    echoes[0].stream.destroy()
    await close()
  }
  const wrong = read(stranger.folder('server'), 'ca-cert.pem')
  const untrusted = dial(t, url, { authority: wrong, certificate }, 60_000)
  await until(() => untrusted.failures.length === 1)
  t.regex(untrusted.failures[0], /certificate/)
  const nobody = dial(t, url, {}, 60_000)
  await until(() => nobody.failures.length === 1)
  t.regex(nobody.failures[0], /certificate/)

  const other = await Bmc.start(t, options(authority.folder('server', { names: 'DNS:other' })))
  const misnamed = dial(t, `wss://127.0.0.1:${other.port}/`, { authority: ca }, 60_000)
  await until(() => misnamed.failures.length === 1)
  t.regex(misnamed.failures[0], /does not match certificate's altnames/)
  t.is(other.heads.length, 0)
})

function read(folder: string, name: string): string {
  const file = join(folder, name)
  return existsSync(file) ? readFileSync(file, 'utf8') : ''
}

function options(folder: string): { readonly cert: string; readonly key: string } {
  return { cert: read(folder, 'server-cert.pem'), key: read(folder, 'server-key.pem') }
}
