/** A directory that chunkdisk wrote on Windows is served, and stays one that it can read. */
import fs from 'node:fs'
import { join } from 'node:path'
import test from 'ava'
import { sameBytes } from '../helpers/bytes.ts'
import { fingerprint } from '../helpers/chunks.ts'
import { DiskClient } from '../helpers/disk-client.ts'
import { Random, seedFor } from '../helpers/random.ts'
import { serve } from '../helpers/serve.ts'
import { tempDirectory } from '../helpers/temp.ts'
import { makeWindowsDisk, WINDOWS_CHUNK, WINDOWS_SIZE } from '../helpers/windows-disk.ts'

test('a disk from Windows is served, and its files keep to the rules of chunkdisk', async (t) => {
  const directory = tempDirectory(t)
  const random = new Random(seedFor(t))
  const { mapPath, image } = makeWindowsDisk(directory)
  const parents = ['c/Disks/Base 1', 'd/base2'].map((part) => join(directory, part))
  const before = parents.map(fingerprint)
  const descriptor = join(directory, 'c/Disks/child.chunkdisk')
  const text = fs.readFileSync(descriptor)
  const server = await serve(t, ['c/Disks/child.chunkdisk', ...mapPath], { cwd: directory })
  const client = await DiskClient.connect(server.uri)
  sameBytes(t, await client.read(0, WINDOWS_SIZE), image)
  for (let count = 0; count < 200; count++) {
    const length = random.logarithmic(1, 2 * WINDOWS_CHUNK)
    const offset = random.between(0, WINDOWS_SIZE - length)
    const data = random.chance(0.5) ? random.bytes(length) : new Uint8Array(length)
    image.set(data, offset)
    if (data[0] === 0) await client.trim(offset, length)
    else await client.write(offset, data)
  }
  sameBytes(t, await client.read(0, WINDOWS_SIZE), image)
  await client.disconnect()
  t.is(await server.stop(), 0)
  t.deepEqual(parents.map(fingerprint), before)
  t.deepEqual(fs.readFileSync(descriptor), text)
  const part = join(directory, 'c/Disks/child')
  for (const name of fs.readdirSync(part)) {
    t.regex(name, /^chunk[0-5]$/)
    t.true([0, WINDOWS_CHUNK].includes(fs.statSync(join(part, name)).size), name)
  }
})

test("chunkdisk's lock file keeps the base from being written, not from being read", async (t) => {
  const directory = tempDirectory(t)
  const { mapPath } = makeWindowsDisk(directory)
  const args = ['c/Disks/base.chunkdisk', ...mapPath]
  const message = /Base 1\/\.lock exists: chunkdisk uses this directory/
  await t.throwsAsync(serve(t, args, { cwd: directory }), { message })
  const server = await serve(t, [...args, '--read-only'], { cwd: directory })
  const client = await DiskClient.connect(server.uri)
  t.is((await client.read(WINDOWS_CHUNK, 1))[0], 3)
  await client.disconnect()
  t.is(await server.stop(), 0)
})
