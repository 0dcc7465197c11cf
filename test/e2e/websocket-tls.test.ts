/** wss:// from the command line, in both directions, and what is refused at the start. */
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import test, { type ExecutionContext } from 'ava'
import { Authority } from '../helpers/authority.ts'
import { Bmc } from '../helpers/bmc.ts'
import { DiskClient } from '../helpers/disk-client.ts'
import { opensslForTests } from '../helpers/openssl-for-tests.ts'
import { COMMAND_LINE, serve, startCommand } from '../helpers/serve.ts'
import { tempDirectory } from '../helpers/temp.ts'
import { certificatesIn } from '../helpers/tls.ts'
import { attempt } from '../helpers/tools.ts'

const WSS = ['--memory', '1M', '--listen', 'wss://127.0.0.1:0/']
const PATTERN = Buffer.alloc(5000, 7)

async function relayTo(t: ExecutionContext, url: string, ...more: string[]) {
  const listen = ['--listen', `nbd+unix:///?socket=${join(tempDirectory(t), 's')}`]
  return startCommand(t, ['relay', url, ...listen, ...more])
}

async function startFails(t: ExecutionContext, args: readonly string[]): Promise<string> {
  const words = [...COMMAND_LINE, 'serve', '--memory', '1M', ...args]
  const { status, stderr } = await attempt(t, process.execPath, words)
  t.is(status, 1)
  return stderr
}

if (opensslForTests()) {
  const directory = mkdtempSync(join(tmpdir(), 'chunknbd-'))
  test.after.always(() => rmSync(directory, { recursive: true }))
  const authority = new Authority(directory)
  const server = authority.folder('server', { names: 'IP:127.0.0.1' })
  const alice = authority.folder('client', { name: 'alice' })

  test('wss: a client with a certificate is served, by name; one without is not', async (t) => {
    const served = await serve(t, [...WSS, '--tls-certificates', server, '--tls-verify-peer'])
    t.regex(served.uri, /^wss:\/\/127\.0\.0\.1:\d+\/memory$/)
    const relay = await relayTo(t, served.uri, '--certificates', alice)
    const client = await DiskClient.connect(relay.uri)
    await client.write(100, PATTERN)
    t.deepEqual(Buffer.from(await client.read(100, PATTERN.length)), PATTERN)
    await client.disconnect()
    t.regex(served.log(), /"tls":"TLSv1\.3","peer":"CN=alice,O=Test","msg":"client attached"/)

    const stranger = await relayTo(t, served.uri, '--insecure')
    await t.throwsAsync(DiskClient.connect(stranger.uri), { message: /closed the connection/ })
    await served.logged(/"reason":"no TLS: [^"]*certificate[^"]*"/)
    const trustless = await relayTo(t, served.uri)
    await t.throwsAsync(DiskClient.connect(trustless.uri), { message: /closed the connection/ })
    await trustless.logged(/"reason":"[^"]*certificate[^"]*","msg":"the server cannot be reached"/)
    t.is(await served.stop(), 0)
  })

  test('--connect wss: the BMC is verified, and ours can be shown to it', async (t) => {
    const { certificate: cert, key, authority: ca } = certificatesIn(server)
    const bmc = await Bmc.start(t, { cert, key, ca: ca ?? '', requestCert: true })
    const url = `wss://127.0.0.1:${bmc.port}/nbd/0`
    const connect = ['--memory', '1M', '--connect', url]
    const wary = await serve(t, connect, { uriCount: 0 })
    await wary.logged(/"reason":"[^"]*certificate[^"]*","waitMs":\d+,"msg":"not connected"/)
    t.is(bmc.heads.length, 0)
    await wary.stop()
    const config = join(tempDirectory(t), 'c.toml')
    const keys = `[websocket]\nconnect = ["${url}"]\nconnect-certificates = "${alice}"\n`
    writeFileSync(config, keys)
    const served = await serve(t, ['--memory', '1M', '--config', config, '--connect', url], {
      uriCount: 0,
    })
    await bmc.connected()
    const client = await DiskClient.connect(bmc.uri)
    await client.write(0, PATTERN)
    t.deepEqual(Buffer.from(await client.read(0, PATTERN.length)), PATTERN)
    await client.disconnect()
    t.is(await served.stop(), 0)
  })

  test('what cannot be meant ends the start, saying what to write', async (t) => {
    const plain = await startFails(t, ['--listen', 'wss://127.0.0.1:0/'])
    t.regex(plain, /wss:\/\/ needs certificates: give --tls-certificates DIR/)
    const both = ['--listen', 'ws://127.0.0.1:0/', '--tls-certificates', server]
    t.regex(await startFails(t, both), /ws:\/\/ is not encrypted: write wss:\/\//)
    const file = join(tempDirectory(t), 'f')
    writeFileSync(file, 'disk:short\n', { mode: 0o600 })
    const tokens = ['--listen', 'ws://127.0.0.1:0/', '--ws-token-file', file]
    t.regex(await startFails(t, tokens), /f, line 1: the token is too short/)
    writeFileSync(file, 'X-Auth-Token hunter2\n')
    const headers = ['--connect', 'ws://127.0.0.1:1/', '--connect-headers', file]
    const refused = await startFails(t, headers)
    t.regex(refused, /f, line 1: write NAME: VALUE/)
    t.notRegex(refused, /hunter2/)
    const nothing = ['--connect', 'ws://127.0.0.1:1/', '--connect-certificates', directory]
    t.regex(await startFails(t, nothing), /neither ca-cert\.pem nor client-cert\.pem is there/)
    t.regex(await startFails(t, [...tokens.slice(0, 3), `${file}x`]), /ENOENT.*fx/)
  })
}
