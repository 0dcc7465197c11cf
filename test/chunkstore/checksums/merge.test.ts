/** Checksums when chunks go from one disk to another: commit, flatten, moving files by hand. */
import fs from 'node:fs'
import test from 'ava'
import { checkDisk, Rule } from '../../../chunkstore/check.ts'
import { commitDisk } from '../../../chunkstore/commit.ts'
import { flattenDisk } from '../../../chunkstore/flatten.ts'
import { scrubDisk } from '../../../chunkstore/scrub.ts'
import { sameBytes } from '../../helpers/bytes.ts'
import { DiskFolder, nodeFiles } from '../../helpers/chunk-disk.ts'
import { TestFiles } from '../../helpers/test-files.ts'
import type { Files } from '../../../io/io.ts'

const ENOSPC = 28
const PAGE = 4096
const CHUNK = 32 * PAGE
const SHAPE = { size: 6 * CHUNK, chunkSize: CHUNK }
const LAYERS = [
  [true, true],
  [true, false],
  [false, true],
] as const

const filled = (length: number, value: number): Uint8Array => new Uint8Array(length).fill(value)

/** A parent and a child, both with data; chunk 2 is trimmed in the child. */
async function made(folder: DiskFolder, base: boolean, child: boolean): Promise<Uint8Array> {
  folder.make('base', { ...SHAPE, checksums: base })
  const first = await folder.open('base')
  await first.client.write(0, filled(4 * CHUNK, 1))
  await first.disk.close()
  folder.make('child', { ...SHAPE, parent: 'base', checksums: child })
  const second = await folder.open('child')
  await second.client.write(PAGE, filled(PAGE, 2))
  await second.client.trim(2 * CHUNK, CHUNK)
  await second.client.write(4 * CHUNK, filled(CHUNK, 3))
  const image = await second.client.read(0, SHAPE.size)
  await second.disk.close()
  return image
}

/** Renames fail as between two file systems. */
function apart(files: Files): Files {
  return new Proxy(files, {
    get(target, name) {
      if (name !== 'rename') {
        const value = Reflect.get(target, name) as unknown
        return typeof value === 'function' ? (value.bind(target) as unknown) : value
      }
      return (from: string, to: string) => {
        const isWithin = from.includes('.tmp-')
        if (isWithin) return files.rename(from, to)
        return Promise.reject(Object.assign(new Error('EXDEV'), { code: 'EXDEV' }))
      }
    },
  })
}

async function isRight(
  t: import('ava').ExecutionContext,
  folder: DiskFolder,
  name: string,
  image: Uint8Array,
  verifiedMin = 3 * CHUNK,
): Promise<void> {
  const { client, disk } = await folder.open(name)
  sameBytes(t, await client.read(0, SHAPE.size), image)
  for (let pass = 0; pass < 3; pass++) await disk.settle()
  await disk.close()
  const file = folder.path(`${name}.chunkdisk`)
  if (!fs.readFileSync(file, 'utf8').includes('checksums')) return
  const { findings, layers } = await scrubDisk(nodeFiles(), file)
  t.deepEqual(findings, [])
  t.deepEqual(layers[0].unknownBytes, 0)
  t.true(layers[0].verifiedBytes >= verifiedMin)
  t.deepEqual(await checkDisk(nodeFiles(), file), [])
}

for (const [base, child] of LAYERS) {
  const title = `checksums in the parent: ${base}, in the child: ${child}`
  for (const how of ['renamed', 'copied']) {
    test(`commit, ${how}, ${title}`, async (t) => {
      const folder = new DiskFolder(t)
      const image = await made(folder, base, child)
      const files = how === 'renamed' ? nodeFiles() : apart(nodeFiles())
      await commitDisk(files, folder.path('child.chunkdisk'))
      await isRight(t, folder, 'base', image)
      await isRight(t, folder, 'child', image, 0)
      t.deepEqual(
        folder.list('child').filter((name) => name.startsWith('crc32c')),
        [],
      )
    })
  }

  test(`flatten, ${title}`, async (t) => {
    const folder = new DiskFolder(t)
    const image = await made(folder, base, child)
    await flattenDisk(nodeFiles(), folder.path('child.chunkdisk'))
    t.is(fs.readFileSync(folder.path('child.chunkdisk'), 'utf8').includes('checksums'), child)
    await isRight(t, folder, 'child', image)
  })
}

test('flatten and commit do not hand on what is damaged', async (t) => {
  const folder = new DiskFolder(t)
  await made(folder, true, true)
  const fd = fs.openSync(folder.path('base', 'chunk1'), 'r+')
  fs.writeSync(fd, filled(1, 77), 0, 1, 5 * PAGE)
  fs.closeSync(fd)
  const flattening = flattenDisk(nodeFiles(), folder.path('child.chunkdisk'))
  await t.throwsAsync(flattening, { message: /chunk1 does not match its checksum at 20480/ })
  // Renamed, it stays what it was: damaged.
  await commitDisk(nodeFiles(), folder.path('child.chunkdisk'))
  const { findings } = await scrubDisk(nodeFiles(), folder.path('base.chunkdisk'))
  t.like(findings, [{ position: 5 * PAGE, length: PAGE, offset: CHUNK + 5 * PAGE }])
})

test('chunk files may be moved between parts, with their checksum files or without', async (t) => {
  const folder = new DiskFolder(t)
  folder.make('a', { ...SHAPE, checksums: true, parts: { one: 6, two: 6 } })
  const first = await folder.open('a')
  await first.client.write(0, filled(3 * CHUNK, 4))
  await first.disk.close()
  for (const name of ['chunk0', 'chunk1', 'crc32c-1']) {
    fs.renameSync(folder.path('one', name), folder.path('two', name))
  }
  const { client, disk } = await folder.open('a')
  sameBytes(t, await client.read(0, 3 * CHUNK), filled(3 * CHUNK, 4))
  await client.write(0, filled(PAGE, 5))
  await client.write(CHUNK, filled(PAGE, 5))
  await disk.close()
  const { findings } = await scrubDisk(nodeFiles(), folder.path('a.chunkdisk'))
  t.deepEqual(findings, [])
  const again = await folder.open('a')
  sameBytes(t, await again.client.read(PAGE, CHUNK), filled(CHUNK, 4).fill(5, 31 * PAGE))
})

test('checksums of a copy that failed are gone when the chunk came to another part', async (t) => {
  const folder = new DiskFolder(t)
  folder.make('base', { ...SHAPE })
  const base = await folder.open('base')
  await base.client.write(0, filled(2 * CHUNK, 1))
  await base.disk.close()
  folder.make('a', { ...SHAPE, parent: 'base', checksums: true, parts: { one: 1, two: 6 } })
  const files = new TestFiles(nodeFiles())
  const { client, disk } = await folder.open('a', {}, files)
  files.fault = (call) => (call === 'sync .tmp-chunk0' ? 28 : 0)
  await t.throwsAsync(client.write(0, filled(PAGE, 2)), { message: /errno 28/ })
  files.fault = () => 0
  t.true(fs.existsSync(folder.path('one', 'crc32c-0')))
  await client.write(CHUNK, filled(PAGE, 2))
  await client.write(0, filled(PAGE, 2))
  await client.flush()
  await disk.close()
  const sums = (part: string) => folder.list(part).filter((name) => name.startsWith('crc32c'))
  t.deepEqual([sums('one'), sums('two')], [['crc32c-1 4096'], ['crc32c-0 4096']])
  const { findings } = await scrubDisk(nodeFiles(), folder.path('a.chunkdisk'))
  t.deepEqual(findings, [])
})

test('checksums of a copy whose rename failed are void when the chunk is trimmed', async (t) => {
  const folder = new DiskFolder(t)
  folder.make('base', { ...SHAPE })
  const base = await folder.open('base')
  await base.client.write(0, filled(CHUNK, 1))
  await base.disk.close()
  folder.make('a', { ...SHAPE, parent: 'base', checksums: true })
  const files = new TestFiles(nodeFiles())
  const { client, disk } = await folder.open('a', {}, files)
  files.fault = (call) => (call.startsWith('rename ') ? 28 : 0)
  await t.throwsAsync(client.write(0, filled(PAGE, 2)), { message: /errno 28/ })
  files.fault = () => 0
  await client.trim(0, CHUNK)
  await client.flush()
  await disk.close()
  const again = await folder.open('a')
  sameBytes(t, await again.client.read(0, CHUNK), filled(CHUNK, 0))
  await again.disk.close()
})

test('what cannot be had together is refused, and says what to leave out', async (t) => {
  const folder = new DiskFolder(t)
  folder.make('a', { ...SHAPE, checksums: true })
  const refused = { code: 'EPART', message: /a\.chunkdisk: .*checksums.*leave out --movable/ }
  await t.throwsAsync(folder.open('a', { movable: true }), refused)
  t.deepEqual(folder.openDescriptors(), [])
  const text = fs.readFileSync(folder.path('a.chunkdisk'), 'utf8')
  fs.writeFileSync(folder.path('a.chunkdisk'), text.replace('checksums crc32c\n', ''))
  const stray = { code: 'EPART', message: /has checksums, but .* has no line/ }
  await t.throwsAsync(folder.open('a'), stray)
  await t.throwsAsync(folder.open('a', { readOnly: true }), stray)
  const [finding] = await checkDisk(nodeFiles(), folder.path('a.chunkdisk'))
  t.is(finding.rule, Rule.CHECKSUMS)
  fs.rmSync(folder.path('a', 'checksums'))
  const { disk } = await folder.open('a')
  await disk.close()
  fs.writeFileSync(folder.path('a.chunkdisk'), text.replace('crc32c', 'sha256'))
  const unknown = { code: 'EDESCRIPTOR', message: /line 4: unknown checksums "sha256"/ }
  await t.throwsAsync(folder.open('a'), unknown)
})

test('check knows the files of checksums', async (t) => {
  const folder = new DiskFolder(t)
  const file = folder.make('a', { ...SHAPE, checksums: true })
  t.deepEqual(await checkDisk(nodeFiles(), file), [])
  const marks = folder.path('a', 'checksums')
  const rules = async (): Promise<string[]> =>
    (await checkDisk(nodeFiles(), file)).map((each) => `${each.rule}: ${each.message}`)
  fs.writeFileSync(folder.path('a', 'crc32c-6'), '')
  t.deepEqual(await rules(), ['orphan: the disk has only 6 chunks'])
  fs.rmSync(folder.path('a', 'crc32c-6'))
  const good = fs.readFileSync(marks)
  fs.writeFileSync(marks, Buffer.concat([good, Buffer.alloc(4096 - good.length), filled(512, 1)]))
  t.deepEqual(await rules(), [
    'checksums: 1 sectors are damaged: who has a mark there is not known',
  ])
  fs.writeFileSync(marks, good.fill(0, 30, 31))
  t.regex((await rules()).join('\n'), /^checksums: .*it is damaged: .*scrub --rebuild/)
  fs.rmSync(marks)
  t.deepEqual(await rules(), ['checksums: it is missing'])
})

for (const [name, merge] of [
  ['commit', commitDisk],
  ['flatten', flattenDisk],
] as const) {
  test(`${name}: what is done to a file and fails is named, with the file`, async (t) => {
    const tried = new Set<string>()
    for (let isDone = false; !isDone;) {
      const folder = new DiskFolder(t)
      await made(folder, true, true)
      const files = new TestFiles(nodeFiles())
      let failed = ''
      files.fault = (call) => {
        const kind = /^(read|write|sync|truncate|syncDirectory) [a-z]+/.exec(call)?.[0]
        if (kind === undefined || tried.has(kind) || failed !== '') return 0
        tried.add(kind)
        failed = kind
        return ENOSPC
      }
      const merging = merge(apart(files), folder.path('child.chunkdisk'))
      const error = await merging.then(
        () => null,
        (reason: NodeJS.ErrnoException) => reason,
      )
      isDone = failed === ''
      if (error === null) continue
      t.true(['ENOSPC', 'EPART', 'EIO'].includes(error.code ?? ''), `${failed}: ${error.stack}`)
      t.true(error.message.includes(folder.directory), `${failed}: ${error.message}`)
    }
    t.true(tried.size > 5, [...tried].join(', '))
  })
}
