/** info, map and check on disks of every kind: what they print, for people and as JSON. */
import { mkdirSync, renameSync, truncateSync, unlinkSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import test, { type ExecutionContext } from 'ava'
import { createIo } from '../../io/engine.ts'
import { makeDisk } from '../helpers/chunks.ts'
import { directRefusal } from '../helpers/direct.ts'
import { tempDirectory } from '../helpers/temp.ts'
import { runInProcess } from './in-process.ts'

const K = 1024
const { io, reason } = createIo()
const CHUNK = 64 * K

/**
 * base: chunk 0 full, 1 empty. child: 1 full with a hole in the middle, 2 empty, 9 full (the last,
 * half of it beyond the end). The disks have 9.5 chunks.
 */
async function chain(t: ExecutionContext): Promise<string> {
  const directory = tempDirectory(t)
  const base = join(directory, 'base.chunkdisk')
  await makeDisk(base, { size: '608K', chunkSize: '64K' })
  await makeDisk(join(directory, 'child.chunkdisk'), { parent: base })
  const chunk = (layer: string, index: number, data: Uint8Array): void =>
    writeFileSync(join(directory, `${layer}.chunks`, `chunk${index}`), data)
  const full = Buffer.alloc(CHUNK, 1)
  chunk('base', 0, full)
  chunk('base', 1, Buffer.alloc(0))
  chunk('child', 1, full.subarray(0, 16 * K))
  truncateSync(join(directory, 'child.chunks/chunk1'), CHUNK)
  chunk('child', 2, Buffer.alloc(0))
  chunk('child', 9, full)
  return directory
}

async function printed(t: ExecutionContext, directory: string, ...args: readonly string[]) {
  const { status, stdout, stderr } = await runInProcess(directory, ...args)
  t.deepEqual([status, stderr], [0, ''])
  return stdout
}

test.serial('info: sizes, chunks, parts and parents, for people', async (t) => {
  const directory = await chain(t)
  const text = await printed(t, directory, 'info', 'child.chunkdisk')
  const expected = `file        ${directory}/child.chunkdisk
size        608K (622592 bytes)
chunks      10 of 64K
present     2 full, 1 empty, 7 absent
allocated   80K (81920 bytes)
engine      ${io.name} (${reason})
holes       punched inside chunk files
O_DIRECT    ${directRefusal || 'can be used (serve --cache none)'}
page cache  64M

parts
  ${directory}/child.chunks  3 of at most 10 chunks  80K allocated

parent 1: ${directory}/base.chunkdisk (1 full, 1 empty, 8 absent)
  ${directory}/base.chunks  2 of at most 10 chunks  64K allocated
`
  t.is(text, expected)
})

test.serial('info --json: the same for programs', async (t) => {
  const directory = await chain(t)
  const text = await printed(t, directory, 'info', 'child.chunkdisk', '--json')
  const { layers, features, ...geometry } = JSON.parse(text) as Record<string, never>
  t.deepEqual(geometry, { diskSize: 622592, chunkSize: 65536, chunkCount: 10 })
  const can = { direct: directRefusal === '', directRefusal, holePunching: true, sparseMaps: true }
  t.like(features, { engine: io.name, engineReason: reason, pageCache: '64M', ...can })
  t.like(layers, {
    length: 2,
    0: {
      file: `${directory}/child.chunkdisk`,
      chunks: { absent: 7, empty: 1, full: 2, damaged: 0 },
      allocatedBytes: 81920,
      parts: {
        0: { directory: `${directory}/child.chunks`, chunksMax: 10, chunkFiles: 3 },
      },
    },
    1: {
      file: `${directory}/base.chunkdisk`,
      chunks: { absent: 8, empty: 1, full: 1, damaged: 0 },
    },
  })
})

test.serial('info counts a damaged chunk and shows the parts that are full', async (t) => {
  const directory = tempDirectory(t)
  writeFileSync(join(directory, 'd'), '256K\n64K\n1 a\n4 b c\n')
  for (const part of ['a', 'b c']) mkdirSync(join(directory, part))
  writeFileSync(join(directory, 'a/chunk3'), 'x')
  writeFileSync(join(directory, 'b c/chunk0'), Buffer.alloc(CHUNK, 1))
  const text = await printed(t, directory, 'info', 'd')
  t.regex(text, /\npresent +1 full, 0 empty, 2 absent, 1 damaged\n/)
  t.regex(text, new RegExp(`\n +${directory}/a +1 of at most 1 chunks +\\w+ allocated\n`))
  t.regex(text, new RegExp(`\n +${directory}/b c +1 of at most 4 chunks +64K allocated\n`))
})

test.serial('map: data, zeros and holes, and the layer each is from', async (t) => {
  const directory = await chain(t)
  const [child, base] = [`${directory}/child.chunkdisk`, `${directory}/base.chunkdisk`]
  const extents = [
    [0, 64 * K, 'data', 1, base],
    [64 * K, 16 * K, 'data', 0, child],
    [80 * K, 112 * K, 'zero', 0, child],
    [192 * K, 384 * K, 'hole', null, null],
    [576 * K, 32 * K, 'data', 0, child],
  ]
  const json = await printed(t, directory, 'map', '--json', 'child.chunkdisk')
  const named = extents.map(([offset, length, kind, depth, layer]) => ({
    offset,
    length,
    kind,
    depth,
    layer,
  }))
  t.deepEqual(JSON.parse(json), named)
  const text = await printed(t, directory, 'map', 'child.chunkdisk')
  const rows = text.split('\n').map((line) => line.split(/ +/))
  t.deepEqual(rows, [
    ['OFFSET', 'LENGTH', 'KIND', 'DEPTH', 'LAYER'],
    ...extents.map((extent) => extent.map((cell) => String(cell ?? '-'))),
    [''],
  ])
})

test.serial('map: a disk without chunks is one hole, a damaged chunk counts as data', async (t) => {
  const directory = tempDirectory(t)
  await makeDisk(join(directory, 'd'), { size: '1T', chunkSize: '64K' })
  t.deepEqual(JSON.parse(await printed(t, directory, 'map', 'd', '--json')), [
    { offset: 0, length: 1024 ** 4, kind: 'hole', depth: null, layer: null },
  ])
  writeFileSync(join(directory, 'd.chunks/chunk0'), 'x')
  const text = await printed(t, directory, 'map', 'd')
  t.regex(text, /^0 +65536 +data +0 +\S+\/d$/m)
})

test.serial('check: nothing to find', async (t) => {
  const directory = await chain(t)
  t.is(await printed(t, directory, 'check', 'child.chunkdisk'), 'child.chunkdisk: ok\n')
  const json = await printed(t, directory, 'check', 'child.chunkdisk', '--json')
  t.deepEqual(JSON.parse(json), { file: 'child.chunkdisk', ok: true, findings: [] })
})

interface Finding {
  readonly rule: string
  readonly file: string
  readonly message: RegExp
}

/** Damages a chain of two disks; check finds exactly `findings`, `@` is its directory. */
const finds = test.macro<[damage: (directory: string) => void, findings: readonly Finding[]]>({
  exec: async (t, damage, findings) => {
    const directory = await chain(t)
    damage(directory)
    const json = await runInProcess(directory, 'check', 'child.chunkdisk', '--json')
    const people = await runInProcess(directory, 'check', 'child.chunkdisk')
    for (const { status, stderr } of [json, people]) t.deepEqual([status, stderr], [1, ''])
    const found = JSON.parse(json.stdout) as { ok: boolean; findings: Record<string, string>[] }
    t.false(found.ok)
    const places = findings.map(({ rule, file }) => [rule, file.replace('@', directory)])
    t.deepEqual(
      found.findings.map(({ rule, file }) => [rule, file]),
      places,
    )
    const lines = people.stdout.trimEnd().split('\n')
    t.is(lines.length, findings.length)
    for (const [index, { message }] of findings.entries()) {
      t.regex(found.findings[index].message, message)
      t.is(
        lines[index],
        `${places[index][1]}: ${places[index][0]}: ${found.findings[index].message}`,
      )
    }
  },
  title: (_, _damage, findings) =>
    `check finds: ${findings.map(({ rule, message }) => `${rule} (${message.source})`).join(', ')}`,
})

test.serial(finds, (directory) => unlinkSync(join(directory, 'child.chunkdisk')), [
  { rule: 'descriptor', file: '@/child.chunkdisk', message: /no such file/ },
])
test.serial(finds, (directory) => writeFileSync(join(directory, 'child.chunkdisk'), '1M\n0\n'), [
  { rule: 'descriptor', file: '@/child.chunkdisk', message: /line 2: the chunk size is 0 bytes/ },
])
test.serial(finds, (directory) => unlinkSync(join(directory, 'base.chunkdisk')), [
  { rule: 'parent-mismatch', file: '@/base.chunkdisk', message: /no such file/ },
])
test.serial(
  finds,
  (directory) => writeFileSync(join(directory, 'base.chunkdisk'), '608K\n128K\n5 other\n'),
  [
    { rule: 'parent-mismatch', file: '@/base.chunkdisk', message: /622592 and 131072, its child/ },
    { rule: 'part', file: '@/other', message: /does not exist/ },
  ],
)
test.serial(
  finds,
  (directory) =>
    writeFileSync(
      join(directory, 'base.chunkdisk'),
      'child.chunkdisk\n608K\n64K\n10 base.chunks\n',
    ),
  [{ rule: 'parent-mismatch', file: '@/child.chunkdisk', message: /comes back to this file/ }],
)
test.serial(
  finds,
  (directory) => renameSync(join(directory, 'child.chunks'), join(directory, 'elsewhere')),
  [{ rule: 'part', file: '@/child.chunks', message: /does not exist; create it or mount/ }],
)
test.serial(
  finds,
  (directory) => writeFileSync(join(directory, 'base.chunkdisk'), '608K\n64K\n10 child.chunks\n'),
  [{ rule: 'duplicate-part', file: '@/child.chunks', message: /already a part: .*child\.chunks/ }],
)
test.serial(
  finds,
  (directory) => {
    mkdirSync(join(directory, 'more'))
    writeFileSync(join(directory, 'more/chunk2'), '')
    const text = 'base.chunkdisk\n608K\n64K\n3 child.chunks\n10 more\n'
    writeFileSync(join(directory, 'child.chunkdisk'), text)
  },
  [
    {
      rule: 'duplicate-chunk',
      file: '@/more/chunk2',
      message: /the same chunk is at .*child\.chunks\/chunk2/,
    },
  ],
)
test.serial(finds, (directory) => truncateSync(join(directory, 'child.chunks/chunk9'), 32 * K), [
  {
    rule: 'wrong-size',
    file: '@/child.chunks/chunk9',
    message: /it has 32768 bytes; a chunk has 0 or 65536/,
  },
])
test.serial(finds, (directory) => mkdirSync(join(directory, 'base.chunks/chunk4')), [
  { rule: 'wrong-size', file: '@/base.chunks/chunk4', message: /not a file/ },
])
test.serial(
  finds,
  (directory) => {
    mkdirSync(join(directory, 'more'))
    const text = 'base.chunkdisk\n608K\n64K\n2 child.chunks\n10 more\n'
    writeFileSync(join(directory, 'child.chunkdisk'), text)
  },
  [{ rule: 'too-many', file: '@/child.chunks', message: /3 chunk files, the quota is 2/ }],
)
test.serial(finds, (directory) => writeFileSync(join(directory, 'child.chunks/chunk10'), ''), [
  { rule: 'orphan', file: '@/child.chunks/chunk10', message: /the disk has only 10 chunks/ },
])
test.serial(finds, (directory) => writeFileSync(join(directory, 'child.chunks/.tmp-chunk3'), ''), [
  {
    rule: 'stale-temporary',
    file: '@/child.chunks/.tmp-chunk3',
    message: /left by a crash; the next writer removes it/,
  },
])
test.serial(
  finds,
  (directory) => {
    writeFileSync(join(directory, 'child.chunks/chunk99'), '')
    truncateSync(join(directory, 'child.chunks/chunk1'), 1)
    truncateSync(join(directory, 'base.chunks/chunk0'), 2)
  },
  [
    { rule: 'wrong-size', file: '@/child.chunks/chunk1', message: /1 bytes/ },
    { rule: 'orphan', file: '@/child.chunks/chunk99', message: /10 chunks/ },
    { rule: 'wrong-size', file: '@/base.chunks/chunk0', message: /2 bytes/ },
  ],
)
