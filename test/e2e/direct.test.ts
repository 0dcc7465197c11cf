/** The real server in the modes with O_DIRECT. */
import { existsSync, mkdirSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import test from 'ava'
import { createUringIo } from '../../io/uring.ts'
import { sameBytes } from '../helpers/bytes.ts'
import { makeDisk } from '../helpers/chunks.ts'
import { openedDirect, requireDirect } from '../helpers/direct.ts'
import { DiskClient } from '../helpers/disk-client.ts'
import { Random, seedFor } from '../helpers/random.ts'
import { COMMAND_LINE, serve } from '../helpers/serve.ts'
import { tempDirectory } from '../helpers/temp.ts'
import { attempt, requireTool } from '../helpers/tools.ts'

const uring = createUringIo()
const ENGINES = typeof uring === 'string' ? ['node'] : ['node', 'uring']
const MODES = ['writeback', 'none', 'directsync'] as const
const CHUNK = 1 << 20

for (const engine of ENGINES) {
  for (const mode of MODES) {
    const isDirect = mode !== 'writeback'
    const title = `${engine}, ${mode}: the server has its chunk files open`
    test(`${title} ${isDirect ? 'with' : 'without'} O_DIRECT`, async (t) => {
      if (!requireDirect(t)) return
      const random = new Random(seedFor(t))
      const cwd = tempDirectory(t)
      const parent = join(cwd, 'base.chunkdisk')
      await makeDisk(parent, { size: '4M', chunkSize: '1M' })
      await makeDisk(join(cwd, 'child.chunkdisk'), { parent })
      const data = random.bytes(2 * CHUNK)
      for (const index of [0, 1]) {
        const chunk = data.subarray(index * CHUNK, (index + 1) * CHUNK)
        writeFileSync(join(cwd, `base.chunks/chunk${index}`), chunk)
      }
      const options = ['--cache', mode, '--engine', engine]
      const server = await serve(t, ['child.chunkdisk', ...options], { cwd })
      const client = await DiskClient.connect(server.uri)
      // The first chunk is copied, of the second the parent's is read, the third is new.
      await client.write(3, data.subarray(0, 10))
      await client.write(2 * CHUNK + 7, data.subarray(0, 100_000))
      const shown = await client.read(CHUNK + 1, 5000)
      sameBytes(t, shown, data.subarray(CHUNK + 1, CHUNK + 5001))
      const opened = openedDirect(server.pid, cwd)
      const names = ['child.chunks/chunk0', 'base.chunks/chunk1', 'child.chunks/chunk2']
      for (const name of names) t.is(opened[name], isDirect, name)
      await client.disconnect()
      t.is(await server.stop(), 0)
    })
  }
}

test('io_uring is taken for O_DIRECT; the node engine says how many threads it has', async (t) => {
  if (!requireDirect(t)) return
  const cwd = tempDirectory(t)
  await makeDisk(join(cwd, 'd.chunkdisk'), { size: '1M', chunkSize: '1M' })
  const usual = await serve(t, ['d.chunkdisk', '--cache', 'none'], { cwd })
  await usual.logged(/"msg":"serving"/)
  t.regex(usual.log(), new RegExp(`"engine":"${ENGINES.at(-1)}"`))
  t.is(await usual.stop(), 0)
  const env = { UV_THREADPOOL_SIZE: '17' }
  const told = await serve(t, ['d.chunkdisk', '--cache', 'none', '--engine', 'node'], { cwd, env })
  await told.logged(/"msg":"serving"/)
  t.regex(told.log(), /"engine":"node"/)
  t.regex(told.log(), /"threads":"17".*set UV_THREADPOOL_SIZE for more/)
  t.is(await told.stop(), 0)
})

test('without the FFI a direct mode is refused at start, with the reason', async (t) => {
  const cwd = tempDirectory(t)
  await makeDisk(join(cwd, 'd.chunkdisk'), { size: '1M', chunkSize: '1M' })
  const args = [...COMMAND_LINE, 'serve', 'd.chunkdisk', '--cache', 'none']
  const env = { CHUNKNBD_NO_FFI: '1' }
  const { status, stderr } = await attempt(t, process.execPath, args, { cwd, env })
  t.is(status, 1)
  t.regex(stderr, /^chunknbd: O_DIRECT cannot be used in part directory .*d\.chunks: .*koffi/m)
})

/** In a namespace of its own, so that nothing stays mounted. */
const IN_RAMFS = `mount -t ramfs none "$1" && cd "$1" && shift &&
  "$@" create d.chunkdisk --size 1M >&2 && exec "$@" serve d.chunkdisk --cache none`

test('a file system that refuses O_DIRECT is named at start, with the fix', async (t) => {
  if (!requireTool(t, 'unshare', 'mount')) return
  const directory = join(tempDirectory(t), 'mnt')
  mkdirSync(directory)
  const isolated = process.getuid?.() === 0 ? ['--mount'] : ['--map-root-user', '--mount']
  const mount = await attempt(t, 'unshare', [
    ...isolated,
    'mount',
    '-t',
    'ramfs',
    'none',
    directory,
  ])
  if (mount.status !== 0) {
    t.log(`SKIPPED: ramfs cannot be mounted here: ${mount.stderr.trim()}`)
    t.pass()
    return
  }
  const args = ['sh', '-c', IN_RAMFS, 'sh', directory, process.execPath, ...COMMAND_LINE]
  const { status, stdout, stderr } = await attempt(t, 'unshare', [...isolated, ...args])
  t.is(status, 1)
  t.is(stdout, '')
  const part = join(directory, 'd.chunks')
  const problem = `O_DIRECT cannot be used in part directory ${part}: its file system refuses`
  t.true(stderr.includes(problem), stderr)
  t.regex(stderr, /\(EINVAL\); serve the disk with --cache writeback or writethrough\n$/)
  t.false(existsSync(part), 'the mount is gone with its namespace')
})
