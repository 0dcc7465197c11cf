import { existsSync, mkdirSync, readdirSync, readFileSync, statSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import test from 'ava'
import { makeDisk } from '../helpers/chunks.ts'
import { tempDirectory } from '../helpers/temp.ts'
import { runInProcess } from './in-process.ts'

/** Runs `create` with words from `line`; `@` stands for the directory. */
async function create(directory: string, line: string) {
  const words = line.split(' ').map((word) => word.replace('@', directory))
  return runInProcess(directory, 'create', ...words)
}

interface Expected {
  readonly descriptor: string
  readonly directories: readonly string[]
  readonly says: string
}

const makes = test.macro<[line: string, expected: Expected]>({
  exec: async (t, line, { descriptor, directories, says }) => {
    const directory = tempDirectory(t)
    await makeDisk(join(directory, 'base.chunkdisk'), { size: '1M', chunkSize: '64K' })
    const { status, stdout, stderr } = await create(directory, line)
    t.deepEqual([status, stderr], [0, ''])
    t.is(stdout, `${says.replace('@', directory)}\n`)
    const file = join(directory, line.split(' ')[0].replace('@/', ''))
    t.is(readFileSync(file, 'utf8'), descriptor.replaceAll('@', directory))
    for (const each of directories) t.true(statSync(join(directory, each)).isDirectory(), each)
  },
  title: (_, line) => `"create ${line}" makes a disk`,
})

test.serial(makes, 'd.chunkdisk --size 1G', {
  descriptor: '1073741824\n67108864\n16 d.chunks\n',
  directories: ['d.chunks'],
  says: 'created d.chunkdisk: 1G in 16 chunks of 64M',
})
test.serial(makes, 'd.chunkdisk --size 100K --chunk-size 64k', {
  descriptor: '102400\n65536\n2 d.chunks\n',
  directories: ['d.chunks'],
  says: 'created d.chunkdisk: 100K in 2 chunks of 64K',
})
test.serial(makes, 'd.chunkdisk --size 1MiB', {
  descriptor: '1048576\n1048576\n1 d.chunks\n',
  directories: ['d.chunks'],
  says: 'created d.chunkdisk: 1M in 1 chunks of 1M',
})
test.serial(makes, '@/sub/d.chunkdisk --size 4096', {
  descriptor: '4096\n4096\n1 d.chunks\n',
  directories: ['sub/d.chunks'],
  says: 'created @/sub/d.chunkdisk: 4K in 1 chunks of 4K',
})
test.serial(makes, 'plain --size 4K', {
  descriptor: '4096\n4096\n1 plain.chunks\n',
  directories: ['plain.chunks'],
  says: 'created plain: 4K in 1 chunks of 4K',
})
test.serial(makes, 'd.chunkdisk --size 1M --chunk-size 64K --part a:6 --part @/b --part c/e:4', {
  descriptor: '1048576\n65536\n6 a\n16 @/b\n4 c/e\n',
  directories: ['a', 'b', 'c/e'],
  says: 'created d.chunkdisk: 1M in 16 chunks of 64K',
})
test.serial(makes, 'sub/d.chunkdisk --size 4K --part a', {
  descriptor: '4096\n4096\n1 ../a\n',
  directories: ['sub', 'a'],
  says: 'created sub/d.chunkdisk: 4K in 1 chunks of 4K',
})
test.serial(makes, 'd.chunkdisk --parent base.chunkdisk', {
  descriptor: 'base.chunkdisk\n1048576\n65536\n16 d.chunks\n',
  directories: ['d.chunks'],
  says: 'created d.chunkdisk: 1M in 16 chunks of 64K',
})
test.serial(makes, 'sub/d.chunkdisk --parent base.chunkdisk --size 1M', {
  descriptor: '../base.chunkdisk\n1048576\n65536\n16 d.chunks\n',
  directories: ['sub/d.chunks'],
  says: 'created sub/d.chunkdisk: 1M in 16 chunks of 64K',
})
// All absolute: what chunkdisk itself can read.
test.serial(makes, 'd.chunkdisk --parent @/base.chunkdisk --part @/x:99', {
  descriptor: '@/base.chunkdisk\n1048576\n65536\n99 @/x\n',
  directories: ['x'],
  says: 'created d.chunkdisk: 1M in 16 chunks of 64K',
})

test.serial('create --json tells what was made, with absolute paths', async (t) => {
  const directory = tempDirectory(t)
  const sizes = '--size 128K --chunk-size 64K --part p:7'
  const { status, stdout, stderr } = await create(directory, `d.chunkdisk --json ${sizes}`)
  t.deepEqual([status, stderr], [0, ''])
  t.deepEqual(JSON.parse(stdout), {
    file: join(directory, 'd.chunkdisk'),
    diskSize: 131072,
    chunkSize: 65536,
    chunkCount: 2,
    parts: [{ directory: join(directory, 'p'), chunksMax: 7 }],
    parent: null,
  })
})

interface Refusal {
  readonly says: RegExp
  /** What is there before. */
  readonly prepare?: (directory: string) => unknown
}

const refuses = test.macro<[line: string, refusal: Refusal]>({
  exec: async (t, line, { says, prepare }) => {
    const directory = tempDirectory(t)
    await prepare?.(directory)
    const before = tree(directory)
    const { status, stdout, stderr } = await create(directory, line)
    t.deepEqual([status, stdout], [1, ''])
    t.regex(stderr, /^chunknbd: [^\n]+\n$/, 'one line')
    t.regex(stderr, says)
    t.deepEqual(tree(directory), before, 'nothing is left behind')
  },
  title: (_, line, { says }) => `"create ${line}" is refused: ${says.source}`,
})

function tree(directory: string): string[] {
  const names = readdirSync(directory, { recursive: true, encoding: 'utf8' }).toSorted()
  return names.map((name) => {
    const file = join(directory, name)
    return statSync(file).isFile() ? `${name}: ${readFileSync(file, 'utf8')}` : `${name}/`
  })
}

function base(directory: string): Promise<void> {
  return makeDisk(join(directory, 'base.chunkdisk'), { size: '1M', chunkSize: '64K' })
}

function put(name: string, text = '') {
  return (directory: string): void => {
    const file = join(directory, name)
    mkdirSync(join(file, '..'), { recursive: true })
    writeFileSync(file, text)
  }
}

test.serial(refuses, 'd.chunkdisk --size 1M', {
  prepare: put('d.chunkdisk', 'precious'),
  says: /d\.chunkdisk exists; choose another name or remove it/,
})
test.serial(refuses, 'd.chunkdisk --size 1M --chunk-size 2M', {
  says: /chunk size 2M is larger than the disk \(1M\); choose a smaller one/,
})
test.serial(refuses, 'd.chunkdisk --size 1M --part a --part f', {
  prepare: put('f', 'a file'),
  says: /part .*\/f cannot be made: it is not a directory/,
})
test.serial(refuses, 'd.chunkdisk --size 1M --part f/sub', {
  prepare: put('f', 'a file'),
  says: /part .*\/f\/sub cannot be made: .*not a directory/,
})
test.serial(refuses, 'd.chunkdisk --size 1M --part p --part ./p/', {
  says: /part directory given twice: .*\/p; give it once/,
})
test.serial(refuses, 'd.chunkdisk --size 1M --part p', {
  prepare: put('p/chunk0'),
  says: /part .*\/p holds chunk files of some other disk; choose an empty directory/,
})
test.serial(refuses, 'd.chunkdisk --size 1M', {
  prepare: put('d.chunks/CHUNK99999'),
  says: /part .*\/d\.chunks holds chunk files of some other disk/,
})
test.serial(refuses, 'd.chunkdisk --size 1M --chunk-size 64K --part a:3 --part b:4', {
  says: /the disk has 16 chunks, its parts hold 7; raise a part's number or add a part/,
})
test.serial(refuses, 'd.chunkdisk --parent nothere', {
  says: /parent: .*\/nothere: cannot be read: there is no such file/,
})
test.serial(refuses, 'd.chunkdisk --parent b', {
  prepare: put('b', 'what\never\n'),
  says: /parent: .*\/b: line 2: the disk size is "ever"/,
})
test.serial(refuses, 'd.chunkdisk --size 2M --parent base.chunkdisk', {
  prepare: base,
  says: /the disk is 2097152 bytes, the parent .*base\.chunkdisk 1048576; leave out --size/,
})
test.serial(refuses, 'd.chunkdisk --chunk-size 128K --parent base.chunkdisk', {
  prepare: base,
  says: /the chunk size is 131072 bytes, the parent's 65536; leave out --chunk-size/,
})
test.serial(refuses, 'd.chunkdisk --parent base.chunkdisk --part base.chunks', {
  prepare: base,
  says: /base\.chunks.*parent/,
})
test.serial(refuses, 'd.chunkdisk --size 1M --part base.chunks', {
  prepare: base,
  says: /part .*\/base\.chunks belongs to the disk .*\/base\.chunkdisk; choose another directory/,
})
test.serial(refuses, 'f/d.chunkdisk --size 1M', {
  prepare: put('f'),
  says: /\/f/,
})

test.serial('what create makes is for its owner only', async (t) => {
  const directory = tempDirectory(t)
  await create(directory, 'd.chunkdisk --size 1M')
  t.is(statSync(join(directory, 'd.chunkdisk')).mode & 0o777, 0o600)
  t.is(statSync(join(directory, 'd.chunks')).mode & 0o777, 0o700)
  t.false(existsSync(join(directory, 'd.chunks', 'chunk0')))
})
