/** A disk that changes its size while it is served, with clients of every kind attached. */
import {
  existsSync,
  lstatSync,
  mkdirSync,
  readdirSync,
  statSync,
  symlinkSync,
  writeFileSync,
} from 'node:fs'
import net from 'node:net'
import { join } from 'node:path'
import test, { type ExecutionContext } from 'ava'
import { sameBytes } from '../helpers/bytes.ts'
import { chunknbd, makeDisk, tryChunknbd } from '../helpers/chunks.ts'
import { DiskClient } from '../helpers/disk-client.ts'
import { type Served, serve } from '../helpers/serve.ts'
import { tempDirectory } from '../helpers/temp.ts'
import { requireTool, run } from '../helpers/tools.ts'

const MIB = 1 << 20
const EINVAL = 22
const ENOSPC = 28
const CONTROL = '.d.chunkdisk.control'

interface Disk {
  readonly directory: string
  readonly server: Served
  resize(...args: string[]): Promise<string>
}

async function serveDisk(t: ExecutionContext, directory = tempDirectory(t)): Promise<Disk> {
  await makeDisk(join(directory, 'd.chunkdisk'), { size: '8M', chunkSize: '1M' })
  const server = await serve(t, ['d.chunkdisk'], { cwd: directory })
  const resize = async (...args: string[]): Promise<string> => {
    return (await chunknbd(t, ['resize', 'd.chunkdisk', ...args], directory)).stdout
  }
  return { directory, server, resize }
}

test('new connections see the new size, old ones keep theirs', async (t) => {
  if (!requireTool(t, 'nbdinfo', 'nbdcopy', 'qemu-img')) return
  const { directory, server, resize } = await serveDisk(t)
  const { uri } = server
  const old = await DiskClient.connect(uri)
  const data = Buffer.alloc(MIB, 7)
  await old.write(7 * MIB, data)
  const said = await resize('--size', '16M')
  t.is(
    said,
    `resized d.chunkdisk: 8M -> 16M (by its server, process ${server.pid}: reconnect to see it)\n`,
  )
  const size = async (): Promise<string> => (await run(t, 'nbdinfo', ['--size', uri])).stdout
  t.is(await size(), `${16 * MIB}\n`)
  const list = await run(t, 'nbdinfo', ['--list', '--json', uri.replace(/\/d\?/, '/?')])
  t.regex(list.stdout, /"description": "chunk disk of 16M"/)
  const info = await run(t, 'qemu-img', ['info', '--output=json', '-f', 'raw', uri])
  t.is((JSON.parse(info.stdout) as Record<string, number>)['virtual-size'], 16 * MIB)

  await t.throwsAsync(old.read(8 * MIB, 512), { message: new RegExp(`fails with ${EINVAL}$`) })
  await t.throwsAsync(old.write(8 * MIB, data), { message: new RegExp(`fails with ${ENOSPC}$`) })
  sameBytes(t, await old.read(7 * MIB, MIB), data)
  const image = Buffer.alloc(16 * MIB, 3)
  writeFileSync(join(directory, 'image'), image)
  await run(t, 'nbdcopy', [join(directory, 'image'), uri])
  sameBytes(t, await old.read(7 * MIB, MIB), image.subarray(0, MIB))
  await old.disconnect()
  const fresh = await DiskClient.connect(uri)
  sameBytes(t, await fresh.read(15 * MIB, MIB), image.subarray(0, MIB))
  await fresh.disconnect()
  t.is(await server.stop(), 0)
  t.regex((await chunknbd(t, ['check', 'd.chunkdisk'], directory)).stdout, /: ok\n$/)
})

test('a client of a disk that got smaller is refused what is gone, and nothing else', async (t) => {
  const { directory, server, resize } = await serveDisk(t)
  const client = await DiskClient.connect(server.uri)
  await client.write(0, Buffer.alloc(8 * MIB, 5))
  // Parts of pages, so that the page cache holds some of the tail.
  await client.write(6 * MIB + 100, Buffer.from('cached'))
  const args = ['resize', 'd.chunkdisk', '--size', '5M']
  const refused = await tryChunknbd(t, args, directory)
  t.deepEqual([refused.status, refused.stdout], [1, ''])
  t.regex(refused.stderr, /data behind the new end, the first at offset 5242880; .*--discard-tail/)
  t.regex(await resize('--size', '5M', '--discard-tail'), /8M -> 5M/)
  const gone: [request: () => Promise<unknown>, errno: number][] = [
    [() => client.read(6 * MIB + 100, 6), EINVAL],
    [() => client.read(0, 5 * MIB + 1), EINVAL],
    [() => client.write(6 * MIB + 100, Buffer.from('x')), ENOSPC],
    [() => client.zero(5 * MIB, MIB), ENOSPC],
    [() => client.trim(5 * MIB, MIB), EINVAL],
  ]
  for (const [request, errno] of gone) {
    await t.throwsAsync(request, { message: new RegExp(`fails with ${errno}$`) })
  }
  sameBytes(t, await client.read(4 * MIB, MIB), Buffer.alloc(MIB, 5))
  await client.flush()
  t.regex(await resize('--size', '8M'), /5M -> 8M/)
  // It has its old size again: zeros, also where the page cache had other bytes.
  sameBytes(t, await client.read(5 * MIB, 3 * MIB), Buffer.alloc(3 * MIB))
  sameBytes(t, await client.read(6 * MIB + 100, 6), Buffer.alloc(6))
  await client.disconnect()
  t.is(await server.stop(), 0)
  const chunks = readdirSync(join(directory, 'd.chunks')).sort()
  t.deepEqual(chunks, ['chunk0', 'chunk1', 'chunk2', 'chunk3', 'chunk4'])
})

test('under load from several connections nothing that was answered is lost', async (t) => {
  const { directory, server } = await serveDisk(t)
  const block = 16 << 10
  const state = { isOver: false, refused: 0 }
  const expected = Buffer.alloc(8 * MIB)
  /** Each has blocks of its own; those behind 6M come and go. */
  const load = async (number: number): Promise<void> => {
    const client = await DiskClient.connect(server.uri)
    for (let round = 1; !state.isOver; round++) {
      for (let at = number * block; at < 8 * MIB; at += 4 * block) {
        const data = Buffer.alloc(block, (round % 250) + 1)
        const done = await client.write(at, data).then(
          () => true,
          () => false,
        )
        if (done) expected.set(data, at)
        else if (at >= 6 * MIB) state.refused++
        else throw new Error(`write at ${at} failed`)
        if (state.isOver) break
      }
    }
    await client.disconnect()
  }
  const loads = [0, 1, 2, 3].map(load)
  const sizes = [6 * MIB, 12 * MIB, 7 * MIB - 4096, 6 * MIB, 8 * MIB]
  for (const size of sizes) {
    const request = { command: 'resize', size, discardTail: true, parts: [] }
    const answer = await control(join(directory, CONTROL), JSON.stringify(request) + '\n')
    t.like(JSON.parse(answer), { ok: true, process: server.pid, result: { size, leftovers: [] } })
    const before = state.refused
    if (size >= 8 * MIB) continue
    // Somebody comes to its end.
    while (state.refused === before) await new Promise((resolve) => setImmediate(resolve))
  }
  state.isOver = true
  await Promise.all(loads)
  const client = await DiskClient.connect(server.uri)
  sameBytes(t, await client.read(0, 6 * MIB), expected.subarray(0, 6 * MIB))
  await client.disconnect()
  t.is(await server.stop(), 0)
})

/** Sends bytes to a control socket. @returns all that it says */
function control(file: string, bytes: string): Promise<string> {
  return new Promise((resolve, reject) => {
    let text = ''
    const socket = net.connect(file, () => socket.write(bytes))
    socket.on('data', (data: Buffer) => (text += data.toString()))
    socket.on('error', reject)
    socket.on('close', () => resolve(text))
  })
}

test('parts are added to a disk that is served', async (t) => {
  const directory = tempDirectory(t)
  const args = ['create', 'd.chunkdisk', '--size', '4M', '--chunk-size', '1M', '--part', 'a:4']
  await chunknbd(t, args, directory)
  const server = await serve(t, ['d.chunkdisk'], { cwd: directory })
  mkdirSync(join(directory, 'sub'))
  const resize = ['resize', '../d.chunkdisk', '--size', '8M', '--part', '../a:4', '--part', 'b:9']
  await chunknbd(t, resize, join(directory, 'sub'))
  const client = await DiskClient.connect(server.uri)
  await client.write(0, Buffer.alloc(8 * MIB, 1))
  await client.disconnect()
  t.is(readdirSync(join(directory, 'sub/b')).length, 4)
  t.is(await server.stop(), 0)
})

test("the control socket: its owner's, gone with the server, replaced after a crash", async (t) => {
  const { directory, server } = await serveDisk(t)
  const socket = join(directory, CONTROL)
  t.true(lstatSync(socket).isSocket())
  t.is(statSync(socket).mode & 0o077, 0)
  await server.kill()
  t.true(existsSync(socket))
  // Nobody listens: the command does it itself.
  const offline = await chunknbd(t, ['resize', 'd.chunkdisk', '--size', '9M'], directory)
  t.is(offline.stdout, 'resized d.chunkdisk: 8M -> 9M\n')
  const second = await serve(t, ['d.chunkdisk'], { cwd: directory })
  const online = await chunknbd(t, ['resize', 'd.chunkdisk', '--size', '10M'], directory)
  t.regex(online.stdout, new RegExp(`9M -> 10M \\(by its server, process ${second.pid}:`))
  const idle = net.connect(socket)
  await new Promise((resolve) => idle.once('connect', resolve))
  t.is(await second.stop(), 0)
  t.false(existsSync(socket))
  idle.destroy()
})

test('what is no request is answered as such, and the server goes on', async (t) => {
  const { directory, server, resize } = await serveDisk(t)
  const socket = join(directory, CONTROL)
  const good = { command: 'resize', size: 9 * MIB, discardTail: false, parts: [] }
  const part = { directory: '/x', isRelative: false, chunksMax: null }
  for (const bad of [
    'hello',
    'null',
    '[]',
    '{"command":"destroy"}',
    JSON.stringify({ ...good, size: '9M' }),
    JSON.stringify({ ...good, size: -1 }),
    JSON.stringify({ ...good, parts: {} }),
    JSON.stringify({ ...good, parts: [{ ...part, directory: 'relative' }] }),
    JSON.stringify({ ...good, parts: [{ ...part, chunksMax: 0 }] }),
  ]) {
    t.like(JSON.parse(await control(socket, bad + '\n')), { ok: false }, bad)
  }
  t.is(await control(socket, 'x'.repeat(100_000)), '')
  t.regex(await resize('--size', '9M'), /8M -> 9M/)
  t.is(await server.stop(), 0)
})

test('a disk in a deep directory, reached by a symbolic link', async (t) => {
  const directory = tempDirectory(t)
  const deep = join(directory, 'x'.repeat(120))
  mkdirSync(deep)
  const { server } = await serveDisk(t, deep)
  t.true(existsSync(join(deep, CONTROL)))
  symlinkSync(join(deep, 'd.chunkdisk'), join(directory, 'link'))
  const { stdout } = await chunknbd(t, ['resize', 'link', '--size', '9M'], directory)
  t.regex(stdout, /8M -> 9M \(by its server/)
  t.is(await server.stop(), 0)
  t.false(existsSync(join(deep, CONTROL)))
})

test('who only reads a disk cannot resize it, and is named', async (t) => {
  const directory = tempDirectory(t)
  await makeDisk(join(directory, 'd.chunkdisk'), { size: '8M', chunkSize: '1M' })
  const server = await serve(t, ['d.chunkdisk', '--read-only'], { cwd: directory })
  t.false(existsSync(join(directory, CONTROL)))
  const result = await tryChunknbd(t, ['resize', 'd.chunkdisk', '--size', '9M'], directory)
  t.is(result.status, 1)
  const named = new RegExp(`in use by process ${server.pid} .*; end that first .it cannot resize`)
  t.regex(result.stderr, named)
  t.is(await server.stop(), 0)
})
