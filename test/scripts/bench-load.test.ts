/** The load generator against the server without storage, directly and through a liar between. */
import { spawn } from 'node:child_process'
import { once } from 'node:events'
import { existsSync, readFileSync, truncateSync, writeFileSync } from 'node:fs'
import net from 'node:net'
import { join } from 'node:path'
import { setTimeout as delay } from 'node:timers/promises'
import test, { type ExecutionContext } from 'ava'
import { tempDirectory } from '../helpers/temp.ts'
import { attempt, requireTool, run, type RunResult } from '../helpers/tools.ts'

const SOURCES = join(import.meta.dirname, '../../scripts/bench')
const DISK_BYTES = 1 << 20
const FILL = ['-r', '0', '-q', '-b', '65536', '-n', String(DISK_BYTES / 65536)]

/** Greeting, then two option replies of 20 bytes, the first one with 12 bytes of data. */
const HANDSHAKE_BYTES = 18 + 20 + 12 + 20

interface Programs {
  readonly load: string
  /** Where the floor listens. */
  readonly socket: string
}

/** @param file the disk of the floor; null: memory */
async function start(t: ExecutionContext, file: string | null = null): Promise<Programs> {
  const directory = tempDirectory(t)
  const [load, floor] = ['load', 'floor'].map((name) => join(directory, name))
  for (const program of ['load', 'floor']) {
    const flags = ['-O1', '-std=c11', '-Wall', '-Wextra', '-Werror', '-o', join(directory, program)]
    await run(t, 'cc', [...flags, join(SOURCES, `${program}.c`)])
  }
  const socket = join(directory, 'floor.sock')
  const disk = [String(DISK_BYTES), ...(file === null ? [] : [file])]
  const server = spawn(floor, [socket, ...disk], { stdio: 'ignore' })
  t.teardown(async () => {
    server.kill()
    await once(server, 'exit')
  })
  while (!existsSync(socket)) await delay(5)
  return { load, socket }
}

/** Passes everything on, but changes one bit of what the server says after the handshake. */
async function startLiar(
  t: ExecutionContext,
  socket: string,
  { byte, from = 0 }: { byte: number; from?: number },
): Promise<string> {
  const path = join(tempDirectory(t), 'liar.sock')
  const target = HANDSHAKE_BYTES + from + byte
  const liar = net.createServer((client) => {
    const server = net.connect({ path: socket })
    let seen = 0
    server.on('data', (chunk: Buffer) => {
      const index = target - seen
      if (index >= 0 && index < chunk.length) chunk[index] ^= 1
      seen += chunk.length
      client.write(chunk)
    })
    client.pipe(server)
    for (const end of [client, server]) {
      end.on('error', () => {})
      end.on('close', () => {
        client.destroy()
        server.destroy()
      })
    }
  })
  liar.listen(path)
  await once(liar, 'listening')
  t.teardown(() => liar.close())
  return path
}

interface Report {
  readonly operations: number
  readonly errors: number
  readonly seconds: number
  readonly p50: number
  readonly p99: number
  readonly p999: number
}

async function report(
  t: ExecutionContext,
  { load, socket }: Programs,
  args: readonly string[],
): Promise<Report> {
  const { stdout } = await run(t, load, ['-s', socket, ...args])
  return JSON.parse(stdout) as Report
}

const WORKLOADS = [
  ['-d', '1'],
  ['-d', '32', '-c', '4'],
  ['-d', '32', '-r', '70'],
  ['-q', '-b', '262144', '-d', '8'],
  ['-r', '0', '-q', '-b', '262144', '-d', '8', '-c', '2'],
]

test('the load generator does what it is told, and reads what was written', async (t) => {
  if (!requireTool(t, 'cc')) return
  const programs = await start(t)
  t.is((await report(t, programs, FILL)).operations, 16)
  for (const workload of WORKLOADS) {
    const got = await report(t, programs, [...workload, '-n', '500', '-v'])
    t.is(got.operations, 500, workload.join(' '))
    t.is(got.errors, 0)
    t.true(got.seconds > 0)
    t.true(got.p50 > 0 && got.p50 <= got.p99 && got.p99 <= got.p999)
  }
})

test('the load generator takes every block once, in no order', async (t) => {
  if (!requireTool(t, 'cc')) return
  const programs = await start(t)
  const all = ['-n', String(DISK_BYTES / 4096), '-d', '8']
  t.is((await report(t, programs, ['-r', '0', '-p', ...all])).errors, 0)
  t.is((await report(t, programs, ['-q', '-v', ...all])).errors, 0)
})

test('on a file the floor keeps the disk there, and tells what failed', async (t) => {
  if (!requireTool(t, 'cc')) return
  const file = join(tempDirectory(t), 'disk.img')
  writeFileSync(file, '')
  truncateSync(file, DISK_BYTES)
  const programs = await start(t, file)
  t.is((await report(t, programs, FILL)).errors, 0)
  const bytes = readFileSync(file)
  for (let page = 0; page < DISK_BYTES; page += 4096)
    t.true(bytes.subarray(page, page + 8).some((byte) => byte !== 0))
  for (const workload of WORKLOADS) {
    t.is((await report(t, programs, [...workload, '-n', '100', '-v'])).errors, 0)
  }
  truncateSync(file, 0)
  const cut = await report(t, programs, ['-n', '3'])
  t.is(cut.errors, 3)
})

test('the load generator ends after its time, and waits to be told so', async (t) => {
  if (!requireTool(t, 'cc')) return
  const { load, socket } = await start(t)
  const args = ['-s', socket, '-t', '0.05', '-d', '4', '-w']
  const { stdout } = await run(t, load, args, { input: '\n' })
  const [ready, result] = stdout.split('\n')
  t.is(ready, 'ready')
  t.true((JSON.parse(result) as Report).operations > 0)
})

async function runThroughLiar(
  t: ExecutionContext,
  place: { byte: number; from?: number },
): Promise<RunResult> {
  const programs = await start(t)
  await report(t, programs, FILL)
  const liar = await startLiar(t, programs.socket, place)
  return attempt(t, programs.load, ['-s', liar, '-n', '8', '-v'])
}

const notices = test.macro(async (t: ExecutionContext, byte: number, message: RegExp) => {
  if (!requireTool(t, 'cc')) return
  // The third reply: each is a header of 16 bytes and a page.
  const { status, stderr } = await runThroughLiar(t, { byte, from: 2 * (16 + 4096) })
  t.is(status, 1)
  t.regex(stderr, message)
})
test('a reply with a wrong magic is noticed', notices, 0, /magic/)
test('a reply with a wrong cookie is noticed', notices, 8, /cookie/)
test('a reply with the cookie of an earlier request is noticed', notices, 13, /cookie/)
test('a page with wrong data is noticed', notices, 16, /wrong data at offset/)

test('pages that were never written are noticed', async (t) => {
  if (!requireTool(t, 'cc')) return
  const { load, socket } = await start(t)
  const { status, stderr } = await attempt(t, load, ['-s', socket, '-n', '1', '-v'])
  t.is(status, 1)
  t.regex(stderr, /wrong data/)
})

test('failed requests are counted', async (t) => {
  if (!requireTool(t, 'cc')) return
  const programs = await start(t)
  // The lowest bit of the first reply's error; a reply that fails carries no data, so the run is
  // one of writes.
  const liar = await startLiar(t, programs.socket, { byte: 7 })
  const got = await report(t, { ...programs, socket: liar }, ['-r', '0', '-n', '8'])
  t.is(got.operations, 8)
  t.is(got.errors, 1)
})

test('a server that is not there is named', async (t) => {
  if (!requireTool(t, 'cc')) return
  const { load, socket } = await start(t)
  const { status, stderr } = await attempt(t, load, ['-s', `${socket}.not`])
  t.is(status, 1)
  t.regex(stderr, /floor\.sock\.not: No such file/)
})
