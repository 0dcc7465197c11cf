/** The server as somebody who may do little: users, modes of files and sockets, allowed roots. */
import fs from 'node:fs'
import { join } from 'node:path'
import test, { type ExecutionContext } from 'ava'
import { ChunkDisk } from '../../chunkstore/disk.ts'
import { confined } from '../../io/confined-files.ts'
import { createNodeIo } from '../../io/node.ts'
import { createUringIo } from '../../io/uring.ts'
import { chunknbd, makeDisk } from '../helpers/chunks.ts'
import { DiskClient } from '../helpers/disk-client.ts'
import { serve } from '../helpers/serve.ts'
import { tempDirectory } from '../helpers/temp.ts'
import { attempt, requireTool, run } from '../helpers/tools.ts'

const ENGINES = typeof createUringIo() === 'string' ? ['node'] : ['node', 'uring']
const MIB = 1 << 20
const NOBODY = 65534
const DISK = { size: '16M', chunkSize: '1M' }

function isRoot(t: ExecutionContext): boolean {
  if (process.getuid?.() === 0) return true
  t.log('SKIPPED: only root can become somebody else')
  t.pass()
  return false
}

/** A disk that belongs to nobody, in a directory that all may enter. */
async function nobodysDisk(t: ExecutionContext): Promise<string> {
  const directory = tempDirectory(t)
  fs.chmodSync(directory, 0o755)
  const own = join(directory, 'own')
  fs.mkdirSync(own)
  await makeDisk(join(own, 'd.chunkdisk'), DISK)
  // To be synced when the disk is opened.
  fs.writeFileSync(join(own, 'd.chunks/chunk3'), Buffer.alloc(MIB, 3), { mode: 0o600 })
  for (const name of ['', 'd.chunkdisk', 'd.chunks', 'd.chunks/chunk3']) {
    fs.chownSync(join(own, name), NOBODY, NOBODY)
  }
  return directory
}

for (const engine of ENGINES) {
  test.serial(`${engine}: --user nobody: nothing of root is left, the disk works`, async (t) => {
    if (!requireTool(t, 'nbdcopy', 'nbdinfo') || !isRoot(t)) return
    const directory = await nobodysDisk(t)
    const socket = join(directory, 's')
    const args = ['own/d.chunkdisk', '--user', 'nobody', '--group', 'nogroup', '--engine', engine]
    const listen = ['--listen', `nbd+unix:///?socket=${socket}`, '--listen', 'nbd://127.0.0.1:0']
    const server = await serve(t, [...args, ...listen, '--socket-mode', '0660'], {
      cwd: directory,
      uriCount: 2,
    })
    // Of every thread.
    for (const task of fs.readdirSync(`/proc/${server.pid}/task`)) {
      const status = fs.readFileSync(`/proc/${server.pid}/task/${task}/status`, 'utf8')
      t.regex(status, /\nUid:\t65534\t65534\t65534\t65534\n/)
      t.regex(status, /\nGid:\t65534\t65534\t65534\t65534\n/)
      t.regex(status, /\nGroups:\t65534 \n/)
      t.regex(status, /\nCapEff:\t0+\n/)
      t.regex(status, /\nCapPrm:\t0+\n/)
    }
    const { mode, uid, gid } = fs.statSync(socket)
    t.deepEqual([mode & 0o777, uid, gid], [0o660, NOBODY, NOBODY])
    const image = join(directory, 'image')
    const bytes = Buffer.alloc(16 * MIB, 'whatever it is ')
    fs.writeFileSync(image, bytes)
    await run(t, 'nbdcopy', [image, server.uri])
    const back = join(directory, 'back')
    await run(t, 'nbdcopy', [server.uris[1], back])
    t.true(fs.readFileSync(back).equals(bytes))
    const chunks = join(directory, 'own/d.chunks')
    t.true(fs.readdirSync(chunks).length >= 16)
    for (const name of fs.readdirSync(chunks)) {
      const chunk = fs.statSync(join(chunks, name))
      t.deepEqual([chunk.uid, chunk.mode & 0o777], [NOBODY, 0o600], name)
    }
    t.is(await server.stop(), 0)
  })
}

test.serial('--user: what the user may not use is told at the start, and to whom', async (t) => {
  if (!isRoot(t)) return
  const directory = await nobodysDisk(t)
  const start = (...args: string[]): Promise<unknown> => serve(t, args, { cwd: directory })
  fs.chownSync(join(directory, 'own/d.chunks'), 0, 0)
  await t.throwsAsync(start('own/d.chunkdisk', '--user', 'nobody'), {
    message: /part directory .*d\.chunks cannot be opened \(EACCES\).*works as nobody:65534/,
  })
  fs.chownSync(join(directory, 'own/d.chunkdisk'), 0, 0)
  await t.throwsAsync(start('own/d.chunkdisk', '--user', 'nobody'), {
    message: /d\.chunkdisk: cannot be read: .*permission denied.*works as nobody/,
  })
  await t.throwsAsync(start('--memory', '1M', '--user', 'no-such-user'), {
    message: /there is no user "no-such-user"/,
  })
  await t.throwsAsync(start('--memory', '1M', '--user', 'nobody', '--group', 'no-such-group'), {
    message: /there is no group "no-such-group"/,
  })
})

test.serial('without root nobody can become somebody else, but stay who he is', async (t) => {
  if (!isRoot(t) || !requireTool(t, 'setpriv')) return
  const directory = await nobodysDisk(t)
  const launcher = ['setpriv', '--reuid=65534', '--regid=65534', '--clear-groups']
  const listen = ['--listen', 'nbd://127.0.0.1:0']
  const server = await serve(t, ['own/d.chunkdisk', '--user', 'nobody', ...listen], {
    cwd: directory,
    launcher,
  })
  t.is(await server.stop(), 0)
  await t.throwsAsync(serve(t, ['--memory', '1M', '--user', 'root', ...listen], { launcher }), {
    message: /only root can become somebody else/,
  })
})

test.serial('SIGHUP is carried out as the user, too', async (t) => {
  if (!isRoot(t) || !requireTool(t, 'nbdinfo')) return
  const directory = await nobodysDisk(t)
  await makeDisk(join(directory, 'roots.chunkdisk'), DISK)
  const file = join(directory, 'c.toml')
  const head = `
    [server]
    user = "nobody"
    allowed-roots = ["."]
    socket-mode = "0666"
    listen = ["nbd+unix:///?socket=${join(directory, 's')}"]
    [exports.memory]
    memory = "1M"\n`
  fs.writeFileSync(file, head)
  const server = await serve(t, ['--config', file], { launcher: ['env', '--'] })
  const change = async (text: string, expected: RegExp): Promise<void> => {
    fs.writeFileSync(file, head + text)
    process.kill(server.pid, 'SIGHUP')
    await server.logged(expected)
  }
  await change('[exports.r]\nfile = "roots.chunkdisk"', /"not reloaded.*"/)
  t.regex(server.log(), /roots\.chunkdisk: cannot be read: .*permission denied/)
  await change('[exports.d]\nfile = "own/d.chunkdisk"', /"added":\["d"\]/)
  const client = await DiskClient.connect(server.uri.replace('memory', 'd'))
  await client.write(0, Buffer.alloc(MIB, 1))
  t.is((await client.read(0, 4096))[0], 1)
  t.is(await server.stop(), 0)
})

test.serial('whatever the umask, files are for their owner only', async (t) => {
  const directory = tempDirectory(t)
  const open = ['sh', '-c', 'umask 0; exec "$0" "$@"']
  await chunknbd(t, ['create', 'd.chunkdisk', '--size', '16M', '--chunk-size', '1M'], directory)
  const socket = join(directory, 's')
  const server = await serve(t, ['d.chunkdisk', '--listen', `nbd+unix:///?socket=${socket}`], {
    cwd: directory,
    launcher: open,
  })
  t.is(fs.statSync(socket).mode & 0o777, 0o700)
  const client = await DiskClient.connect(server.uri)
  await client.write(MIB / 2, Buffer.alloc(MIB, 1))
  await client.flush()
  const found = fs.readdirSync(directory, { recursive: true, encoding: 'utf8' })
  t.true(found.filter((name) => name.includes('chunk1')).length > 0)
  for (const name of found) t.is(fs.statSync(join(directory, name)).mode & 0o077, 0, name)
  t.is(await server.stop(), 0)
})

test.serial('allowed roots: a parent, a part or a chunk file elsewhere is refused', async (t) => {
  const directory = tempDirectory(t)
  const [root, outside] = ['root', 'outside'].map((name) => join(directory, name))
  for (const each of [root, outside]) fs.mkdirSync(each)
  await makeDisk(join(outside, 'base.chunkdisk'), DISK)
  await makeDisk(join(root, 'good.chunkdisk'), DISK)
  const write = (name: string, ...lines: string[]): string => {
    fs.writeFileSync(join(root, name), lines.join('\n'))
    return join(root, name)
  }
  fs.mkdirSync(join(root, 'part'))
  fs.symlinkSync(outside, join(root, 'link'))
  fs.symlinkSync(join(outside, 'base.chunkdisk'), join(root, 'alias.chunkdisk'))
  fs.mkdirSync(join(root, 'links'))
  fs.writeFileSync(join(outside, 'secret'), Buffer.alloc(MIB, 's'))
  fs.symlinkSync(join(outside, 'secret'), join(root, 'links/chunk0'))
  const sizes = [String(16 * MIB), String(MIB)]
  const files = confined(createNodeIo().files, [root])
  for (const [file, message] of [
    [write('a', '../outside/base.chunkdisk', ...sizes, '16 part'), /parent of .*outside of the/],
    [write('b', 'alias.chunkdisk', ...sizes, '16 part'), /parent of .*it leads to .*outside\/base/],
    [write('c', ...sizes, `16 ${outside}`), /part directory .*outside is outside of the allowed/],
    [write('d', ...sizes, '16 link'), /part directory .*link is outside .*leads to .*outside/],
    [write('e', ...sizes, '16 ../outside'), /part directory .*outside of the allowed roots/],
    [write('f', ...sizes, '16 links'), /chunk0 is outside of the allowed roots/],
    [join(root, 'alias.chunkdisk'), /alias\.chunkdisk is outside .*it leads to/],
    [join(outside, 'base.chunkdisk'), /base\.chunkdisk is outside of the allowed roots/],
    ['/etc/passwd', /\/etc\/passwd is outside of the allowed roots/],
  ] as const) {
    await t.throwsAsync(ChunkDisk.open(files, file), { message }, file)
  }
  const refused = serve(t, [join(root, 'd'), '--allowed-root', root])
  await t.throwsAsync(refused, { message: /part directory .*link is outside of the allowed/ })
  const args = [join(root, 'good.chunkdisk'), '--allowed-root', root]
  const server = await serve(t, args)
  const client = await DiskClient.connect(server.uri)
  await client.write(0, Buffer.alloc(2 * MIB, 1))
  await client.trim(0, MIB)
  await client.flush()
  t.is((await client.read(MIB, 4096))[0], 1)
  // A part that is exchanged for a link while it is served.
  fs.renameSync(join(root, 'good.chunks'), join(root, 'away'))
  fs.symlinkSync(outside, join(root, 'good.chunks'))
  await t.throwsAsync(client.write(8 * MIB, Buffer.alloc(MIB, 1)))
  t.deepEqual(fs.readdirSync(outside).toSorted(), ['base.chunkdisk', 'base.chunks', 'secret'])
  const { status } = await attempt(t, 'kill', [String(server.pid)])
  t.is(status, 0)
  t.is(typeof (await server.ended), 'number')
})
