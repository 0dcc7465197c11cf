/** What a resize refuses, with the fix, and what it does about part directories. */
import fs from 'node:fs'
import test, { type ExecutionContext } from 'ava'
import type { DiskErrorCode } from '../../chunkstore/disk-error.ts'
import type { ResizeOptions } from '../../chunkstore/resize.ts'
import { DiskFolder, nodeFiles } from '../helpers/chunk-disk.ts'
import { TestFiles } from '../helpers/test-files.ts'

const CHUNK = 65_536
const PAGE = 4096
const SHAPE = { size: 4 * CHUNK, chunkSize: CHUNK }

const filled = (length: number, value = 7): Uint8Array => new Uint8Array(length).fill(value)

type Options = Partial<ResizeOptions> & { readonly size: number }

/** Asserts that it is refused, that nothing changes by it, and that the disk goes on. */
async function refuses(
  t: ExecutionContext,
  folder: DiskFolder,
  options: Options,
  code: DiskErrorCode,
  ...words: RegExp[]
): Promise<void> {
  const text = fs.readFileSync(folder.path('a.chunkdisk'), 'utf8')
  const others = (): string[] =>
    folder.fingerprint('a').filter((line) => !line.startsWith('chunk3 '))
  const before = others()
  const { disk, client } = await folder.open('a')
  const error = await t.throwsAsync(disk.resize(options), { code })
  for (const word of words) t.regex(error.message, word)
  t.is(disk.size, 4 * CHUNK)
  await client.write(4 * CHUNK - PAGE, filled(PAGE))
  await client.trim(3 * CHUNK, CHUNK)
  await disk.close()
  t.is(fs.readFileSync(folder.path('a.chunkdisk'), 'utf8'), text)
  t.deepEqual(others(), before)
  t.deepEqual(folder.openDescriptors(), [])
}

test('sizes that no disk can have', async (t) => {
  const folder = new DiskFolder(t)
  folder.make('a', SHAPE)
  await refuses(t, folder, { size: CHUNK + 1 }, 'EDESCRIPTOR', /multiple of 4096 above 0/)
  await refuses(t, folder, { size: CHUNK - PAGE }, 'EDESCRIPTOR', /at least one chunk, here 64K;/)
  await refuses(t, folder, { size: 2 ** 53 }, 'EDESCRIPTOR', /a\.chunkdisk: the disk size is/)
})

test('a disk that stands on another one', async (t) => {
  const folder = new DiskFolder(t)
  folder.make('base', SHAPE)
  folder.make('a', { ...SHAPE, parent: 'base' })
  const flatten = /base\.chunkdisk, and both must have the same size; .*first: chunknbd flatten/
  await refuses(t, folder, { size: 5 * CHUNK }, 'ECHAIN', flatten)
})

test('a disk that another one stands on, beside it', async (t) => {
  const folder = new DiskFolder(t)
  folder.make('a', SHAPE)
  folder.make('child', { ...SHAPE, parent: 'a' })
  folder.make('other', SHAPE)
  const flatten = /\/child\.chunkdisk stands on it, .* make that independent first: chunknbd flat/
  await refuses(t, folder, { size: 5 * CHUNK }, 'ECHAIN', flatten)
})

test('a disk that is open for reading', async (t) => {
  const folder = new DiskFolder(t)
  folder.make('a', SHAPE)
  const { disk } = await folder.open('a', { readOnly: true })
  await t.throwsAsync(disk.resize({ size: 5 * CHUNK }), { code: 'EINUSE', message: /reading only/ })
})

test('a disk whose chunk files may be moved at any time', async (t) => {
  const folder = new DiskFolder(t)
  folder.make('a', SHAPE)
  const { disk } = await folder.open('a', { movable: true })
  for (const size of [3 * CHUNK, 5 * CHUNK]) {
    const error = await t.throwsAsync(disk.resize({ size }), { code: 'EINUSE' })
    t.regex(error.message, /\/a\.chunkdisk: .*--movable.*; stop its server, then resize it/)
  }
  t.is(disk.size, 4 * CHUNK)
})

test('a disk whose descriptor was changed, or is gone', async (t) => {
  for (const change of [
    (file: string) => fs.appendFileSync(file, '# mine\n'),
    (file: string) => fs.rmSync(file),
    (file: string) => {
      fs.copyFileSync(file, `${file}.new`)
      fs.renameSync(`${file}.new`, file)
    },
  ]) {
    const folder = new DiskFolder(t)
    const file = folder.make('a', SHAPE)
    const { disk } = await folder.open('a')
    change(file)
    const error = await t.throwsAsync(disk.resize({ size: 5 * CHUNK }), { code: 'EINUSE' })
    t.is(error.message, `${file} was changed since the disk was opened; open it again first`)
    t.is(disk.size, 4 * CHUNK)
  }
})

test('files that would become part of the disk', async (t) => {
  const folder = new DiskFolder(t)
  folder.make('a', { ...SHAPE, parts: { a: 100, b: 100 } })
  fs.writeFileSync(folder.path('b', 'CHUNK5'), '')
  const aside = /b\/CHUNK5 is beyond the end now, .*; "chunknbd check --repair" moves it aside/
  await refuses(t, folder, { size: 6 * CHUNK }, 'EPART', aside)
  const { disk } = await folder.open('a')
  t.is((await disk.resize({ size: 5 * CHUNK })).size, 5 * CHUNK)
})

test('a damaged chunk where the end is, or in the tail', async (t) => {
  const folder = new DiskFolder(t)
  folder.make('a', SHAPE)
  fs.writeFileSync(folder.path('a', 'chunk1'), 'x')
  const inIt = /chunk1 is damaged, and the end of the disk is in it; bring the file back first/
  const size = 1.5 * CHUNK
  await refuses(t, folder, { size, discardTail: true }, 'EPART', inIt)
  await refuses(t, folder, { size: CHUNK }, 'EPART', /chunk1 is damaged, so nobody can say what/)
  const { disk } = await folder.open('a')
  await disk.resize({ size: CHUNK, discardTail: true })
  t.deepEqual(folder.list('a'), [])
})

test('parts that have no room for all chunks', async (t) => {
  const folder = new DiskFolder(t)
  folder.make('a', { ...SHAPE, parts: { a: 2, b: 3 } })
  const fix = /would have 6 chunks, its parts hold 5; --part DIR:MAX_CHUNKS raises .* or adds one/
  await refuses(t, folder, { size: 6 * CHUNK }, 'EPART', fix)
  const { disk } = await folder.open('a')
  t.is((await disk.resize({ size: 5 * CHUNK })).size, 5 * CHUNK)
})

test('a part that had room for every chunk keeps it, others keep their number', async (t) => {
  const folder = new DiskFolder(t)
  const file = folder.make('a', { ...SHAPE, parts: { a: 3, b: 4, c: 7 } })
  const { disk } = await folder.open('a')
  await disk.resize({ size: 6 * CHUNK })
  t.is(fs.readFileSync(file, 'utf8'), `${6 * CHUNK}\n65536\n3 a\n6 b\n7 c\n`)
  await disk.resize({ size: CHUNK })
  t.is(fs.readFileSync(file, 'utf8'), `${CHUNK}\n65536\n3 a\n6 b\n7 c\n`)
})

test('parts are added, and their numbers changed, while the disk is in use', async (t) => {
  const folder = new DiskFolder(t)
  const file = folder.make('a', { ...SHAPE, parts: { a: 2, b: 2 } })
  const { disk, client } = await folder.open('a')
  await client.write(0, filled(4 * CHUNK))
  const parts = [
    { directory: folder.path('b'), isRelative: false, chunksMax: 3 },
    { directory: folder.path('new', 'c d'), isRelative: true, chunksMax: 1 },
    { directory: folder.path('e'), isRelative: false, chunksMax: null },
  ]
  await disk.resize({ size: 7 * CHUNK, parts })
  const text = `${7 * CHUNK}\n65536\n2 a\n3 b\n1 new/c d\n7 ${folder.path('e')}\n`
  t.is(fs.readFileSync(file, 'utf8'), text)
  await client.write(4 * CHUNK, filled(3 * CHUNK, 8))
  t.deepEqual(folder.list('b'), ['chunk2 65536', 'chunk3 65536', 'chunk4 65536'])
  t.deepEqual(folder.list('new/c d'), ['chunk5 65536'])
  t.deepEqual(folder.list('e'), ['chunk6 65536'])
  // They are locked like the others, for who uses only one of them, too.
  folder.make('other', { parts: { other: 100, e: 100 } })
  await t.throwsAsync(folder.open('other'), { code: 'EINUSE' })
  await disk.close()
  const again = await folder.open('a')
  t.deepEqual(
    await again.client.read(0, 7 * CHUNK),
    concat(filled(4 * CHUNK), filled(3 * CHUNK, 8)),
  )
})

function concat(...arrays: Uint8Array[]): Uint8Array {
  return new Uint8Array(Buffer.concat(arrays))
}

test('parts that cannot be added', async (t) => {
  const folder = new DiskFolder(t)
  folder.make('a', { ...SHAPE, parts: { a: 4 } })
  folder.make('other')
  fs.writeFileSync(folder.path('other', 'chunk9'), '')
  fs.mkdirSync(folder.path('windows'))
  fs.writeFileSync(folder.path('windows', '.lock'), '')
  const add = (...names: string[]): Options => ({
    size: 5 * CHUNK,
    parts: names.map((name) => ({
      directory: folder.path(name),
      isRelative: true,
      chunksMax: 1,
    })),
  })
  const another = /other belongs to some other disk; choose an empty directory/
  await refuses(t, folder, add('other'), 'EPART', another)
  fs.rmSync(folder.path('other', 'chunk9'))
  const beside = /other belongs to the disk .*other\.chunkdisk; choose another directory/
  await refuses(t, folder, add('other'), 'EPART', beside)
  await refuses(t, folder, add('windows'), 'EINUSE', /windows\/\.lock exists: chunkdisk uses/)
  await refuses(t, folder, add('n', 'a/../n'), 'EPART', /given twice/)
  await refuses(t, folder, add('a.chunkdisk'), 'EPART', /cannot be made: EEXIST/)
  await refuses(t, folder, add('x\ny'), 'EPART', /"[^"]*x\\ny" has a line break/)
  const { disk } = await folder.open('a')
  await folder.open('other')
  const taken = await t.throwsAsync(disk.resize(add('other')), { code: 'EINUSE' })
  t.regex(taken.message, /other cannot be opened for writing: it is in use by this process/)
})

test('a number below the chunk files a part holds', async (t) => {
  const folder = new DiskFolder(t)
  folder.make('a', { ...SHAPE, parts: { a: 4, b: 4 } })
  const { disk, client } = await folder.open('a')
  await client.write(0, filled(2 * CHUNK))
  const parts = [{ directory: folder.path('a'), isRelative: true, chunksMax: 1 }]
  const error = await t.throwsAsync(disk.resize({ size: 4 * CHUNK, parts }), { code: 'EPART' })
  t.regex(error.message, /\/a holds 2 chunk files, more than 1; give a higher number/)
  await disk.resize({ size: 4 * CHUNK, parts: [{ ...parts[0], chunksMax: 2 }] })
  await client.write(2 * CHUNK, filled(CHUNK))
  t.deepEqual(folder.list('b'), ['chunk2 65536'])
})

test('a descriptor reached by a symbolic link stays where it is', async (t) => {
  const folder = new DiskFolder(t)
  const file = folder.make('a', SHAPE)
  fs.chmodSync(file, 0o640)
  fs.symlinkSync('a.chunkdisk', folder.path('link.chunkdisk'))
  const { disk } = await folder.open('link')
  await disk.resize({ size: 5 * CHUNK })
  await disk.resize({ size: 6 * CHUNK })
  await disk.close()
  t.true(fs.lstatSync(folder.path('link.chunkdisk')).isSymbolicLink())
  t.is(fs.statSync(file).mode & 0o777, 0o640)
  t.is((await folder.open('a')).disk.size, 6 * CHUNK)
})

test('the same size is no change', async (t) => {
  const folder = new DiskFolder(t)
  folder.make('a', SHAPE)
  const files = new TestFiles(nodeFiles())
  const { disk } = await folder.open('a', {}, files)
  files.take()
  const result = await disk.resize({ size: 4 * CHUNK })
  t.deepEqual([result.sizeBefore, result.size], [4 * CHUNK, 4 * CHUNK])
  t.deepEqual(files.take(/replaceText|create|remove/), [])
})

test('after a resize nobody else gets the disk', async (t) => {
  const folder = new DiskFolder(t)
  folder.make('a', SHAPE)
  const { disk } = await folder.open('a')
  await disk.resize({ size: 5 * CHUNK })
  for (const options of [{}, { readOnly: true }]) {
    const error = await t.throwsAsync(folder.open('a', options), { code: 'EINUSE' })
    t.regex(error.message, /a\.chunkdisk cannot be opened for .*: it is in use by this process/)
  }
})
