/** TRIM and WRITE_ZEROES give space back, as `du` sees it. */
import { statSync } from 'node:fs'
import { join } from 'node:path'
import test, { type ExecutionContext } from 'ava'
import { allocatedBytes, fileSizes, makeDisk } from '../helpers/chunks.ts'
import { sameBytes } from '../helpers/bytes.ts'
import { DiskClient } from '../helpers/disk-client.ts'
import { serve } from '../helpers/serve.ts'
import { tempDirectory } from '../helpers/temp.ts'

const NO_HOLE = 2
const K = 1024
const M = 1024 * K
const G = 1024 * M
const T = 1024 * G

interface Disk {
  readonly client: DiskClient
  readonly chunks: string
  /** Stops the server with SIGTERM and serves the same files again. */
  restart(): Promise<Disk>
}

async function serveDisk(t: ExecutionContext, directory: string): Promise<Disk> {
  const server = await serve(t, ['d.chunkdisk', '--log-level', 'warn'], { cwd: directory })
  const restart = async (): Promise<Disk> => {
    t.is(await server.stop(), 0)
    t.is(server.log(), '')
    return serveDisk(t, directory)
  }
  const client = await DiskClient.connect(server.uri)
  return { client, chunks: join(directory, 'd.chunks'), restart }
}

async function newDisk(t: ExecutionContext, size: string, chunkSize: string): Promise<Disk> {
  const directory = tempDirectory(t)
  await makeDisk(join(directory, 'd.chunkdisk'), { size, chunkSize })
  return serveDisk(t, directory)
}

/** Bytes that are not zero, none like its neighbours. */
function noise(length: number): Uint8Array {
  const period = Uint8Array.from({ length: 251 }, (_, index) => 1 + index)
  return Buffer.alloc(length, period)
}

test('TRIM gives space back: chunk files have 0 bytes, also after a restart', async (t) => {
  const first = await newDisk(t, '16M', '1M')
  const data = noise(16 * M)
  await first.client.write(0, data)
  t.true(allocatedBytes(first.chunks) >= 16 * M)

  await first.client.trim(4 * M, 8 * M)
  const sizes = Array.from({ length: 16 }, (_, index) => (index >= 4 && index < 12 ? 0 : M))
  const expected = Object.fromEntries(sizes.map((size, index) => [`chunk${index}`, size]))
  t.deepEqual(fileSizes(first.chunks), expected)
  t.true(allocatedBytes(first.chunks) <= 8.5 * M)

  // Half a chunk: the file keeps its size and loses blocks.
  await first.client.trim(256 * K, 512 * K)
  t.is(fileSizes(first.chunks)['chunk0'], M)
  t.true(allocatedBytes(first.chunks) <= 8 * M)

  const second = await first.restart()
  t.deepEqual(fileSizes(second.chunks), expected)
  data.fill(0, 4 * M, 12 * M).fill(0, 256 * K, 768 * K)
  sameBytes(t, await second.client.read(0, 16 * M), data)
})

test('many TRIMs of 512 bytes free a chunk, whatever their order', async (t) => {
  const { client, chunks } = await newDisk(t, '256K', '64K')
  await client.write(0, noise(256 * K))
  const sectors = Array.from({ length: 128 }, (_, index) => index * 512)
  const even = sectors.filter((offset) => offset % 1024 === 0)
  const odd = sectors.filter((offset) => offset % 1024 !== 0).toReversed()
  const ranges = [...even, ...odd].map((offset) => 64 * K + offset)
  for (const offset of ranges.slice(0, -1)) await client.trim(offset, 512)
  t.is(fileSizes(chunks)['chunk1'], 64 * K)
  await client.trim(ranges.at(-1) ?? -1, 512)
  t.is(fileSizes(chunks)['chunk1'], 0)
  sameBytes(t, await client.read(64 * K, 64 * K), Buffer.alloc(64 * K))
  const expected = noise(256 * K).fill(0, 64 * K, 128 * K)
  sameBytes(t, await client.read(0, 256 * K), expected)
})

test('the last chunk, cut short by the end of the disk, becomes empty too', async (t) => {
  const { client, chunks } = await newDisk(t, '100K', '64K')
  await client.write(0, noise(100 * K))
  t.deepEqual(fileSizes(chunks), { chunk0: 64 * K, chunk1: 64 * K })
  await client.trim(64 * K, 36 * K)
  t.deepEqual(fileSizes(chunks), { chunk0: 64 * K, chunk1: 0 })
  sameBytes(t, await client.read(64 * K, 36 * K), Buffer.alloc(36 * K))
})

test('zeros that must not be a hole take space, zeros that may be give it back', async (t) => {
  const { client, chunks } = await newDisk(t, '4M', '1M')
  await client.zero(0, M)
  t.is(allocatedBytes(chunks), 0)
  await client.zero(M, M, NO_HOLE)
  t.true(allocatedBytes(chunks) >= M)
  await client.write(2 * M, noise(M))
  await client.zero(2 * M, M, NO_HOLE)
  t.true(allocatedBytes(chunks) >= 2 * M)
  sameBytes(t, await client.read(0, 4 * M), Buffer.alloc(4 * M))
  await client.zero(M, 2 * M)
  t.true(allocatedBytes(chunks) < 64 * K)
})

test('one TRIM of 4 GiB on an empty disk of 1 TiB touches no file', async (t) => {
  const { client, chunks } = await newDisk(t, '1T', '64M')
  const before = statSync(chunks, { bigint: true })
  await client.trim(512 * G, 4 * G - 4 * K)
  await client.zero(8 * G, 4 * G - 1)
  await client.trim(T - 4 * K, 4 * K)
  const after = statSync(chunks, { bigint: true })
  t.deepEqual(fileSizes(chunks), {})
  t.is(after.mtimeNs, before.mtimeNs)
  t.is(after.ctimeNs, before.ctimeNs)
})

test('one TRIM of 4 GiB frees the chunks there are and leaves the rest alone', async (t) => {
  const { client, chunks } = await newDisk(t, '1T', '64K')
  const places = [0, 3 * G, 4 * G - 8 * K, 4 * G + 64 * K, T - 64 * K]
  for (const place of places) await client.write(place, noise(8 * K))
  await client.trim(0, 4 * G - 4 * K)
  const names = places.map((place) => `chunk${Math.floor(place / (64 * K))}`)
  const sizes = [0, 0, 64 * K, 64 * K, 64 * K]
  t.deepEqual(fileSizes(chunks), Object.fromEntries(names.map((name, at) => [name, sizes[at]])))
  const half = noise(8 * K).fill(0, 0, 4 * K)
  sameBytes(t, await client.read(4 * G - 8 * K, 8 * K), half)
  sameBytes(t, await client.read(4 * G + 64 * K, 8 * K), noise(8 * K))
})
