/** commit and flatten: what they print, and how they refuse. */
import fs from 'node:fs'
import { join } from 'node:path'
import test, { type ExecutionContext } from 'ava'
import { makeDisk } from '../helpers/chunks.ts'
import { tempDirectory } from '../helpers/temp.ts'
import { runInProcess } from './in-process.ts'

const CHUNK = 65_536

/** base with chunks 0 and 1, child with another 1 and an empty 2. */
async function pair(t: ExecutionContext): Promise<string> {
  const directory = tempDirectory(t)
  const base = join(directory, 'base.chunkdisk')
  await makeDisk(base, { size: '256K', chunkSize: '64K' })
  await makeDisk(join(directory, 'child.chunkdisk'), { parent: base })
  const chunk = (layer: string, index: number, data: Uint8Array): void =>
    fs.writeFileSync(join(directory, `${layer}.chunks`, `chunk${index}`), data)
  chunk('base', 0, Buffer.alloc(CHUNK, 1))
  chunk('base', 1, Buffer.alloc(CHUNK, 1))
  chunk('child', 1, Buffer.alloc(CHUNK, 2))
  chunk('child', 2, Buffer.alloc(0))
  return directory
}

const names = (directory: string, part: string): string[] =>
  fs.readdirSync(join(directory, part)).sort()

test.serial('commit says where the chunks went', async (t) => {
  const directory = await pair(t)
  const result = await runInProcess(directory, 'commit', 'child.chunkdisk')
  t.is(
    result.stdout,
    `committed child.chunkdisk to ${directory}/base.chunkdisk: 2 chunks moved, 0 copied\n`,
  )
  t.deepEqual([result.status, result.stderr], [0, ''])
  t.deepEqual(names(directory, 'base.chunks'), ['chunk0', 'chunk1', 'chunk2'])
  t.deepEqual(names(directory, 'child.chunks'), [])
  t.is(fs.readFileSync(join(directory, 'base.chunks/chunk1'))[0], 2)
})

test.serial('commit --json: the same for programs', async (t) => {
  const directory = await pair(t)
  const { stdout } = await runInProcess(directory, 'commit', 'child.chunkdisk', '--json')
  t.deepEqual(JSON.parse(stdout), {
    file: join(directory, 'child.chunkdisk'),
    parent: join(directory, 'base.chunkdisk'),
    moved: 2,
    copied: 0,
  })
})

test.serial('commit stops for a sibling, and goes on with --break-siblings', async (t) => {
  const directory = await pair(t)
  await makeDisk(join(directory, 'other.chunkdisk'), { parent: join(directory, 'base.chunkdisk') })
  const refused = await runInProcess(directory, 'commit', 'child.chunkdisk')
  t.deepEqual([refused.status, refused.stdout], [1, ''])
  t.regex(refused.stderr, /^chunknbd: \S+\/other\.chunkdisk: stands on .* --break-siblings\n$/)
  const forced = await runInProcess(directory, 'commit', 'child.chunkdisk', '--break-siblings')
  t.is(forced.status, 0)
})

test.serial('flatten says how many chunks were copied, and the parent is gone', async (t) => {
  const directory = await pair(t)
  const result = await runInProcess(directory, 'flatten', 'child.chunkdisk')
  t.is(result.stdout, 'flattened child.chunkdisk: 1 chunks copied, no parent any more\n')
  t.deepEqual([result.status, result.stderr], [0, ''])
  t.is(
    fs.readFileSync(join(directory, 'child.chunkdisk'), 'utf8'),
    '262144\n65536\n4 child.chunks\n',
  )
  t.deepEqual(names(directory, 'child.chunks'), ['chunk0', 'chunk1', 'chunk2'])
  const again = await runInProcess(directory, 'flatten', 'child.chunkdisk')
  t.is(again.status, 1)
  t.regex(again.stderr, /child\.chunkdisk: it has no parent, it is independent already\n$/)
})

test.serial('flatten --json: the same for programs', async (t) => {
  const directory = await pair(t)
  const { stdout } = await runInProcess(directory, 'flatten', 'child.chunkdisk', '--json')
  t.deepEqual(JSON.parse(stdout), {
    file: join(directory, 'child.chunkdisk'),
    parent: join(directory, 'base.chunkdisk'),
    copied: 1,
  })
})
