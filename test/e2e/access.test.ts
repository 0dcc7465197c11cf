/** Who may have which export, with real clients. */
import { chmodSync, readFileSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import test, { type ExecutionContext } from 'ava'
import { createUringIo } from '../../io/uring.ts'
import { type Served, serve } from '../helpers/serve.ts'
import { tempDirectory } from '../helpers/temp.ts'
import { attempt, requireTool, run, type RunResult } from '../helpers/tools.ts'
import { authority, KEYS, SECRET, SERVER } from './tls-kinds.ts'

const ENGINES = typeof createUringIo() === 'string' ? ['node'] : ['node', 'uring']

interface Listed {
  readonly exports: readonly Readonly<Record<string, unknown>>[]
}

async function names(
  t: ExecutionContext,
  uri: string,
  launcher: string[] = [],
): Promise<unknown[]> {
  const [program, ...args] = [...launcher, 'nbdinfo', '--list', '--json', uri]
  const { stdout } = await run(t, program, args)
  return (JSON.parse(stdout) as Listed).exports.map((each) => each['export-name'])
}

/** What a client says when it asks for an export. @param words its command line in front of that */
function ask(t: ExecutionContext, uri: string, words: string[] = []): Promise<RunResult> {
  const [program, ...args] = [...words, 'nbdinfo', '--size', uri]
  return attempt(t, program, args)
}

async function started(t: ExecutionContext, text: string, engine = 'auto'): Promise<Served> {
  const file = join(tempDirectory(t), 'c.toml')
  writeFileSync(file, text)
  return serve(t, ['--config', file, '--engine', engine], { launcher: ['env', '--'] })
}

/** By its URI with another name in it; what it says of both is the same but for the name. */
async function isMissing(t: ExecutionContext, uri: string, name: string, words: string[] = []) {
  const missing = 'x'.repeat(name.length)
  const asked = await ask(t, uri.replace('NAME', name), words)
  const other = await ask(t, uri.replace('NAME', missing), words)
  t.is(asked.status, 1, asked.stdout)
  t.is(asked.stderr.replace(`'${name}'`, `'${missing}'`), other.stderr)
  t.is(asked.stdout, other.stdout)
}

for (const engine of ENGINES) {
  test(`${engine}: networks, users of a unix socket, hidden exports`, async (t) => {
    if (!requireTool(t, 'nbdinfo', 'nbdcopy', 'setpriv')) return
    if (process.getuid?.() !== 0) {
      t.log('SKIPPED: only root can be somebody else')
      t.pass()
      return
    }
    const folder = tempDirectory(t)
    chmodSync(folder, 0o755)
    const socket = join(folder, 's')
    const server = await started(
      t,
      `
      server.listen = ["nbd://127.0.0.1:0", "nbd+unix:///?socket=${socket}"]
      server.default-export = "far"
      exports.all.memory = "1M"
      exports.far = { memory = "1M", networks = ["203.0.113.0/24"] }
      exports.near = { memory = "1M", networks = ["127.0.0.0/8"] }
      exports.local = { memory = "1M", networks = ["unix"], read-only = true }
      exports.root = { memory = "1M", clients = ["uid:0"] }
      exports.other = { memory = "1M", clients = ["uid:12345", "gid:777"] }
      exports.quiet = { memory = "1M", hidden = true }`,
      engine,
    )
    const tcp = server.uri.replace('/all', '/NAME')
    const unix = `nbd+unix:///NAME?socket=${socket}`
    t.deepEqual(await names(t, tcp.replace('NAME', '')), ['all', 'near'])
    t.deepEqual(await names(t, unix.replace('NAME', '')), ['all', 'local', 'root'])
    for (const name of ['far', 'local', 'root', 'other']) await isMissing(t, tcp, name)
    for (const name of ['far', 'near', 'other']) await isMissing(t, unix, name)
    // Its default export is one it may not have.
    const none = await ask(t, tcp.replace('NAME', ''))
    t.regex(none.stderr, /server has no export named ''/)
    for (const name of ['all', 'near', 'quiet']) {
      t.is((await ask(t, tcp.replace('NAME', name))).stdout, '1048576\n')
    }
    const image = join(folder, 'image')
    writeFileSync(image, Buffer.alloc(1 << 20, 7))
    await run(t, 'nbdcopy', [image, tcp.replace('NAME', 'near')])
    const back = join(folder, 'back')
    await run(t, 'nbdcopy', [tcp.replace('NAME', 'near'), back])
    t.deepEqual(readFileSync(back), readFileSync(image))
    t.not((await attempt(t, 'nbdcopy', [image, unix.replace('NAME', 'local')])).status, 0)
    t.not((await attempt(t, 'qemu-img', ['info', tcp.replace('NAME', 'root')])).status, 0)
    t.is((await attempt(t, 'qemu-img', ['info', unix.replace('NAME', 'root')])).status, 0)

    // The socket is for its owner; somebody else needs a way to it.
    chmodSync(socket, 0o777)
    const user = ['setpriv', '--reuid=12345', '--regid=1', '--clear-groups']
    const group = ['setpriv', '--reuid=54321', '--regid=777', '--clear-groups']
    for (const words of [user, group]) {
      t.deepEqual(await names(t, unix.replace('NAME', ''), words), ['all', 'local', 'other'])
      t.is((await ask(t, unix.replace('NAME', 'other'), words)).stdout, '1048576\n')
      await isMissing(t, unix, 'root', words)
    }
    const second = ['setpriv', '--reuid=54321', '--regid=1', '--groups=777']
    await isMissing(t, unix, 'other', second)
    t.is(await server.stop(), 0)
    const refusal = /"export":"root","reason":"it is not for this client \(uid:12345 gid:1\)"/
    t.regex(server.log(), refusal)
  })
}

test('names of certificates, and TLS for one export only', async (t) => {
  if (!requireTool(t, 'nbdinfo')) return
  const alice = authority.folder('client', { name: 'alice' })
  const mallory = authority.folder('client', { name: 'mallory', names: 'DNS:m.example' })
  const server = await started(
    t,
    `
    server.listen = ["nbd://127.0.0.1:0"]
    tls = { mode = "on", certificates = "${SERVER}", verify-peer = true }
    exports.all.memory = "1M"
    exports.tls = { memory = "1M", require-tls = true }
    exports.alice = { memory = "1M", clients = ["x509:CN=alice,O=Test"] }
    exports.m = { memory = "1M", clients = ["x509:DNS:m.example", "x509:CN=nobody"] }`,
  )
  const port = new URL(server.uri).port
  const plain = `nbd://localhost:${port}/NAME`
  const secure = (who: string): string => `nbds://localhost:${port}/NAME?tls-certificates=${who}`
  const listed = (uri: string): Promise<unknown[]> => names(t, uri.replace('NAME', ''))
  t.deepEqual(await listed(plain), ['all'])
  t.deepEqual(await listed(secure(alice)), ['all', 'tls', 'alice'])
  t.deepEqual(await listed(secure(mallory)), ['all', 'tls', 'm'])
  for (const name of ['tls', 'alice', 'm']) await isMissing(t, plain, name)
  await isMissing(t, secure(alice), 'm')
  await isMissing(t, secure(mallory), 'alice')
  for (const [who, name] of [
    [alice, 'alice'],
    [mallory, 'm'],
    [mallory, 'tls'],
  ]) {
    t.is((await ask(t, secure(who).replace('NAME', name))).stdout, '1048576\n')
  }
  t.is(await server.stop(), 0)
})

test('names of keys; the keys themselves are nowhere to be seen', async (t) => {
  if (!requireTool(t, 'nbdinfo')) return
  const server = await started(
    t,
    `
    server.log-level = "trace"
    server.listen = ["nbd://127.0.0.1:0"]
    tls.psk = "${KEYS}"
    exports.alice = { memory = "1M", clients = ["psk:alice"] }
    exports.bob = { memory = "1M", clients = ["psk:bob", "uid:0"] }`,
  )
  const port = new URL(server.uri).port
  const uri = (who: string): string => `nbds://${who}@localhost:${port}/NAME?tls-psk-file=${KEYS}`
  t.deepEqual(await names(t, uri('alice').replace('NAME', '')), ['alice'])
  t.deepEqual(await names(t, uri('bob').replace('NAME', '')), ['bob'])
  await isMissing(t, uri('alice'), 'bob')
  await isMissing(t, uri('bob'), 'alice')
  const seen = ['cmdline', 'environ'].map((each) =>
    readFileSync(`/proc/${server.pid}/${each}`, 'latin1'),
  )
  t.is(await server.stop(), 0)
  for (const text of [...seen, server.log()]) t.false(text.includes(SECRET))
})
