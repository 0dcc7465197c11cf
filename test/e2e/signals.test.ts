/** How the server ends: told to, twice, killed; and what is there when it starts again. */
import { execFileSync } from 'node:child_process'
import { existsSync, readFileSync, writeFileSync } from 'node:fs'
import { open, writeFile } from 'node:fs/promises'
import net from 'node:net'
import { join } from 'node:path'
import test, { type ExecutionContext } from 'ava'
import { sameBytes } from '../helpers/bytes.ts'
import { chunknbd, makeDisk, tryChunknbd } from '../helpers/chunks.ts'
import { DiskClient } from '../helpers/disk-client.ts'
import { Random, seedFor } from '../helpers/random.ts'
import { type Served, serve } from '../helpers/serve.ts'
import { tempDirectory } from '../helpers/temp.ts'

const SIZE = 8 << 20
const BLOCK = 4096
const CONNECTIONS = 3
const READ = 0

async function newDisk(t: ExecutionContext): Promise<string> {
  const directory = tempDirectory(t)
  await makeDisk(join(directory, 'd.chunkdisk'), { size: '8M', chunkSize: '64K' })
  return directory
}

/** Writes blocks of its own, several at a time, until the connection is gone. */
async function load(client: DiskClient, random: Random, mine: readonly number[], answered: Disk) {
  const free = [...mine]
  const one = async (): Promise<void> => {
    for (;;) {
      const block = free.splice(random.between(0, free.length - 1), 1)[0]
      const data = random.bytes(BLOCK)
      answered.uncertain.set(block, data)
      await client.write(block * BLOCK, data)
      answered.bytes.set(data, block * BLOCK)
      answered.uncertain.delete(block)
      answered.count++
      free.push(block)
    }
  }
  await Promise.allSettled(Array.from({ length: 16 }, one))
}

interface Disk {
  /** What must be there. */
  readonly bytes: Uint8Array
  /** What was not answered may be there instead, block by block. */
  readonly uncertain: Map<number, Uint8Array>
  count: number
}

/** Loads the server, lets `end` end it, serves again. All that was answered must be there. */
async function survives(
  t: ExecutionContext,
  end: (server: Served) => Promise<unknown>,
): Promise<void> {
  const directory = await newDisk(t)
  const random = new Random(seedFor(t))
  const disk: Disk = { bytes: new Uint8Array(SIZE), uncertain: new Map(), count: 0 }
  const first = await serve(t, ['d.chunkdisk'], { cwd: directory })
  const loads: Promise<void>[] = []
  for (let number = 0; number < CONNECTIONS; number++) {
    const client = await DiskClient.connect(first.uri)
    const blocks = Array.from({ length: SIZE / BLOCK }, (_, block) => block)
    const mine = blocks.filter((block) => block % CONNECTIONS === number)
    loads.push(load(client, random, mine, disk))
  }
  while (disk.count < 300) await new Promise((resolve) => setImmediate(resolve))
  await end(first)
  await Promise.all(loads)
  t.true(disk.count >= 300)

  const second = await serve(t, ['d.chunkdisk'], { cwd: directory })
  const client = await DiskClient.connect(second.uri)
  const seen = Buffer.from(await client.read(0, SIZE))
  for (const [block, data] of disk.uncertain) {
    const here = seen.subarray(block * BLOCK, (block + 1) * BLOCK)
    if (here.equals(data)) disk.bytes.set(data, block * BLOCK)
  }
  sameBytes(t, seen, disk.bytes)
  await client.disconnect()
  t.is(await second.stop(), 0)
  t.regex((await chunknbd(t, ['check', 'd.chunkdisk'], directory)).stdout, /: ok\n$/)
}

for (const signal of ['SIGTERM', 'SIGINT'] as const) {
  test(`${signal} under load: all that was answered is there after a restart`, async (t) => {
    await survives(t, async (server) => {
      process.kill(server.pid, signal)
      t.is(await server.ended, 0)
      t.regex(server.log(), /everything is flushed/)
    })
  })
}

test('kill -9 under load: all that was answered is there after a restart', async (t) => {
  await survives(t, (server) => server.kill())
})

test('neither idle clients nor unfinished handshakes keep the server from ending', async (t) => {
  const socket = join(tempDirectory(t), 's')
  const listen = ['--listen', `nbd+unix:///?socket=${socket}`]
  const server = await serve(t, ['--memory', '1M', ...listen])
  const idle = await DiskClient.connect(server.uri)
  await idle.write(0, Buffer.from('x'))
  const silent = await connect(t, socket)
  const halfway = await connect(t, socket)
  // The client's flags and the first half of an option.
  halfway.write(Buffer.from('0000000349484156454f5054', 'hex'))
  t.is(await server.stop(), 0)
  t.notRegex(server.log(), /slow clients/)
  await idle.raw.closed
  t.true(silent.destroyed && halfway.destroyed)
  t.false(existsSync(socket), 'the socket file is removed')
})

test('a second signal ends a server at once that waits for a slow client', async (t) => {
  const server = await serve(t, ['--memory', '64M'])
  await takeNoReplies(server)
  process.kill(server.pid, 'SIGTERM')
  await server.logged(/"stopping"/)
  process.kill(server.pid, 'SIGINT')
  t.is(await server.ended, 128 + 2)
  t.notRegex(server.log(), /slow clients|everything is flushed/)
})

test('a client that takes no replies is cut off, and the server ends in peace', async (t) => {
  const server = await serve(t, ['--memory', '64M'])
  await takeNoReplies(server)
  t.is(await server.stop(), 0)
  t.regex(server.log(), /slow clients[^]*everything is flushed/)
})

/** A client that asks for 64 MiB and reads nothing. The server has its requests then. */
async function takeNoReplies(server: Served): Promise<void> {
  const client = await DiskClient.connect(server.uri)
  await client.write(0, new Uint8Array(1 << 20).fill(1))
  client.raw.socket.pause()
  for (let count = 0; count < 64; count++) {
    client.raw.request({ command: READ, offset: 0, length: 1 << 20 }).catch(() => {})
  }
  const other = await DiskClient.connect(server.uri)
  await other.read(0, 1)
  await other.disconnect()
}

test('a socket file: of a dead server replaced, of a living one or another file not', async (t) => {
  const directory = tempDirectory(t)
  const socket = join(directory, 's')
  const args = ['--memory', '1M', '--listen', `nbd+unix:///?socket=${socket}`]
  const first = await serve(t, args)
  await first.kill()
  t.true(existsSync(socket))
  const second = await serve(t, args)

  const refused = await tryChunknbd(t, ['serve', ...args], directory)
  t.is(refused.status, 1)
  t.is(refused.stdout, '')
  t.regex(refused.stderr, new RegExp(`${socket}.*in use.*stop it or choose another`))
  await (await DiskClient.connect(second.uri)).disconnect()
  t.is(await second.stop(), 0)
  t.false(existsSync(socket))

  writeFileSync(socket, 'precious')
  const file = await tryChunknbd(t, ['serve', ...args], directory)
  t.is(file.status, 1)
  t.regex(file.stderr, /not a socket; remove it or choose another/)
})

test('a port in use is named with status 1, and the disk is free for the next', async (t) => {
  const directory = await newDisk(t)
  const other = net.createServer().listen(0, '127.0.0.1')
  t.teardown(() => other.close())
  await new Promise((resolve) => other.once('listening', resolve))
  const { port } = other.address() as net.AddressInfo
  const args = ['serve', 'd.chunkdisk', '--listen', `nbd://127.0.0.1:${port}`]
  const { status, stdout, stderr } = await tryChunknbd(t, args, directory)
  t.is(status, 1)
  t.is(stdout, '')
  t.regex(stderr, new RegExp(`127\\.0\\.0\\.1 port ${port}: another program uses it`))
  const server = await serve(t, ['d.chunkdisk'], { cwd: directory })
  t.is(await server.stop(), 0)
})

async function connect(t: ExecutionContext, socket: string): Promise<net.Socket> {
  const client = net.connect(socket).on('error', () => {})
  t.teardown(() => client.destroy())
  // The greeting: the server has accepted.
  await new Promise((resolve) => client.once('data', resolve))
  client.resume()
  return client
}

test('SIGHUP while it starts does not end it: it reads its files again', async (t) => {
  const directory = tempDirectory(t)
  const [tokens, pid] = [join(directory, 'tokens'), join(directory, 'pid')]
  execFileSync('mkfifo', ['-m', '600', tokens])
  const listen = ['--listen', 'ws://127.0.0.1:0/', '--ws-token-file', tokens]
  const launcher = ['sh', '-c', 'echo $$ > "$0"; exec "$@"', pid]
  const started = serve(t, ['--memory', '1M', ...listen], { launcher })
  started.catch(() => {})
  const reader = await open(tokens, 'w')
  process.kill(Number(readFileSync(pid, 'utf8')), 'SIGHUP')
  await reader.writeFile('*:0123456789abcdef\n')
  await reader.close()
  const server = await started
  // Whoever reads it again is the reload.
  await writeFile(tokens, '*:fedcba9876543210\n')
  await server.logged(/"what":"tokens from [^"]*tokens","msg":"reloaded"/)
  t.is(await server.stop(), 0)
})
