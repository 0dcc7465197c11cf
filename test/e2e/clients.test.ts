/** Clients that others have written, each doing what it does every day. */
import { randomFillSync } from 'node:crypto'
import { mkdirSync, readFileSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import test, { type ExecutionContext } from 'ava'
import { sameBytes } from '../helpers/bytes.ts'
import { makeDisk } from '../helpers/chunks.ts'
import { DiskClient } from '../helpers/disk-client.ts'
import { seedFor } from '../helpers/random.ts'
import { serve, type Served } from '../helpers/serve.ts'
import { tempDirectory } from '../helpers/temp.ts'
import { attempt, requireTool, run } from '../helpers/tools.ts'

const MIB = 1 << 20
const NBDSH_SCRIPT = join(import.meta.dirname, 'nbdsh-script.py')

interface Disk {
  readonly directory: string
  readonly server: Served
  readonly uri: string
}

async function newDisk(t: ExecutionContext, size: string, chunkSize: string): Promise<Disk> {
  const directory = tempDirectory(t)
  await makeDisk(join(directory, 'd.chunkdisk'), { size, chunkSize })
  const server = await serve(t, ['d.chunkdisk'], { cwd: directory })
  return { directory, server, uri: server.uri }
}

/** An image of a file system's kind: data here and there, holes between. */
function sparseImage(bytes: number): Buffer {
  const image = Buffer.alloc(bytes)
  for (let at = 0; at < bytes; at += 3 * MIB) randomFillSync(image, at, Math.min(MIB, bytes - at))
  return image
}

test('nbdinfo: what the server offers, export by export', async (t) => {
  if (!requireTool(t, 'nbdinfo', 'nbd-client')) return
  const directory = tempDirectory(t)
  const socket = join(directory, 's')
  await makeDisk(join(directory, 'a.chunkdisk'), { size: '6M', chunkSize: '1M' })
  await makeDisk(join(directory, 'ü x.chunkdisk'), { size: '1T', chunkSize: '64M' })
  const disks = ['a.chunkdisk', 'ü x.chunkdisk', '--memory', '64K']
  const listen = ['--listen', `nbd+unix:///?socket=${socket}`]
  const server = await serve(t, [...disks, ...listen], { cwd: directory, uriCount: 3 })
  const names = ['a', 'ü x', 'memory']
  const paths = ['a', '%C3%BC%20x', 'memory']
  t.deepEqual(
    server.uris,
    paths.map((name) => `nbd+unix:///${name}?socket=${socket}`),
  )

  const list = await run(t, 'nbdinfo', ['--list', '--json', `nbd+unix:///?socket=${socket}`])
  const { exports, ...connection } = JSON.parse(list.stdout) as Record<string, object[]>
  t.like(connection, { protocol: 'newstyle-fixed', TLS: false, structured: true })
  const offered = {
    contexts: ['base:allocation'],
    is_rotational: false,
    is_read_only: false,
    can_cache: true,
    can_df: true,
    can_fast_zero: true,
    can_flush: true,
    can_fua: true,
    can_multi_conn: true,
    can_trim: true,
    can_zero: true,
    block_size_minimum: 1,
    block_size_preferred: 4096,
    block_size_maximum: 32 * MIB,
  }
  const sizes = [6 * MIB, 1024 ** 4, 64 << 10]
  const texts = ['chunk disk of 6M', 'chunk disk of 1T', 'memory disk of 64K']
  for (const [index, name] of names.entries()) {
    const description = texts[index]
    const size = sizes[index]
    t.like(exports[index], { ...offered, 'export-name': name, description, 'export-size': size })
    const { stdout } = await run(t, 'nbdinfo', ['--size', server.uris[index]])
    t.is(stdout, `${size}\n`)
  }

  const listed = await run(t, 'nbd-client', ['-l', '-u', socket])
  for (const [index, name] of names.entries())
    t.true(listed.stdout.includes(`\n${name}: ${texts[index]}\n`))
})

test('nbdinfo --map: data where it was written, holes elsewhere', async (t) => {
  if (!requireTool(t, 'nbdinfo')) return
  const { uri } = await newDisk(t, '6M', '1M')
  const client = await DiskClient.connect(uri)
  await client.write(2 * MIB, new Uint8Array(MIB).fill(1))
  await client.write(5 * MIB + 4096, new Uint8Array(4096).fill(1))
  await client.disconnect()
  const { stdout } = await run(t, 'nbdinfo', ['--map', uri])
  const rows = stdout.split('\n').map((line) => line.trim().split(/\s+/).slice(0, 3).map(Number))
  t.deepEqual(rows.slice(0, -1), [
    [0, 2 * MIB, 3],
    [2 * MIB, MIB, 0],
    [3 * MIB, 2 * MIB + 4096, 3],
    [5 * MIB + 4096, 4096, 0],
    [5 * MIB + 8192, MIB - 8192, 3],
  ])
})

test('nbdsh: unaligned random requests with every flag, holes, maps and errors', async (t) => {
  if (!requireTool(t, 'nbdsh')) return
  const { server, uri } = await newDisk(t, '4M', '64K')
  const env = { SEED: String(seedFor(t)) }
  const input = readFileSync(NBDSH_SCRIPT)
  await run(t, 'nbdsh', ['--base-allocation', '-u', uri, '-c', '-'], { env, input })
  t.is(await server.stop(), 0)
})

test('qemu-img: converts a qcow2 image in, tells about it, compares, converts out', async (t) => {
  if (!requireTool(t, 'qemu-img')) return
  const { directory, server, uri } = await newDisk(t, '32M', '1M')
  const [raw, qcow2, back] = ['raw', 'qcow2', 'back'].map((name) => join(directory, name))
  const image = sparseImage(32 * MIB)
  writeFileSync(raw, image)
  await run(t, 'qemu-img', ['convert', '-f', 'raw', '-O', 'qcow2', raw, qcow2])
  await run(t, 'qemu-img', ['convert', '-n', '-W', '-f', 'qcow2', '-O', 'raw', qcow2, uri])
  await run(t, 'qemu-img', ['compare', '-f', 'qcow2', '-F', 'raw', qcow2, uri])
  await run(t, 'qemu-img', ['convert', '-f', 'raw', '-O', 'raw', uri, back])
  sameBytes(t, readFileSync(back), image)

  const info = await run(t, 'qemu-img', ['info', '--output=json', uri])
  t.like(JSON.parse(info.stdout), { format: 'raw', 'virtual-size': 32 * MIB })
  const map = await run(t, 'qemu-img', ['map', '--output=json', '-f', 'raw', uri])
  const extents = JSON.parse(map.stdout) as { length: number; data: boolean }[]
  const data = extents.filter((extent) => extent.data).reduce((sum, each) => sum + each.length, 0)
  t.is(data, 11 * MIB)

  writeFileSync(raw, image.fill(1, 20 * MIB, 20 * MIB + 1))
  const other = await attempt(t, 'qemu-img', ['compare', '-f', 'raw', '-F', 'raw', raw, uri])
  t.is(other.status, 1)
  t.is(await server.stop(), 0)
})

/** Each line is a command of qemu-io; what is read is compared with a pattern (-P). */
const QEMU_IO = `
write -P 1 0 1M
write -P 2 -f 511k 3k
aio_write -P 3 2M 300k
aio_flush
aio_write -z 2100k 100k
aio_flush
write -z -f 1000 5000
write -z -u 256k 64k
write -P 4 7340000 32
discard 600k 100k
writev -P 5 3M 4k 512 12k
flush
read -P 1 0 1000
read -P 0 1000 5000
read -P 1 6000 256144
read -P 0 256k 64k
read -P 1 320k 191k
read -P 2 511k 3k
read -P 1 514k 86k
read -P 0 600k 100k
read -P 3 2M 52k
read -P 0 2100k 100k
read -P 3 2200k 148k
read -P 5 3M 16896
read -P 4 7340000 32
read -P 0 7340032 48k
map
`

test('qemu-io: patterns, zeros with and without unmap, FUA, discard', async (t) => {
  if (!requireTool(t, 'qemu-io')) return
  const { server, uri } = await newDisk(t, '8M', '64K')
  const commands = QEMU_IO.trim()
    .split('\n')
    .flatMap((line) => ['-c', line])
  const { stdout, stderr } = await run(t, 'qemu-io', ['-f', 'raw', '-d', 'unmap', ...commands, uri])
  t.notRegex(stdout + stderr, /fail|error|invalid/i)
  t.is(stdout.match(/^read \d+\/\d+ bytes/gm)?.length, QEMU_IO.match(/^read /gm)?.length)
  t.regex(stdout, /bytes +allocated at offset 0 bytes/)
  t.is(await server.stop(), 0)
})

test('fio: unaligned sizes at depth 16 verified, several jobs at once, trims', async (t) => {
  if (!requireTool(t, 'fio')) return
  const { directory, server, uri } = await newDisk(t, '64M', '1M')
  const common = ['--ioengine=nbd', `--uri=${uri}`, '--randseed=' + seedFor(t)]
  const verify = ['--verify=crc32c', '--verify_fatal=1', '--do_verify=1']
  const sizes = ['--bsrange=512-256k', '--bs_unaligned=1', '--iodepth=16']
  const jobs = ['--numjobs=3', '--size=12M', '--offset_increment=16M', '--fsync=64']
  const write = ['--name=write', '--rw=randwrite', ...sizes, ...jobs]
  await run(t, 'fio', [...common, ...verify, ...write], { cwd: directory })
  const mixed = ['--name=mixed', '--rw=randrw', ...sizes, '--size=16M', '--offset=48M']
  await run(t, 'fio', [...common, ...verify, ...mixed], { cwd: directory })
  const trim = ['--name=trim', '--rw=randtrimwrite', '--bs=4k', '--iodepth=16', '--size=8M']
  const { stdout } = await run(t, 'fio', [...common, ...trim], { cwd: directory })
  t.regex(stdout, /trim: IOPS=/)
  t.is(await server.stop(), 0)
})

test("nbdkit's nbd plugin: a client that passes everything on", async (t) => {
  if (!requireTool(t, 'nbdkit', 'nbdinfo', 'nbdcopy')) return
  const { directory, server, uri } = await newDisk(t, '16M', '1M')
  const [image, back] = ['image', 'back'].map((name) => join(directory, name))
  const bytes = sparseImage(16 * MIB)
  writeFileSync(image, bytes)
  const steps = [
    'set -e',
    `nbdcopy --connections=4 '${image}' "$uri"`,
    `nbdcopy "$uri" '${back}'`,
    'nbdinfo --map --totals "$uri"',
  ]
  const options = ['-U', '-', 'nbd', `uri=${uri}`, 'shared=false', '--run', steps.join('\n')]
  const { stdout } = await run(t, 'nbdkit', options)
  sameBytes(t, readFileSync(back), bytes)
  t.regex(stdout, new RegExp(`^\\s*${6 * MIB}\\s.*data$`, 'm'))
  t.is(await server.stop(), 0)
})

test('nbdfuse: the disk as a file', async (t) => {
  if (!requireTool(t, 'nbdinfo')) return
  const { directory, server, uri } = await newDisk(t, '4M', '64K')
  const mountPoint = join(directory, 'mnt')
  mkdirSync(mountPoint)
  const bytes = sparseImage(4 * MIB)
  writeFileSync(join(directory, 'image'), bytes)
  const script = `
    nbdfuse -P pid mnt '${uri}' & fuse=$!
    for i in $(seq 100); do [ -e pid ] && break; kill -0 $fuse || exit 77; sleep 0.1; done
    trap 'umount mnt || fusermount3 -u mnt; wait $fuse' EXIT
    dd if=image of=mnt/nbd bs=100000 conv=notrunc,fsync status=none && cmp image mnt/nbd`
  const { status, stderr } = await attempt(t, 'sh', ['-c', script], { cwd: directory })
  if (status === 77) {
    t.log(`SKIPPED: nbdfuse cannot mount here: ${stderr.trim()}`)
    t.pass()
    return
  }
  t.is(status, 0, stderr)
  const client = await DiskClient.connect(uri)
  sameBytes(t, await client.read(0, 4 * MIB), bytes)
  await client.disconnect()
  t.is(await server.stop(), 0)
})

test('several different clients at once on one disk do not disturb each other', async (t) => {
  if (!requireTool(t, 'nbdcopy', 'nbdsh', 'qemu-io', 'fio')) return
  const { directory, server, uri } = await newDisk(t, '32M', '64K')
  const image = join(directory, 'image')
  const bytes = randomFillSync(Buffer.alloc(8 * MIB))
  writeFileSync(image, bytes)
  // The first 8 MiB; nbdcopy cannot begin elsewhere.
  const copy = run(t, 'nbdcopy', ['--connections=2', image, uri])
  const script = `
for i in range(300):
    at = (8 << 20) + i * 5001
    h.pwrite(bytes([1 + i % 255]) * 5001, at)
    assert h.pread(5001, at) == bytes([1 + i % 255]) * 5001`
  const shell = run(t, 'nbdsh', ['-u', uri, '-c', script])
  const lines = Array.from({ length: 40 }, (_, index) => {
    const place = `${16384 + index * 100}k 100k`
    return ['-c', `write -P ${index + 1} ${place}`, '-c', `read -P ${index + 1} ${place}`]
  }).flat()
  const qemu = run(t, 'qemu-io', ['-f', 'raw', ...lines, uri])
  const job = ['--name=job', '--ioengine=nbd', `--uri=${uri}`, '--rw=randwrite', '--offset=24M']
  const load = ['--size=8M', '--bsrange=512-64k', '--bs_unaligned=1', '--iodepth=16']
  const verify = ['--verify=crc32c', '--verify_fatal=1']
  const fio = run(t, 'fio', [...job, ...load, ...verify], { cwd: directory })
  const [, , { stdout }] = await Promise.all([copy, shell, qemu, fio])
  t.notRegex(stdout, /fail/i)

  const client = await DiskClient.connect(uri)
  sameBytes(t, await client.read(0, 8 * MIB), bytes)
  const written = Array.from({ length: 300 }, (_, index) => Buffer.alloc(5001, 1 + (index % 255)))
  sameBytes(t, await client.read(8 * MIB, 300 * 5001), Buffer.concat(written))
  await client.disconnect()
  t.is(await server.stop(), 0)
})
