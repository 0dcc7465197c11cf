import { execFileSync } from 'node:child_process'
import fs from 'node:fs'
import path from 'node:path'
import test from 'ava'
import type { ExecutionContext } from 'ava'
import { ChunkDisk } from '../../chunkstore/disk.ts'
import { DiskError } from '../../chunkstore/disk-error.ts'
import type { DiskErrorCode } from '../../chunkstore/disk-error.ts'
import { DiskFolder, nodeFiles } from '../helpers/chunk-disk.ts'
import { TestFiles } from '../helpers/test-files.ts'

const CHUNK = 65_536
const READ_ONLY = { readOnly: true }

/** Opening fails for a writer and a reader alike, and leaves nothing open or locked. */
async function refused(
  t: ExecutionContext,
  folder: DiskFolder,
  name: string,
  code: DiskErrorCode,
  ...words: string[]
): Promise<void> {
  for (const options of [{}, READ_ONLY]) {
    const error = await t.throwsAsync(folder.open(name, options), { instanceOf: DiskError })
    t.is(error.code, code, error.message)
    for (const word of words) t.true(error.message.includes(word), `${error.message} !~ ${word}`)
    t.deepEqual(folder.openDescriptors(), [])
  }
}

function makeChunk(folder: DiskFolder, part: string, name: string, size = CHUNK): string {
  const file = folder.path(part, name)
  fs.writeFileSync(file, '')
  fs.truncateSync(file, size)
  return file
}

test('a descriptor that cannot be read is named', async (t) => {
  const folder = new DiskFolder(t)
  const file = folder.path('a.chunkdisk')
  await refused(t, folder, 'a', 'EDESCRIPTOR', file, 'there is no such file')
  fs.mkdirSync(file)
  await refused(t, folder, 'a', 'EDESCRIPTOR', file, 'it is a directory')
  fs.rmdirSync(file)
  execFileSync('mkfifo', [file])
  await refused(t, folder, 'a', 'EDESCRIPTOR', file, 'it is not a file')
  fs.rmSync(file)
  fs.symlinkSync('/dev/zero', file)
  await refused(t, folder, 'a', 'EDESCRIPTOR', file, 'it is not a file')
  fs.rmSync(file)
  fs.writeFileSync(file, '#'.repeat(2 ** 20 + 1))
  await refused(t, folder, 'a', 'EDESCRIPTOR', file, 'it is no descriptor')
})

test('a part directory that is missing or no directory is named', async (t) => {
  const folder = new DiskFolder(t)
  folder.make('a', { parts: { here: 8, there: 8 } })
  const there = folder.path('there')
  fs.rmdirSync(there)
  await refused(t, folder, 'a', 'EPART', there, 'does not exist', 'create it or mount')
  fs.writeFileSync(there, '')
  await refused(t, folder, 'a', 'EPART', there, 'ENOTDIR')
})

test('a chunk that exists in two parts is refused by both names', async (t) => {
  const folder = new DiskFolder(t)
  folder.make('a', { parts: { p: 16, q: 16 } })
  const files = [makeChunk(folder, 'p', 'chunk3'), makeChunk(folder, 'q', 'chunk3', 0)]
  await refused(t, folder, 'a', 'EPART', 'chunk 3 exists twice', ...files, 'remove one')
})

test('a chunk that exists in two cases is refused by both names', async (t) => {
  const folder = new DiskFolder(t)
  folder.make('a')
  const files = [makeChunk(folder, 'a', 'chunk3'), makeChunk(folder, 'a', 'CHUNK3')]
  await refused(t, folder, 'a', 'EPART', 'chunk 3 exists twice', ...files)
})

test('more chunk files than the quota are refused', async (t) => {
  const folder = new DiskFolder(t)
  folder.make('a', { parts: { p: 2, q: 16 } })
  for (const index of [0, 1, 2]) makeChunk(folder, 'p', `chunk${index}`)
  await refused(t, folder, 'a', 'EPART', folder.path('p'), '3 chunk files', 'quota is 2')
  fs.renameSync(folder.path('p', 'chunk2'), folder.path('p', 'chunk16'))
  const { client } = await folder.open('a')
  t.is((await client.read(2 * CHUNK, 4096))[0], 0, 'an index beyond the disk is no chunk')
})

test('a parent that cannot be opened is named with its child', async (t) => {
  const folder = new DiskFolder(t)
  folder.make('child', { parent: 'base' })
  const files = [folder.path('child.chunkdisk'), folder.path('base.chunkdisk')]
  await refused(t, folder, 'child', 'EDESCRIPTOR', 'parent of', ...files, 'no such file')
  const mend = `; put it back, or name its place in ${files[0]}`
  await refused(t, folder, 'child', 'EDESCRIPTOR', mend)
  folder.make('base', { size: 2 ** 21 })
  await refused(t, folder, 'child', 'ECHAIN', ...files, 'disk size 2097152', '1048576')
  folder.make('base', { chunkSize: 2 * CHUNK })
  await refused(t, folder, 'child', 'ECHAIN', ...files, 'chunk size 131072', '65536')
  folder.make('base')
  const { disk } = await folder.open('child')
  await disk.close()
})

test('a chain that comes back to itself is refused', async (t) => {
  const folder = new DiskFolder(t)
  folder.make('a', { parent: 'b' })
  folder.make('b', { parent: 'c' })
  fs.symlinkSync('a.chunkdisk', folder.path('c.chunkdisk'))
  await refused(t, folder, 'a', 'ECHAIN', 'comes back to this file')
  folder.make('self', { parent: 'self' })
  await refused(t, folder, 'self', 'ECHAIN', folder.path('self.chunkdisk'), 'comes back')
})

test('a chain that is too deep is refused', async (t) => {
  const folder = new DiskFolder(t)
  folder.make('d0')
  for (let depth = 1; depth <= 256; depth++) {
    folder.make(`d${depth}`, { parent: `d${depth - 1}` })
  }
  await refused(t, folder, 'd256', 'ECHAIN', 'deeper than 256')
})

test('a directory that is a part twice is refused', async (t) => {
  const folder = new DiskFolder(t)
  folder.make('a', { parts: { p: 8, 'x/../p': 8 } })
  fs.mkdirSync(folder.path('x'))
  await refused(t, folder, 'a', 'ECHAIN', 'used twice', folder.path('p'))
})

test('a directory that is a part twice, once by a symbolic link, is refused', async (t) => {
  const folder = new DiskFolder(t)
  fs.mkdirSync(folder.path('p'))
  fs.symlinkSync('p', folder.path('q'))
  folder.make('a', { parts: { p: 8, q: 8 } })
  await refused(t, folder, 'a', 'ECHAIN', 'used twice', folder.path('p'), folder.path('q'))
})

test("a directory that is a part of the parent's too is refused", async (t) => {
  const folder = new DiskFolder(t)
  folder.make('base', { parts: { p: 16 } })
  folder.make('middle', { parts: { m: 16 }, parent: 'base' })
  folder.make('child', { parts: { c: 16, p: 16 }, parent: 'middle' })
  await refused(t, folder, 'child', 'ECHAIN', 'used twice', folder.path('p'))
})

test('temporary files are removed by a writer and left by a reader', async (t) => {
  const folder = new DiskFolder(t)
  folder.make('base')
  folder.make('a', { parent: 'base', parts: { p: 8, q: 8 } })
  for (const part of ['p', 'q', 'base']) makeChunk(folder, part, '.tmp-chunk3')
  const names = ['other', '.tmp-chunkx', '.tmp-other']
  for (const name of names) makeChunk(folder, 'p', name)
  const reader = await folder.open('a', READ_ONLY)
  t.true(fs.existsSync(folder.path('p', '.tmp-chunk3')))
  await reader.disk.close()
  await folder.open('a')
  t.deepEqual(fs.readdirSync(folder.path('p')).sort(), names.sort())
  t.deepEqual(fs.readdirSync(folder.path('q')), [])
  t.deepEqual(fs.readdirSync(folder.path('base')), ['.tmp-chunk3'])
})

test('a disk that cannot be locked is not opened', async (t) => {
  const folder = new DiskFolder(t)
  folder.make('a')
  const files = new TestFiles(nodeFiles())
  files.fault = (call) => (call === 'lock a' ? 37 : 0)
  const error = await t.throwsAsync(folder.open('a', {}, files), { code: 'EINUSE' })
  t.true(error.message.startsWith(`${folder.path('a')} cannot be locked: ENOLCK`))
})

test('a part that cannot be written is named, and what can be done', async (t) => {
  const folder = new DiskFolder(t)
  folder.make('a')
  const files = new TestFiles(nodeFiles())
  files.fault = (call) => (call === 'abilities a' ? 30 : 0)
  const error = await t.throwsAsync(folder.open('a', {}, files), { code: 'EPART' })
  const words = [folder.path('a'), 'cannot be written', 'EROFS', '--read-only']
  for (const word of words) t.true(error.message.includes(word), error.message)
  const reader = await folder.open('a', READ_ONLY, files)
  await reader.disk.close()
})

test('a disk knows its absolute path, however it was named', async (t) => {
  const folder = new DiskFolder(t)
  const file = folder.make('a')
  const disk = await ChunkDisk.open(nodeFiles(), path.relative(process.cwd(), file))
  t.is(disk.file, file)
  await disk.close()
})

test("chunkdisk's lock file stops a writer, not a reader, and not in a parent", async (t) => {
  const folder = new DiskFolder(t)
  folder.make('a')
  folder.make('child', { parent: 'a' })
  const lock = makeChunk(folder, 'a', '.lock', 0)
  const error = await t.throwsAsync(folder.open('a'), { code: 'EINUSE' })
  t.true(error.message.startsWith(`${lock} exists`))
  t.regex(error.message, /chunkdisk uses this directory.*remove the file/)
  for (const disk of ['child', 'a'] as const) {
    const opened = await folder.open(disk, disk === 'a' ? READ_ONLY : {})
    await opened.disk.close()
  }
})
