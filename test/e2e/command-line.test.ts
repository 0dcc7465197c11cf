/** The program as a user meets it: exit status, what goes to which stream, options of `serve`. */
import { spawn } from 'node:child_process'
import { once } from 'node:events'
import { existsSync, mkdirSync } from 'node:fs'
import { join } from 'node:path'
import test from 'ava'
import { chunknbd, makeDisk, tryChunknbd } from '../helpers/chunks.ts'
import { DiskClient } from '../helpers/disk-client.ts'
import { RawClient } from '../helpers/raw-client.ts'
import { COMMAND_LINE, serve } from '../helpers/serve.ts'
import { tempDirectory } from '../helpers/temp.ts'
import { attempt } from '../helpers/tools.ts'

const SMALL = { size: '1M', chunkSize: '64K' }
const [READ_ONLY, EPERM] = [2, 1]
const Command = { WRITE: 1, TRIM: 4, WRITE_ZEROES: 6 } as const

test('0, 1 and 2 are the exit statuses; data goes to stdout, the rest to stderr', async (t) => {
  const directory = tempDirectory(t)
  await makeDisk(join(directory, 'd.chunkdisk'), SMALL)
  const good = await tryChunknbd(t, ['info', '--json', 'd.chunkdisk'], directory)
  t.deepEqual([good.status, good.stderr], [0, ''])
  t.like(JSON.parse(good.stdout), { diskSize: 1 << 20, chunkSize: 65536, chunkCount: 16 })
  const failed = await tryChunknbd(t, ['info', '--json', 'other.chunkdisk'], directory)
  t.deepEqual([failed.status, failed.stdout], [1, ''])
  t.regex(failed.stderr, /^chunknbd: .*other\.chunkdisk: cannot be read: there is no such file\n$/)
  const misused = await tryChunknbd(t, ['info', '--json'], directory)
  t.deepEqual([misused.status, misused.stdout], [2, ''])
  t.regex(misused.stderr, /missing required argument.*\n.*chunknbd info --help/)
})

test('serve: URIs on stdout, JSON lines on stderr, both complete', async (t) => {
  const server = await serve(t, ['--memory', '1M', '--log-level', 'debug'])
  const client = await DiskClient.connect(server.uri)
  await client.disconnect()
  t.is(await server.stop(), 0)
  t.deepEqual(server.uris.length, 1)
  const lines = server.log().trimEnd().split('\n')
  const messages = lines.map((line) => (JSON.parse(line) as { msg: string }).msg)
  for (const each of ['serving', 'listening', 'client attached', 'client left', 'stopping'])
    t.true(messages.includes(each), each)
  t.is(messages.at(-1), 'stopped: everything is flushed')
  const serving = JSON.parse(lines[messages.indexOf('serving')]) as { engine: string }
  const settings = { cache: 'writeback', trim: 'free', readOnly: false, movable: false }
  t.like(serving, { exports: ['memory'], pageCache: 64 << 20, lockFiles: false, ...settings })
  t.true(['uring', 'node'].includes(serving.engine))
})

test('serve --log-level silent says nothing', async (t) => {
  const server = await serve(t, ['--memory', '1M', '--log-level', 'silent'])
  t.is(await server.stop(), 0)
  t.is(server.log(), '')
})

test('several addresses: IPv4, IPv6, unix, each with a URI for each disk', async (t) => {
  const directory = tempDirectory(t)
  const addresses = [
    'nbd://127.0.0.1:0',
    'nbd://[::1]:0',
    'nbd+unix:///?socket=s',
    'nbd://localhost:0',
  ]
  const listen = addresses.flatMap((uri) => ['--listen', uri])
  await makeDisk(join(directory, 'a b.chunkdisk'), SMALL)
  await makeDisk(join(directory, 'c.img'), { ...SMALL, size: '2M' })
  const disks = ['a b.chunkdisk', 'c.img', '--memory', '3M']
  const server = await serve(t, [...disks, ...listen], { cwd: directory, uriCount: 12 })
  const names = ['a%20b', 'c', 'memory']
  const patterns = ['nbd://127\\.0\\.0\\.1:[1-9]\\d*/@', 'nbd://\\[::1\\]:[1-9]\\d*/@']
  patterns.push('nbd\\+unix:///@\\?socket=s', 'nbd://(127\\.0\\.0\\.1|\\[::1\\]):[1-9]\\d*/@')
  for (const [index, uri] of server.uris.entries()) {
    const pattern = patterns[Math.floor(index / 3)].replace('@', names[index % 3])
    t.regex(uri, new RegExp(`^${pattern}$`))
  }
  // The first is the default export.
  const address = server.uris[0].replace(/\/[^/]*$/, '')
  const first = await chunknbd(t, ['info', address, '--json'], directory)
  t.like(JSON.parse(first.stdout), { size: 1 << 20, canonicalName: 'a b' })
  const second = await chunknbd(t, ['info', server.uris[7]], directory)
  t.regex(
    second.stdout,
    /^uri +nbd\+unix:\/\/\/c\?socket=s\nname +c\ndescription +chunk disk of 2M/,
  )
  t.regex(second.stdout, /\nblock size +1 \/ 4096 \/ 33554432\n/)
  t.regex(second.stdout, /\ncontexts +base:allocation qemu:\S+ x-chunknbd:part x-chunknbd:chunk\n$/)
  const third = await DiskClient.connect(server.uris[5])
  t.is((await third.read((3 << 20) - 1, 1)).length, 1)
  await third.disconnect()
  const unknown = await tryChunknbd(t, ['info', `${address}/nothere`], directory)
  t.is(unknown.status, 1)
  t.regex(unknown.stderr, /nothere: the server refuses INFO with ERR_UNKNOWN/)
  t.is(await server.stop(), 0)
})

test('two disks of one name, or the same disk twice, are refused by name', async (t) => {
  const directory = tempDirectory(t)
  for (const folder of ['a', 'b']) mkdirSync(join(directory, folder))
  await makeDisk(join(directory, 'a/d.chunkdisk'), SMALL)
  await makeDisk(join(directory, 'b/d.chunkdisk'), SMALL)
  await makeDisk(join(directory, 'memory.chunkdisk'), SMALL)
  const listen = ['--listen', 'nbd://127.0.0.1:0']
  for (const [args, problem] of [
    [['a/d.chunkdisk', 'b/d.chunkdisk'], /b\/d\.chunkdisk: .* already named "d"; rename one/],
    [['memory.chunkdisk', '--memory', '1M'], /--memory: .* already named "memory"/],
  ] as const) {
    const { status, stdout, stderr } = await tryChunknbd(
      t,
      ['serve', ...args, ...listen],
      directory,
    )
    t.deepEqual([status, stdout], [1, ''])
    t.regex(stderr, problem)
  }
})

test('serve --read-only: told, changes are refused, readers share the disk', async (t) => {
  const directory = tempDirectory(t)
  await makeDisk(join(directory, 'd.chunkdisk'), SMALL)
  const args = ['d.chunkdisk', '--memory', '1M', '--read-only']
  const server = await serve(t, args, { cwd: directory, uriCount: 2 })
  const other = await serve(t, args, { cwd: directory, uriCount: 2 })
  const path = new URL(server.uri).searchParams.get('socket') ?? ''
  for (const exportName of ['d', 'memory']) {
    const client = await RawClient.connect({ path })
    const { flags } = await client.handshake({ exportName })
    t.is(flags & READ_ONLY, READ_ONLY, exportName)
    const change = { offset: 0, length: 4096 }
    const payload = new Uint8Array(4096)
    const answers = [
      await client.request({ command: Command.WRITE, ...change }, payload),
      await client.request({ command: Command.TRIM, ...change }),
      await client.request({ command: Command.WRITE_ZEROES, ...change }),
    ]
    t.deepEqual(
      answers.map(({ error }) => error),
      [EPERM, EPERM, EPERM],
    )
    await client.disconnect()
  }
  t.is(await other.stop(), 0)
  t.is(await server.stop(), 0)
})

test('serve --uuid: told in the description of the export, by LIST and by info', async (t) => {
  const directory = tempDirectory(t)
  await makeDisk(join(directory, 'd.chunkdisk'), SMALL)
  const uuid = '{8B2E4C11-52A5-4A0C-9D0F-0123456789AB}'
  const args = ['d.chunkdisk', '--memory', '1M', '--uuid', uuid]
  const server = await serve(t, args, { cwd: directory, uriCount: 2 })
  const { stdout } = await chunknbd(t, ['info', server.uri], directory)
  t.regex(stdout, /\ndescription +chunk disk of \w+, UUID 8b2e4c11-52a5-4a0c-9d0f-0123456789ab\n/)
  const memory = await chunknbd(t, ['info', server.uris[1]], directory)
  t.notRegex(memory.stdout, /UUID/)
  t.is(await server.stop(), 0)
})

test('every cache mode and no page cache: written, served again, read', async (t) => {
  const directory = tempDirectory(t)
  await makeDisk(join(directory, 'd.chunkdisk'), SMALL)
  const modes = [
    ['--cache', 'writethrough', '--page-cache', '0'],
    ['--cache', 'unsafe', '--page-cache', '5000'],
    ['--cache', 'writeback', '--page-cache', '1M'],
  ]
  const expected = Buffer.alloc(1 << 20)
  for (const [index, mode] of modes.entries()) {
    const server = await serve(t, ['d.chunkdisk', ...mode], { cwd: directory })
    const client = await DiskClient.connect(server.uri)
    t.true(expected.equals(await client.read(0, 1 << 20)))
    const data = Buffer.alloc(100_000, index + 1)
    await client.write(index * 60_001, data)
    data.copy(expected, index * 60_001)
    await client.flush()
    t.true(expected.equals(await client.read(0, 1 << 20)))
    await client.disconnect()
    t.is(await server.stop(), 0)
  }
})

test('a reader of the output that goes away is no failure, and a server goes on', async (t) => {
  const directory = tempDirectory(t)
  await makeDisk(join(directory, 'd.chunkdisk'), SMALL)
  const command = [process.execPath, ...COMMAND_LINE]
  const script = '{ "$@" map d.chunkdisk; echo "status $?" >&2; } | true'
  const { stderr } = await attempt(t, 'sh', ['-c', script, 'sh', ...command], { cwd: directory })
  t.is(stderr, 'status 0\n')

  const listen = ['--listen', `nbd+unix:///?socket=${directory}/s`]
  const words = [...COMMAND_LINE, 'serve', 'd.chunkdisk', ...listen]
  const server = spawn(process.execPath, words, {
    cwd: directory,
    stdio: ['ignore', 'pipe', 'pipe'],
  })
  t.teardown(() => server.kill('SIGKILL'))
  server.stdout.destroy()
  while (!existsSync(join(directory, 's'))) await once(server.stderr, 'data')
  const client = await DiskClient.connect(`nbd+unix:///d?socket=${directory}/s`)
  await client.write(0, Buffer.from('x'))
  await client.disconnect()
  server.kill('SIGTERM')
  t.deepEqual(await once(server, 'exit'), [0, null])
})

test('output that cannot be written is a failure', async (t) => {
  const directory = tempDirectory(t)
  await makeDisk(join(directory, 'd.chunkdisk'), SMALL)
  const script = '"$@" map d.chunkdisk > /dev/full'
  const command = [process.execPath, ...COMMAND_LINE]
  const { status, stderr } = await attempt(t, 'sh', ['-c', script, 'sh', ...command], {
    cwd: directory,
  })
  t.is(status, 1)
  t.regex(stderr, /^chunknbd: the output cannot be written: ENOSPC[^\n]*\n$/)
})

test('the default address is port 10809 of this machine alone', async (t) => {
  // A launcher keeps the helper from adding an address. The port may be taken by someone else.
  const started = serve(t, ['--memory', '1M'], { launcher: ['env'] })
  const outcome = await started.then(
    (server) => server.uri,
    (error: Error) => error.message,
  )
  t.regex(outcome, /^nbd:\/\/127\.0\.0\.1:10809\/memory$|127\.0\.0\.1 port 10809: another program/)
})
