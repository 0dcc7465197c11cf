/** resize of a disk that nobody serves: what it prints, and its exit statuses. */
import { mkdirSync, readdirSync, readFileSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import test, { type ExecutionContext } from 'ava'
import { makeDisk } from '../helpers/chunks.ts'
import { tempDirectory } from '../helpers/temp.ts'
import { runInProcess } from './in-process.ts'

const CHUNK = 65_536

/** 640K in chunks of 64K; chunk 4 has data. */
async function newDisk(t: ExecutionContext): Promise<string> {
  const directory = tempDirectory(t)
  await makeDisk(join(directory, 'd.chunkdisk'), { size: '640K', chunkSize: '64K' })
  writeFileSync(join(directory, 'd.chunks/chunk4'), Buffer.alloc(CHUNK, 1))
  writeFileSync(join(directory, 'd.chunks/chunk9'), '')
  return directory
}

test.serial('a disk is resized, and that is said', async (t) => {
  const directory = await newDisk(t)
  const steps: [args: string, said: string][] = [
    ['--size 1M', 'resized d.chunkdisk: 640K -> 1M\n'],
    ['--size 1M', 'unchanged d.chunkdisk: 1M\n'],
    ['--size 320K', 'resized d.chunkdisk: 1M -> 320K\n'],
    ['--size 256K --discard-tail', 'resized d.chunkdisk: 320K -> 256K\n'],
  ]
  for (const [args, said] of steps) {
    const result = await runInProcess(directory, 'resize', 'd.chunkdisk', ...args.split(' '))
    t.deepEqual([result.status, result.stdout, result.stderr], [0, said, ''])
  }
  t.is(readFileSync(join(directory, 'd.chunkdisk'), 'utf8'), '262144\n65536\n16 d.chunks\n')
  t.deepEqual(readdirSync(join(directory, 'd.chunks')), [])
  t.deepEqual(readdirSync(directory).sort(), ['d.chunkdisk', 'd.chunks'])
})

test.serial('--json: the same for programs', async (t) => {
  const directory = await newDisk(t)
  const args = ['resize', 'd.chunkdisk', '--size', '1M', '--json']
  const { status, stdout } = await runInProcess(directory, ...args)
  t.is(status, 0)
  const expected = { file: 'd.chunkdisk', sizeBefore: 640 << 10, size: 1 << 20 }
  t.deepEqual(JSON.parse(stdout), { ...expected, leftovers: [], server: null })
})

test.serial('parts are added as they were written, or get another number', async (t) => {
  const directory = await newDisk(t)
  mkdirSync(join(directory, 'sub'))
  const absolute = join(directory, 'abs')
  const parts = ['--part', '../d.chunks:4', '--part', 'new:7', '--part', absolute]
  const args = ['resize', '../d.chunkdisk', '--size', '704K', ...parts]
  const { status, stderr } = await runInProcess(join(directory, 'sub'), ...args)
  t.deepEqual([status, stderr], [0, ''])
  const text = `720896\n65536\n4 d.chunks\n7 sub/new\n11 ${absolute}\n`
  t.is(readFileSync(join(directory, 'd.chunkdisk'), 'utf8'), text)
})

test.serial('what is refused changes nothing, exit status 1', async (t) => {
  const directory = await newDisk(t)
  await makeDisk(join(directory, 'parent.chunkdisk'), { size: '640K', chunkSize: '64K' })
  const parent = join(directory, 'parent.chunkdisk')
  await makeDisk(join(directory, 'child.chunkdisk'), { parent })
  const refusals: [args: string, message: RegExp][] = [
    ['d.chunkdisk --size 256K', /data behind the new end, the first at offset 262144; .*--discard/],
    ['d.chunkdisk --size 32K', /a disk has at least one chunk, here 64K; choose a larger size/],
    ['parent.chunkdisk --size 1M', /child\.chunkdisk stands on it.*first: chunknbd flatten/],
    ['child.chunkdisk --size 1M', /it stands on .*\/parent\.chunkdisk, .*first: chunknbd flatten/],
    ['nowhere.chunkdisk --size 1M', /nowhere\.chunkdisk: cannot be read: there is no such file/],
  ]
  const before = readFileSync(join(directory, 'd.chunkdisk'), 'utf8')
  for (const [args, message] of refusals) {
    const { status, stdout, stderr } = await runInProcess(directory, 'resize', ...args.split(' '))
    t.deepEqual([status, stdout], [1, ''], args)
    t.regex(stderr, /^chunknbd: [^\n]+\n$/)
    t.regex(stderr, message)
  }
  t.is(readFileSync(join(directory, 'd.chunkdisk'), 'utf8'), before)
  t.deepEqual(readdirSync(join(directory, 'd.chunks')).sort(), ['chunk4', 'chunk9'])
})

test.serial('chunk files that cannot be removed are named, and the disk is smaller', async (t) => {
  const directory = await newDisk(t)
  // A chunk of the wrong kind can be cut off, but unlink does not take it.
  mkdirSync(join(directory, 'd.chunks/chunk7'))
  const args = ['resize', 'd.chunkdisk', '--size', '256K', '--discard-tail']
  const { status, stdout, stderr } = await runInProcess(directory, ...args)
  t.deepEqual([status, stdout], [0, 'resized d.chunkdisk: 640K -> 256K\n'])
  t.regex(stderr, /^chunknbd: .*d\.chunks\/chunk7 is no part of the disk any more, but cannot be/)
  const grow = await runInProcess(directory, 'resize', 'd.chunkdisk', '--size', '640K')
  t.is(grow.status, 1)
  t.regex(grow.stderr, /chunk7 is beyond the end now, and would be in the disk then; .*--repair/)
  const repaired = await runInProcess(directory, 'check', 'd.chunkdisk', '--repair')
  t.is(repaired.status, 0)
  t.is((await runInProcess(directory, 'resize', 'd.chunkdisk', '--size', '640K')).status, 0)
})
