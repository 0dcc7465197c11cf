/** The server behind WebSockets, and real clients of NBD that reach it through `chunknbd relay`. */
import { randomFillSync } from 'node:crypto'
import { writeFileSync } from 'node:fs'
import { readFile } from 'node:fs/promises'
import { join } from 'node:path'
import test, { type ExecutionContext } from 'ava'
import { sameBytes } from '../helpers/bytes.ts'
import { Bmc } from '../helpers/bmc.ts'
import { makeDisk } from '../helpers/chunks.ts'
import { DiskClient } from '../helpers/disk-client.ts'
import { option } from '../helpers/naive-codec.ts'
import { seedFor } from '../helpers/random.ts'
import { serve, type Served, startCommand } from '../helpers/serve.ts'
import { tempDirectory } from '../helpers/temp.ts'
import { requireTool, run } from '../helpers/tools.ts'
import { connect, type RawWebSocket } from '../helpers/web-socket.ts'

const MIB = 1 << 20
const LISTEN = ['--listen', 'ws://127.0.0.1:0/']
const TOKEN = 'dGhpcyBpcyBhIHNlY3JldA'
const OTHER_TOKEN = 'c29tZXRoaW5nIGVsc2UgaXM'

/** A relay to a server. @returns the URI to use */
async function relayTo(t: ExecutionContext, url: string, ...more: string[]): Promise<string> {
  const socket = join(tempDirectory(t), 's')
  const listen = ['--listen', `nbd+unix:///?socket=${socket}`]
  return (await startCommand(t, ['relay', url, ...listen, ...more])).uri
}

function secretFile(t: ExecutionContext, text: string): string {
  const file = join(tempDirectory(t), 'secret')
  writeFileSync(file, text, { mode: 0o600 })
  return file
}

function connectTo(
  t: ExecutionContext,
  { uri }: Served,
  path = '/',
  headers: Record<string, string> = {},
): Promise<RawWebSocket> {
  return connect(t, { port: Number(new URL(uri).port), host: '127.0.0.1' }, { path, headers })
}

test('nbdcopy, qemu-img and fio over a WebSocket: what is written is there', async (t) => {
  if (!requireTool(t, 'nbdcopy', 'nbdinfo', 'qemu-img', 'fio')) return
  const directory = tempDirectory(t)
  await makeDisk(join(directory, 'd.chunkdisk'), { size: '48M', chunkSize: '1M' })
  const server = await serve(t, ['d.chunkdisk', ...LISTEN], { cwd: directory })
  t.regex(server.uri, /^ws:\/\/127\.0\.0\.1:\d+\/d$/)
  const uri = await relayTo(t, server.uri)
  const [image, back] = ['image', 'back'].map((name) => join(directory, name))
  const bytes = Buffer.alloc(48 * MIB)
  randomFillSync(bytes, 0, 20 * MIB)
  writeFileSync(image, bytes)
  await run(t, 'nbdcopy', ['--connections=4', image, uri])
  await run(t, 'qemu-img', ['compare', '-f', 'raw', '-F', 'raw', image, uri])
  await run(t, 'nbdcopy', [uri, back])
  sameBytes(t, await readFile(back), bytes)

  const job = ['--name=job', '--ioengine=nbd', `--uri=${uri}`, `--randseed=${seedFor(t)}`]
  const load = ['--rw=randrw', '--bsrange=512-256k', '--bs_unaligned=1', '--iodepth=16']
  const verify = ['--verify=crc32c', '--verify_fatal=1', '--size=24M', '--fsync=64']
  await run(t, 'fio', [...job, ...load, ...verify], { cwd: directory })
  const { stdout } = await run(t, 'nbdinfo', ['--size', uri])
  t.is(stdout, `${48 * MIB}\n`)
  t.is(await server.stop(), 0)
})

test('the path names the default export, and hides none', async (t) => {
  const directory = tempDirectory(t)
  for (const [name, size] of [
    ['a', '1M'],
    ['b ü', '2M'],
  ]) {
    await makeDisk(join(directory, `${name}.chunkdisk`), { size, chunkSize: '1M' })
  }
  const disks = ['a.chunkdisk', 'b ü.chunkdisk']
  const server = await serve(t, [...disks, ...LISTEN], { cwd: directory, uriCount: 2 })
  const second = await relayTo(t, server.uris[1])
  const { stdout } = await run(t, 'nbdinfo', ['--size', second])
  t.is(stdout, `${2 * MIB}\n`)
  const { stdout: list } = await run(t, 'nbdinfo', ['--list', '--json', second])
  const { exports } = JSON.parse(list) as { exports: { 'export-name': string }[] }
  t.deepEqual(
    exports.map((each) => each['export-name']),
    ['a', 'b ü'],
  )
  t.is((await connectTo(t, server, '/c')).answer.status, 404)
})

test('a token opens its exports; new ones by SIGHUP; none is in the log', async (t) => {
  const directory = tempDirectory(t)
  for (const name of ['a', 'b']) {
    await makeDisk(join(directory, `${name}.chunkdisk`), { size: '1M', chunkSize: '1M' })
  }
  const file = secretFile(t, `b:${TOKEN}\n`)
  const args = ['a.chunkdisk', 'b.chunkdisk', ...LISTEN, '--ws-token-file', file]
  const server = await serve(t, args, { cwd: directory, uriCount: 2 })
  const headers = { Authorization: `Bearer ${TOKEN}` }
  t.is((await connectTo(t, server, '/b')).answer.status, 401)
  t.is((await connectTo(t, server, '/a', headers)).answer.status, 404)

  const credentials = secretFile(t, `Authorization: Bearer ${TOKEN}\n`)
  const url = server.uri.replace(/a$/, '')
  const uri = await relayTo(t, url, '--headers', credentials)
  const { stdout } = await run(t, 'nbdinfo', ['--list', '--json', uri])
  const { exports } = JSON.parse(stdout) as { exports: { 'export-name': string }[] }
  t.deepEqual(
    exports.map((each) => each['export-name']),
    ['b'],
  )

  writeFileSync(file, `*:${OTHER_TOKEN}\n`)
  process.kill(server.pid, 'SIGHUP')
  await server.logged(/"reloaded"/)
  t.is((await connectTo(t, server, '/b', headers)).answer.status, 401)
  const protocol = { 'Sec-WebSocket-Protocol': `binary, ${OTHER_TOKEN}` }
  t.is((await connectTo(t, server, '/a', protocol)).answer.status, 101)
  t.is(await server.stop(), 0)
  t.false(server.log().includes(TOKEN) || server.log().includes(OTHER_TOKEN))
})

test('a server that stops finishes, and says 1001 to everybody', async (t) => {
  const server = await serve(t, ['--memory', '1M', ...LISTEN])
  const early = await connectTo(t, server)
  const client = await connectTo(t, server)
  await client.read(18)
  client.sendBytes(Buffer.concat([Buffer.from([0, 0, 0, 3]), option(1)]))
  await client.read(10)
  await server.logged(/client attached/)
  const over = server.stop()
  t.is(await client.closeCode(), 1001)
  client.send(8, new Uint8Array(0))
  t.is(await early.closeCode(), 1001)
  t.is(await over, 0)
})

test('a client that never reads costs no memory, nor does one with a ping for each', async (t) => {
  const server = await serve(t, ['--memory', '64M', ...LISTEN])
  const resident = async (): Promise<number> => {
    const status = await readFile(`/proc/${server.pid}/status`, 'utf8')
    return Number(/VmRSS:\s+(\d+) kB/.exec(status)?.[1]) * 1024
  }
  const greedy = await connectTo(t, server)
  await greedy.read(18)
  greedy.sendBytes(Buffer.concat([Buffer.from([0, 0, 0, 3]), option(1)]))
  await greedy.read(10)
  greedy.socket.pause()
  const before = await resident()
  const request = Buffer.alloc(28)
  request.writeUInt32BE(0x25609513, 0)
  request.writeUInt32BE(32 * MIB, 24)
  for (let count = 0; count < 200; count++) {
    greedy.sendBytes(request)
    greedy.send(9, Buffer.from('are you there?'))
  }
  // Somebody else is served meanwhile.
  const uri = await relayTo(t, server.uri)
  const other = await DiskClient.connect(uri)
  for (let count = 0; count < 50; count++) await other.write(count * MIB, Buffer.alloc(MIB, 1))
  await other.disconnect()
  const grown = (await resident()) - before
  // 200 replies would be 6.4 GiB. The disk itself has grown by 50 MiB.
  t.true(grown < 250 * MIB, `${Math.round(grown / MIB)} MiB`)
  greedy.socket.destroy()
  t.is(await server.stop(), 0)
})

test('--connect: a BMC is served, by name, and again after each end', async (t) => {
  if (!requireTool(t, 'nbdcopy', 'nbdinfo')) return
  const directory = tempDirectory(t)
  await makeDisk(join(directory, 'a.chunkdisk'), { size: '1M', chunkSize: '1M' })
  await makeDisk(join(directory, 'b.chunkdisk'), { size: '8M', chunkSize: '1M' })
  const image = join(directory, 'image')
  const bytes = randomFillSync(Buffer.alloc(8 * MIB))
  writeFileSync(image, bytes)
  const bmc = await Bmc.start(t)
  const headers = secretFile(t, `# for the BMC\nX-Auth-Token: ${TOKEN}\n`)
  const dial = ['--connect', `ws://127.0.0.1:${bmc.port}/nbd/0#b`, '--connect-headers', headers]
  const server = await serve(t, ['a.chunkdisk', 'b.chunkdisk', ...dial], {
    cwd: directory,
    uriCount: 0,
  })
  await bmc.connected()
  await run(t, 'nbdcopy', ['--connections=1', image, bmc.uri])
  await bmc.requests(2)
  await bmc.connected()
  const { stdout } = await run(t, 'nbdinfo', ['--size', bmc.uri])
  t.is(stdout, `${8 * MIB}\n`)
  await bmc.requests(3)
  const webSocket = await bmc.connected()
  t.true(bmc.heads.every((head) => head.includes(`X-Auth-Token: ${TOKEN}`)))
  const over = server.stop()
  t.is(await webSocket.closeCode(), 1001)
  t.is(await over, 0)
  t.false(server.log().includes(TOKEN))
  const check = await serve(t, ['b.chunkdisk'], { cwd: directory })
  const client = await DiskClient.connect(check.uri)
  sameBytes(t, await client.read(0, 8 * MIB), bytes)
  await client.disconnect()
})
