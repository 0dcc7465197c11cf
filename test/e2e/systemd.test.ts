/** Listening sockets handed over as systemd does it: LISTEN_FDS, LISTEN_PID, descriptors from 3. */
import { existsSync } from 'node:fs'
import { join } from 'node:path'
import test, { type ExecutionContext } from 'ava'
import { DiskClient } from '../helpers/disk-client.ts'
import { serve } from '../helpers/serve.ts'
import { tempDirectory } from '../helpers/temp.ts'
import { requireTool } from '../helpers/tools.ts'

/** Binds each KIND=ADDRESS before `--`, then becomes the program after it. */
const HAND_OVER = `
import os, socket, sys
FAMILIES = {'tcp': socket.AF_INET, 'tcp6': socket.AF_INET6}
split = sys.argv.index('--')
for number, word in enumerate(sys.argv[1:split]):
    kind, address = word.split('=')
    each = socket.socket(FAMILIES.get(kind, socket.AF_UNIX), socket.SOCK_STREAM)
    if kind in FAMILIES: address = (address, 0)
    if kind == 'abstract': address = chr(0) + address
    each.bind(address)
    each.listen()
    if each.fileno() == 3 + number: each.set_inheritable(True)
    else: os.dup2(each.fileno(), 3 + number)
    each.detach()
os.environ['LISTEN_FDS'] = str(split - 1)
os.environ['LISTEN_PID'] = os.environ.get('FAKE_PID', str(os.getpid()))
os.execv(sys.argv[split + 1], sys.argv[split + 1:])
`

function handOver(...sockets: readonly string[]): string[] {
  return ['python3', '-c', HAND_OVER, ...sockets, '--']
}

async function canWriteAndRead(t: ExecutionContext, uri: string): Promise<void> {
  const client = await DiskClient.connect(uri)
  await client.write(1000, Buffer.from(uri))
  t.is(Buffer.from(await client.read(1000, uri.length)).toString(), uri)
  await client.disconnect()
}

test('sockets of systemd, TCP and unix, are served in place of the default address', async (t) => {
  if (!requireTool(t, 'python3')) return
  const path = join(tempDirectory(t), 'a b%c.sock')
  const launcher = handOver('tcp=127.0.0.1', `unix=${path}`, 'tcp6=::1')
  const server = await serve(t, ['--memory', '1M'], { launcher, uriCount: 3 })
  const [tcp, unix, tcp6] = server.uris
  t.regex(tcp, /^nbd:\/\/127\.0\.0\.1:[1-9]\d*\/memory$/)
  t.is(unix, `nbd+unix:///memory?socket=${path.replace('%', '%25').replace(' ', '%20')}`)
  t.regex(tcp6, /^nbd:\/\/\[::1\]:[1-9]\d*\/memory$/)
  for (const uri of server.uris) await canWriteAndRead(t, uri)
  t.is(await server.stop(), 0)
  t.true(existsSync(path), 'the socket file belongs to systemd')
})

test('--listen adds to the sockets of systemd; each disk has a URI on each', async (t) => {
  if (!requireTool(t, 'python3')) return
  const directory = tempDirectory(t)
  const listen = ['--listen', `nbd+unix:///?socket=${join(directory, 'own.sock')}`]
  const launcher = handOver(`unix=${directory}/given.sock`)
  const server = await serve(t, ['--memory', '1M', ...listen], { launcher, uriCount: 2 })
  t.deepEqual(
    server.uris,
    ['given', 'own'].map((name) => `nbd+unix:///memory?socket=${directory}/${name}.sock`),
  )
  for (const uri of server.uris) await canWriteAndRead(t, uri)
})

test('a socket that no URI can name is served and the log says so', async (t) => {
  if (!requireTool(t, 'python3')) return
  const launcher = handOver(`abstract=chunknbd-test-${process.pid}`, 'tcp=127.0.0.1')
  const server = await serve(t, ['--memory', '1M'], { launcher })
  t.regex(server.uri, /^nbd:\/\/127\.0\.0\.1:/)
  t.regex(server.log(), /"fd":3,.*no URI/)
  t.is(await server.stop(), 0)
})

test('sockets meant for another process are left alone', async (t) => {
  if (!requireTool(t, 'python3')) return
  const directory = tempDirectory(t)
  const listen = ['--listen', `nbd+unix:///?socket=${join(directory, 'own.sock')}`]
  const options = { launcher: handOver(`unix=${directory}/given.sock`), env: { FAKE_PID: '1' } }
  const server = await serve(t, ['--memory', '1M', ...listen], options)
  t.is(await server.stop(), 0)
  t.is(server.uris.length, 1)
})
