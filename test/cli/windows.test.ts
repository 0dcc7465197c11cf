/** Disks that Windows chunkdisk made, or shall read: what the commands say and write. */
import fs from 'node:fs'
import { join } from 'node:path'
import test from 'ava'
import { tempDirectory } from '../helpers/temp.ts'
import { makeWindowsDisk, WINDOWS_CHUNK, WINDOWS_SIZE } from '../helpers/windows-disk.ts'
import { runInProcess } from './in-process.ts'

test.serial('without a map a path of Windows is named, and what to do', async (t) => {
  const directory = tempDirectory(t)
  makeWindowsDisk(directory)
  const { status, stderr } = await runInProcess(directory, 'info', 'c/Disks/child.chunkdisk')
  t.is(status, 1)
  const where = `${directory}/c/Disks/child.chunkdisk: line 1`
  const what = '"C:\\Disks\\base.chunkdisk" is a path of Windows'
  const fix = "say where it is: --map-path 'C:\\Disks=DIRECTORY'"
  t.is(stderr, `chunknbd: ${where}: ${what}; ${fix}\n`)
})

test.serial('info, map and check read it through --map-path', async (t) => {
  const directory = tempDirectory(t)
  const { mapPath } = makeWindowsDisk(directory)
  const run = async (...args: string[]): Promise<string> => {
    const result = await runInProcess(directory, ...args, 'c/Disks/child.chunkdisk', ...mapPath)
    t.deepEqual([result.status, result.stderr], [0, ''])
    return result.stdout
  }
  const survey = JSON.parse(await run('info', '--json')) as Record<string, unknown>
  t.like(survey, {
    diskSize: WINDOWS_SIZE,
    layers: {
      0: { chunks: { full: 1, empty: 1, absent: 4 } },
      1: {
        file: join(directory, 'c/Disks/base.chunkdisk'),
        parts: { 1: { directory: join(directory, 'd/base2'), chunkFiles: 2 } },
      },
    },
  })
  const extents = JSON.parse(await run('map', '--json')) as { offset: number; kind: string }[]
  t.deepEqual(
    extents.map(({ offset, kind }) => `${offset / WINDOWS_CHUNK} ${kind}`),
    ['0 data', '1 zero', '2 data', '3 data', '4 hole', '5 data'],
  )
})

test.serial('check finds what chunkdisk left in a parent to be in order', async (t) => {
  const directory = tempDirectory(t)
  const { mapPath } = makeWindowsDisk(directory)
  const checked = await runInProcess(directory, 'check', 'c/Disks/child.chunkdisk', ...mapPath)
  t.is(checked.stdout, 'c/Disks/child.chunkdisk: ok\n')
})

test.serial('commit asks for the lock files to be removed, then merges', async (t) => {
  const directory = tempDirectory(t)
  const { mapPath } = makeWindowsDisk(directory)
  const words = ['commit', 'c/Disks/child.chunkdisk', ...mapPath]
  const refused = await runInProcess(directory, ...words)
  t.is(refused.status, 1)
  t.regex(refused.stderr, /Base 1\/\.lock exists.*remove the file/)
  for (const part of ['c/Disks/Base 1', 'd/base2']) fs.unlinkSync(join(directory, part, '.lock'))
  const { status, stderr } = await runInProcess(directory, ...words)
  t.deepEqual([status, stderr], [0, ''])
  const names = (part: string): string[] => fs.readdirSync(join(directory, part)).sort()
  t.deepEqual(names('c/Disks/Base 1'), ['CHUNK3', 'chunk0', 'desktop.ini'])
  t.deepEqual(names('d/base2'), ['Chunk1', 'chunk2', 'chunk5', 'desktop.ini'])
  t.is(fs.statSync(join(directory, 'd/base2/Chunk1')).size, 0)
})

test.serial('flatten leaves the rest of the descriptor as Windows wrote it', async (t) => {
  const directory = tempDirectory(t)
  const { mapPath } = makeWindowsDisk(directory)
  const result = await runInProcess(directory, 'flatten', 'c/Disks/child.chunkdisk', ...mapPath)
  t.deepEqual([result.status, result.stderr], [0, ''])
  const text = fs.readFileSync(join(directory, 'c/Disks/child.chunkdisk'), 'utf8')
  t.is(text, `${WINDOWS_SIZE}\r\n${WINDOWS_CHUNK}\r\n9 C:\\DISKS\\child`)
})

test.serial('create --compatible writes absolute paths', async (t) => {
  const directory = tempDirectory(t)
  const words = ['create', 'base.chunkdisk', '--size', '1M', '--chunk-size', '64K', '--compatible']
  t.is((await runInProcess(directory, ...words)).status, 0)
  const child = ['create', 'child.chunkdisk', '--parent', 'base.chunkdisk', '--compatible']
  t.is((await runInProcess(directory, ...child, '--part', 'a:8', '--part', 'b c')).status, 0)
  const read = (name: string): string => fs.readFileSync(join(directory, name), 'utf8')
  t.is(read('base.chunkdisk'), `1048576\n65536\n16 ${directory}/base.chunks\n`)
  const parts = `8 ${directory}/a\n16 ${directory}/b c\n`
  t.is(read('child.chunkdisk'), `${directory}/base.chunkdisk\n1048576\n65536\n${parts}`)
})

test.serial('create --compatible --map-path writes paths of Windows', async (t) => {
  const directory = tempDirectory(t)
  const { mapPath } = makeWindowsDisk(directory)
  const words = ['create', 'c/Disks/new.chunkdisk', '--compatible', ...mapPath]
  const parts = ['--part', 'c/Disks/n/1:3', '--part', 'd/n']
  const parent = ['--parent', 'c/Disks/child.chunkdisk']
  const made = await runInProcess(directory, ...words, ...parts, ...parent)
  t.deepEqual([made.status, made.stderr], [0, ''])
  t.is(
    fs.readFileSync(join(directory, 'c/Disks/new.chunkdisk'), 'utf8'),
    `C:\\Disks\\child.chunkdisk\n${WINDOWS_SIZE}\n${WINDOWS_CHUNK}\n3 C:\\Disks\\n\\1\n6 D:\\n\n`,
  )
  t.true(fs.statSync(join(directory, 'c/Disks/n/1')).isDirectory())
  const checked = await runInProcess(directory, 'check', 'c/Disks/new.chunkdisk', ...mapPath)
  t.is(checked.stdout, 'c/Disks/new.chunkdisk: ok\n')
})

test.serial('create --compatible refuses what Windows could not find', async (t) => {
  const directory = tempDirectory(t)
  const { mapPath } = makeWindowsDisk(directory)
  for (const part of ['elsewhere', 'c/Disks/a?', 'd/ends.']) {
    const words = ['create', 'd/new.chunkdisk', '--compatible', ...mapPath, '--size', '1M']
    const refused = await runInProcess(directory, ...words, '--part', part)
    t.is(refused.status, 1)
    t.regex(refused.stderr, /is in no directory that --map-path names, or has a name that Windows/)
    t.false(fs.existsSync(join(directory, part)))
  }
})
