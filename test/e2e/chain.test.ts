import { join } from 'node:path'
import test from 'ava'
import { chunknbd, fileSizes, fingerprint, tryChunknbd } from '../helpers/chunks.ts'
import { DiskClient } from '../helpers/disk-client.ts'
import { Random, seedFor } from '../helpers/random.ts'
import { serve } from '../helpers/serve.ts'
import { tempDirectory } from '../helpers/temp.ts'

const SIZE = 2 << 20
const OPERATIONS = 300
const LENGTH_MAX = 200 << 10

test('base, child and grandchild read right after writes and trims at every level', async (t) => {
  const directory = tempDirectory(t)
  const random = new Random(seedFor(t))
  const size = ['--size', '2M', '--chunk-size', '64K']
  await chunknbd(t, ['create', 'base.chunkdisk', ...size], directory)
  await chunknbd(t, ['create', 'child.chunkdisk', '--parent', 'base.chunkdisk'], directory)
  await chunknbd(t, ['create', 'grand.chunkdisk', '--parent', 'child.chunkdisk'], directory)
  const model = new Uint8Array(SIZE)
  const parents: [string, string][] = []
  for (const name of ['base', 'child', 'grand']) {
    const server = await serve(t, [`${name}.chunkdisk`], { cwd: directory })
    const client = await DiskClient.connect(server.uri)
    t.deepEqual(Buffer.from(await client.read(0, SIZE)), Buffer.from(model), `${name} at first`)
    await change(client, model, random)
    t.deepEqual(Buffer.from(await client.read(0, SIZE)), Buffer.from(model), `${name} at last`)
    await client.disconnect()
    t.is(await server.stop(), 0)
    for (const [parent, before] of parents) {
      t.is(fingerprint(join(directory, `${parent}.chunks`)), before, `files of ${parent}`)
    }
    parents.push([name, fingerprint(join(directory, `${name}.chunks`))])
    await chunknbd(t, ['check', `${name}.chunkdisk`], directory)
  }
})

async function change(client: DiskClient, model: Uint8Array, random: Random): Promise<void> {
  for (let count = 0; count < OPERATIONS; count++) {
    const length = random.logarithmic(1, LENGTH_MAX)
    const offset = random.between(0, SIZE - length)
    if (random.chance(0.5)) {
      const data = random.bytes(length)
      model.set(data, offset)
      await client.write(offset, data)
    } else {
      model.fill(0, offset, offset + length)
      if (random.chance(0.5)) await client.trim(offset, length)
      else await client.zero(offset, length)
    }
  }
}

test('a child that trims a whole chunk hides it with an empty file', async (t) => {
  const directory = tempDirectory(t)
  await chunknbd(
    t,
    ['create', 'base.chunkdisk', '--size', '256K', '--chunk-size', '64K'],
    directory,
  )
  await chunknbd(t, ['create', 'child.chunkdisk', '--parent', 'base.chunkdisk'], directory)
  const base = await serve(t, ['base.chunkdisk'], { cwd: directory })
  const writer = await DiskClient.connect(base.uri)
  await writer.write(0, new Uint8Array(256 << 10).fill(1))
  await writer.disconnect()
  await base.stop()
  const child = await serve(t, ['child.chunkdisk'], { cwd: directory })
  const client = await DiskClient.connect(child.uri)
  await client.trim(64 << 10, 64 << 10)
  t.deepEqual(fileSizes(join(directory, 'child.chunks')), { chunk1: 0 })
  const expected = new Uint8Array(256 << 10).fill(1).fill(0, 64 << 10, 128 << 10)
  t.deepEqual(Buffer.from(await client.read(0, 256 << 10)), Buffer.from(expected))
})

test('a second writer, and one of a parent in use, is refused and told who is there', async (t) => {
  const directory = tempDirectory(t)
  await chunknbd(t, ['create', 'base.chunkdisk', '--size', '1M', '--chunk-size', '64K'], directory)
  await chunknbd(t, ['create', 'child.chunkdisk', '--parent', 'base.chunkdisk'], directory)
  const first = await serve(t, ['child.chunkdisk'], { cwd: directory })
  for (const file of ['child.chunkdisk', 'base.chunkdisk']) {
    const args = ['serve', file, '--listen', 'nbd://127.0.0.1:0']
    const { status, stderr } = await tryChunknbd(t, args, directory)
    t.is(status, 1)
    t.regex(stderr, new RegExp(`in use by process ${first.pid} \\(.*serve child\\.chunkdisk`))
  }
  const reader = await serve(t, ['base.chunkdisk', '--read-only'], { cwd: directory })
  t.is(await reader.stop(), 0)
  await first.kill()
  const second = await serve(t, ['child.chunkdisk'], { cwd: directory })
  t.is(await second.stop(), 0)
})
