/** Metadata contexts as real clients see them, on a chain of disks. */
import test from 'ava'
import type { ExecutionContext } from 'ava'
import { chunknbd } from '../helpers/chunks.ts'
import { RawClient } from '../helpers/raw-client.ts'
import { serve } from '../helpers/serve.ts'
import type { Served } from '../helpers/serve.ts'
import { tempDirectory } from '../helpers/temp.ts'
import { requireTool, run } from '../helpers/tools.ts'

const SIZE = 8 << 20
const MIB = 1 << 20
const CHUNK_BITS = 2 ** 32

interface MapExtent {
  readonly length: number
  readonly depth: number | null
}

/** A parent with 3 chunks, a child with 2 and one of them empty; served. */
async function serveChain(t: ExecutionContext): Promise<{ directory: string; server: Served }> {
  const directory = tempDirectory(t)
  const size = ['--size', String(SIZE), '--chunk-size', '1M']
  await chunknbd(t, ['create', 'base.chunkdisk', ...size], directory)
  await fill(t, directory, 'base', ['write -P 1 0 2M', 'write -P 2 5M 64k'])
  await chunknbd(t, ['create', 'child.chunkdisk', '--parent', 'base.chunkdisk'], directory)
  await fill(t, directory, 'child', ['discard 1M 1M', 'write -P 3 7M 4k'])
  return { directory, server: await serve(t, ['child.chunkdisk'], { cwd: directory }) }
}

async function fill(t: ExecutionContext, cwd: string, name: string, commands: readonly string[]) {
  const server = await serve(t, [`${name}.chunkdisk`], { cwd })
  const each = commands.flatMap((command) => ['-c', command])
  await run(t, 'qemu-io', ['-f', 'raw', ...each, server.uri])
  t.is(await server.stop(), 0)
}

/** Neighbours of equal value are one. */
function merged(rows: readonly (readonly [number, number])[]): [number, number][] {
  const result: [number, number][] = []
  for (const [length, value] of rows) {
    const last = result.at(-1)
    if (last?.[1] === value) last[0] += length
    else result.push([length, value])
  }
  return result
}

test('nbdinfo: the depth of each extent is that of the chain, as `map` has it', async (t) => {
  if (!requireTool(t, 'nbdinfo', 'qemu-io')) return
  const { directory, server } = await serveChain(t)
  const info = await run(t, 'nbdinfo', ['--map=qemu:allocation-depth', '--json', server.uri])
  const told = JSON.parse(info.stdout) as { length: number; type: number }[]
  const depths = told.map(({ length, type }) => [length / MIB, type])
  t.deepEqual(depths, [
    [1, 2],
    [1, 1],
    [3, 0],
    [1, 2],
    [1, 0],
    [1, 1],
  ])
  const { stdout } = await chunknbd(t, ['map', 'child.chunkdisk', '--json'], directory)
  const map = (JSON.parse(stdout) as MapExtent[]).map(({ length, depth }): [number, number] => [
    length / MIB,
    depth === null ? 0 : depth + 1,
  ])
  t.deepEqual(merged(map), depths as [number, number][])
})

test('qemu-img: what is here, what is below, and what nobody has', async (t) => {
  if (!requireTool(t, 'qemu-img', 'qemu-io')) return
  const { server } = await serveChain(t)
  const socket = /socket=(.*)$/.exec(server.uri)?.[1] ?? ''
  const options = `driver=nbd,server.type=unix,server.path=${socket}`
  const depth = 'x-dirty-bitmap=qemu:allocation-depth'
  const args = ['map', '--output=json', '--image-opts', `${options},${depth}`]
  const { stdout } = await run(t, 'qemu-img', args)
  const told = JSON.parse(stdout) as { length: number; zero: boolean; data: boolean }[]
  // QEMU shows it so: nobody has it { data }, here { }, below { zero, data }.
  const rows = told.map(({ length, zero, data }) => [length / MIB, zero, data])
  t.deepEqual(rows, [
    [1, true, true],
    [1, false, false],
    [3, false, true],
    [1, true, true],
    [1, false, true],
    [1, false, false],
  ])
})

test('our own contexts tell layer, part and chunk', async (t) => {
  if (!requireTool(t, 'nbdinfo', 'qemu-io')) return
  const { server } = await serveChain(t)
  const info = await run(t, 'nbdinfo', ['--map=x-chunknbd:part', '--json', server.uri])
  const told = JSON.parse(info.stdout) as { length: number; type: number }[]
  const [below, here] = [2 * 2 ** 20, 1 * 2 ** 20]
  t.deepEqual(
    told.map(({ length, type }) => [length / MIB, type]),
    [
      [1, below],
      [1, here],
      [3, 0],
      [1, below],
      [1, 0],
      [1, here],
    ],
  )
  const client = await RawClient.connect({ path: /socket=(.*)$/.exec(server.uri)?.[1] ?? '' })
  await client.handshake({ style: 'extended', contexts: ['x-chunknbd:chunk'] })
  const { extents } = await client.request({ command: 7, offset: 0, length: SIZE })
  const [wide] = extents.values()
  t.deepEqual(
    wide.map(({ length, flags }) => [length / MIB, flags]),
    [
      [1, below],
      [1, 1 * CHUNK_BITS + here],
      [3, 0],
      [1, 5 * CHUNK_BITS + below],
      [1, 0],
      [1, 7 * CHUNK_BITS + here],
    ],
  )
  await client.disconnect()
})

const ALL_AT_ONCE = `
import json, nbd, sys
h = nbd.NBD()
for name in ("qemu:allocation-depth", "x-chunknbd:part", "base:allocation"):
    h.add_meta_context(name)
h.connect_uri(sys.argv[1])
told = {}
def extent(name, offset, entries, error):
    told[name] = [[entries[i] / 2**20, entries[i + 1]] for i in range(0, len(entries), 2)]
h.block_status(h.get_size(), 0, extent)
h.shutdown()
print(json.dumps(told))
`

test('libnbd from Python: three contexts in one session, one answer to each', async (t) => {
  if (!requireTool(t, 'nbdsh', 'qemu-io')) return
  const { server } = await serveChain(t)
  const { stdout } = await run(t, '/usr/bin/python3', ['-c', ALL_AT_ONCE, server.uri])
  const [below, here] = [2 * 2 ** 20, 1 * 2 ** 20]
  const rows = (values: readonly number[]): number[][] =>
    [1, 1, 3, 1, 1, 1].map((length, index) => [length, values[index]])
  const told = JSON.parse(stdout) as Record<string, number[][]>
  t.deepEqual(told['qemu:allocation-depth'], rows([2, 1, 0, 2, 0, 1]))
  t.deepEqual(told['x-chunknbd:part'], rows([below, here, 0, below, 0, here]))
  t.deepEqual(told['base:allocation'].slice(0, 2), [
    [1, 0],
    [4, 3],
  ])
})
