/** What the protocol promises, kept by a served chunk disk, and by clients others have written. */
import { mkdirSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import test, { type ExecutionContext } from 'ava'
import { allocatedBytes } from '../helpers/chunks.ts'
import { DiskClient, Fua } from '../helpers/disk-client.ts'
import { RawClient } from '../helpers/raw-client.ts'
import { serve } from '../helpers/serve.ts'
import { tempDirectory } from '../helpers/temp.ts'
import { requireTool, run } from '../helpers/tools.ts'

const MIB = 1 << 20
const [NO_HOLE, FAST_ZERO] = [2, 16]
const BLOCK_STATUS = 7

/** A directory with a disk of 8 MiB in chunks of 1 MiB. */
function makeDisk(t: ExecutionContext): string {
  const directory = tempDirectory(t)
  writeFileSync(join(directory, 'd.chunkdisk'), '8M\n1M\n8 d.chunks\n')
  mkdirSync(join(directory, 'd.chunks'))
  return directory
}

async function statusOf(client: DiskClient, offset: number, length: number): Promise<number[]> {
  const answer = await client.raw.request({ command: BLOCK_STATUS, offset, length })
  return [...answer.extents.values()].flat().flatMap((extent) => [extent.length, extent.flags])
}

test('answered writes survive kill -9, and a flushed trim stays zeros', async (t) => {
  const directory = makeDisk(t)
  const first = await serve(t, ['d.chunkdisk'], { cwd: directory })
  const writer = await DiskClient.connect(first.uri)
  await writer.write(0, new Uint8Array(2 * MIB).fill(1))
  await writer.flush()
  await writer.write(5 * MIB - 3, new Uint8Array(6).fill(2))
  await writer.trim(MIB, MIB)
  await writer.zero(512, 512, Fua)
  t.deepEqual([...(await writer.read(MIB - 1, 2))], [1, 0])
  await first.kill()
  const second = await serve(t, ['d.chunkdisk'], { cwd: directory })
  const reader = await DiskClient.connect(second.uri)
  const expected = Buffer.alloc(8 * MIB)
  expected
    .fill(1, 0, MIB)
    .fill(0, 512, 1024)
    .fill(2, 5 * MIB - 3, 5 * MIB + 3)
  t.true(((await reader.read(0, 8 * MIB)) as Buffer).equals(expected))
  t.is(await second.stop(), 0)
})

test('NO_HOLE provisions, FAST_ZERO is fast, the map tells data from holes', async (t) => {
  const directory = makeDisk(t)
  const server = await serve(t, ['d.chunkdisk'], { cwd: directory })
  const client = await DiskClient.connect(server.uri)
  const chunks = join(directory, 'd.chunks')
  t.deepEqual(await statusOf(client, 100, 8 * MIB - 100), [8 * MIB - 100, 3])
  await client.zero(2 * MIB, MIB, NO_HOLE)
  t.true(allocatedBytes(chunks) >= MIB)
  await client.write(0, new Uint8Array(MIB).fill(7))
  t.deepEqual((await statusOf(client, 0, 2 * MIB)).slice(0, 2), [MIB, 0])
  await client.zero(0, MIB, FAST_ZERO)
  t.deepEqual(Buffer.from(await client.read(0, MIB)), Buffer.alloc(MIB))
  t.deepEqual((await statusOf(client, 0, MIB))[1], 3)
  await client.disconnect()
  t.is(await server.stop(), 0)
})

test('a disk served read-only says so, refuses changes with EPERM and flushes', async (t) => {
  const directory = makeDisk(t)
  const server = await serve(t, ['d.chunkdisk', '--read-only'], { cwd: directory })
  const raw = await RawClient.connect({
    path: new URL(server.uri).searchParams.get('socket') ?? '',
  })
  const { flags } = await raw.handshake({ exportName: 'd' })
  t.is(flags & 2, 2, 'READ_ONLY')
  t.is(flags & ((1 << 5) | (1 << 6) | (1 << 11)), 0, 'TRIM, WRITE_ZEROES, FAST_ZERO')
  const ask = async (command: number, payload?: Uint8Array) =>
    (await raw.request({ command, offset: 0, length: command === 3 ? 0 : 512 }, payload)).error
  t.deepEqual([await ask(1, Buffer.alloc(512)), await ask(4), await ask(6)], [1, 1, 1])
  t.deepEqual([await ask(3), await ask(0), await ask(5)], [0, 0, 0])
  await raw.disconnect()
})

/** libnbd without its own checks, so that the answers are ours. */
const LIBNBD_SCRIPT = `
def refused(errno, call, *args, **named):
    try:
        call(*args, **named)
    except nbd.Error as error:
        assert error.errno == errno, (call, error)
    else:
        raise AssertionError(call)
size = h.get_size()
assert h.can_multi_conn() and h.can_df() and h.can_cache() and h.can_fast_zero()
assert h.get_block_size(nbd.SIZE_MAXIMUM) == 32 << 20
h.pwrite(b"hello" * 1000, 77, nbd.CMD_FLAG_FUA)
assert h.pread(5000, 77) == b"hello" * 1000
chunks = []
h.pread_structured(8192, 0, lambda data, at, kind, error: chunks.append((at, kind)),
                   nbd.CMD_FLAG_DF)
assert len(chunks) == 1, chunks
h.zero(4096, 0, nbd.CMD_FLAG_NO_HOLE | nbd.CMD_FLAG_FUA)
h.trim(size, 0)
h.cache(size, 0)
h.flush()
extents = []
h.block_status(size, 0, lambda name, at, entries, error: extents.extend(entries))
assert extents == [size, 3], extents
h.set_strict_mode(0)
refused("EINVAL", h.pread, 512, size)
refused("ENOSPC", h.pwrite, b"x", size)
refused("EINVAL", h.trim, 512, size)
refused("ENOSPC", h.zero, 512, size)
refused("EINVAL", h.block_status, 512, size, lambda *_: 0)
`

test('libnbd: nbdsh reads, writes, trims, maps, and hears errors', async (t) => {
  if (!requireTool(t, 'nbdsh')) return
  const server = await serve(t, ['d.chunkdisk'], { cwd: makeDisk(t) })
  const uri = ['--base-allocation', '-u', server.uri]
  await run(t, 'nbdsh', [...uri, '-c', '-'], { input: LIBNBD_SCRIPT })
  t.is(await server.stop(), 0)
})

test('fio: random writes and trims, verified, by two jobs at once', async (t) => {
  if (!requireTool(t, 'fio')) return
  const server = await serve(t, ['d.chunkdisk'], { cwd: makeDisk(t) })
  const job = ['--name=verify', '--ioengine=nbd', `--uri=${server.uri}`, '--rw=randwrite']
  const load = ['--bsrange=512-128k', '--iodepth=16', '--size=4M', '--fsync=32']
  const jobs = ['--numjobs=2', '--offset_increment=4M', '--randrepeat=1']
  const verify = ['--verify=crc32c', '--do_verify=1', '--verify_fatal=1']
  await run(t, 'fio', [...job, ...load, ...jobs, ...verify], { cwd: tempDirectory(t) })
  t.is(await server.stop(), 0)
})

test('nbd-client lists the exports', async (t) => {
  if (!requireTool(t, 'nbd-client')) return
  const directory = makeDisk(t)
  const listen = ['--listen', 'nbd://127.0.0.1:0']
  const server = await serve(t, ['d.chunkdisk', ...listen], { cwd: directory })
  const { port } = new URL(server.uri.replace(/^nbd/, 'http'))
  const { stdout } = await run(t, 'nbd-client', ['-l', '127.0.0.1', port])
  t.regex(stdout, /^d\b/m)
  t.is(await server.stop(), 0)
})
