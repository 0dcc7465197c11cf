/**
 * Extended headers with real clients. Debian 12 has none that ask for them: libnbd does since 1.18,
 * QEMU since 8.2. NEWER_CLIENTS names a directory with nbdinfo, nbdcopy, qemu-io and qemu-img.
 */
import { writeFileSync } from 'node:fs'
import { join } from 'node:path'
import test from 'ava'
import type { ExecutionContext } from 'ava'
import { chunknbd } from '../helpers/chunks.ts'
import { Random, seedFor } from '../helpers/random.ts'
import { serve } from '../helpers/serve.ts'
import { tempDirectory } from '../helpers/temp.ts'
import { attempt, run } from '../helpers/tools.ts'

const GIB = 2 ** 30
const MIB = 2 ** 20
const DIRECTORY = process.env.NEWER_CLIENTS ?? '/usr/bin'
const NBDINFO = join(DIRECTORY, 'nbdinfo')
const [NBDCOPY, QEMU_IO] = [join(DIRECTORY, 'nbdcopy'), join(DIRECTORY, 'qemu-io')]
const QEMU_IMG = join(DIRECTORY, 'qemu-img')

/** @returns false if the test has to return at once */
async function requireVersion(t: ExecutionContext, tool: string, least: number): Promise<boolean> {
  const told = await attempt(t, tool, ['--version']).catch(() => null)
  const [, major, minor] = /(\d+)\.(\d+)/.exec(told?.stdout ?? '') ?? []
  if (Number(major) * 100 + Number(minor) >= least) return true
  t.log(`SKIPPED: ${tool} is too old for extended headers, or missing; see NEWER_CLIENTS`)
  t.pass()
  return false
}

/** A disk of 20 GiB. */
async function serveLarge(t: ExecutionContext): Promise<{ directory: string; uri: string }> {
  const directory = tempDirectory(t)
  const size = ['--size', '20G', '--chunk-size', '64M']
  await chunknbd(t, ['create', 'd.chunkdisk', ...size], directory)
  const { uri } = await serve(t, ['d.chunkdisk'], { cwd: directory })
  return { directory, uri }
}

test('libnbd from 1.18 on: extents of more than 4 GiB, copies in and out', async (t) => {
  if (!(await requireVersion(t, NBDINFO, 118))) return
  const { directory, uri } = await serveLarge(t)
  t.regex((await run(t, NBDINFO, [uri])).stdout, /extended packets/)
  const data = new Random(seedFor(t)).bytes(9 * MIB + 4096)
  writeFileSync(join(directory, 'in'), data)
  await run(t, NBDCOPY, ['in', uri], { cwd: directory })
  const { stdout } = await run(t, NBDINFO, ['--map', '--json', uri])
  const told = JSON.parse(stdout) as { length: number; type: number }[]
  t.deepEqual(
    told.map(({ length, type }) => [length, type]),
    [
      [data.length, 0],
      [20 * GIB - data.length, 3],
    ],
  )
  const depths = await run(t, NBDINFO, ['--map=qemu:allocation-depth', '--totals', uri])
  t.regex(depths.stdout, /^\s*67108864\s.*\s1\s/m)
  const chunks = await run(t, NBDINFO, ['--map=x-chunknbd:chunk', '--json', uri])
  const [first] = JSON.parse(chunks.stdout) as { length: number; type: number }[]
  t.deepEqual([first.length, first.type], [64 * MIB, 2 ** 20])
  await run(t, NBDCOPY, [uri, 'out'], { cwd: directory })
  await run(t, 'cmp', ['-n', String(data.length), 'in', 'out'], { cwd: directory })
})

test('QEMU from 8.2 on: writes, zeros and discards of up to 2 GiB, and its map', async (t) => {
  if (!(await requireVersion(t, QEMU_IO, 802))) return
  const { directory, uri } = await serveLarge(t)
  const commands = [
    'write -P 5 6G 1M',
    'write -z -u -n 1G 2G',
    'read -P 5 6G 1M',
    'discard 0 1G',
    'write -P 7 9G 64k',
    'write -P 8 -f 10G 33k',
    'flush',
    'read -P 8 10G 33k',
    'read -P 0 1G 1M',
    'read -P 7 9G 64k',
  ].flatMap((command) => ['-c', command])
  const { stdout } = await run(t, QEMU_IO, ['-f', 'raw', ...commands, uri])
  t.notRegex(stdout, /fail|error/i)
  await run(t, QEMU_IMG, ['convert', '-f', 'raw', '-O', 'qcow2', uri, 'out.qcow2'], {
    cwd: directory,
  })
  await run(t, QEMU_IMG, ['compare', '-f', 'qcow2', '-F', 'raw', 'out.qcow2', uri], {
    cwd: directory,
  })
  const map = await run(t, QEMU_IMG, ['map', '-f', 'raw', '--output=json', uri])
  const told = JSON.parse(map.stdout) as { start: number; length: number; data: boolean }[]
  t.deepEqual(
    told.filter(({ data }) => data).map(({ start, length }) => [start, length]),
    [
      [6 * GIB, MIB],
      [9 * GIB, 65_536],
      [10 * GIB, 36_864],
    ],
  )
})
