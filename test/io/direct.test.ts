/** O_DIRECT on real files, by every engine of this machine. */
import fs from 'node:fs'
import { join } from 'node:path'
import test from 'ava'
import type { ExecutionContext } from 'ava'
import type { FileOperation, Files } from '../../io/io.ts'
import { NodeFiles } from '../../io/node-files.ts'
import { loadSystemCalls, type SystemCalls } from '../../io/syscalls.ts'
import { sameBytes } from '../helpers/bytes.ts'
import { filesOfEngines, openedDirect, requireDirect } from '../helpers/direct.ts'
import { IoOperation } from '../helpers/io-operation.ts'
import { Random, seedFor } from '../helpers/random.ts'
import { tempDirectory } from '../helpers/temp.ts'

const PAGE = 4096
const FILE_PAGES = 1024
const { O_CREAT, O_DIRECT, O_DIRECTORY, O_RDONLY, O_RDWR } = fs.constants
/** Where a buffer's bytes begin: aligned to a page, a sector, a word, and to nothing. */
const OFFSETS = [0, 1, 3, 4, 16, 28, 511, 512, 513, 1024, 4092, 4095]
const PAGES = [1, 2, 15, 256, 257, 600]

interface Scene {
  readonly files: Files
  readonly directory: string
  readonly path: string
  /** Of the file, opened with O_DIRECT. */
  readonly fd: number
  run(what: 'read' | 'write', fields: Partial<FileOperation>): Promise<number>
}

function check(title: string, run: (t: ExecutionContext, scene: Scene) => Promise<void>): void {
  for (const [name, files] of filesOfEngines()) {
    test(`${name}: ${title}`, async (t) => {
      if (!requireDirect(t)) return
      const directory = tempDirectory(t)
      const path = join(directory, 'file')
      const fd = await files.open(path, O_RDWR | O_CREAT | O_DIRECT)
      await run(t, {
        files,
        directory,
        path,
        fd,
        async run(what, fields) {
          const operation = new IoOperation()
          const place = { fd, position: 0, ...fields }
          const result = await operation.run((each) => files[what](each), place)
          t.false(operation.wasDone, 'the loop waited for the disk')
          return result
        },
      })
      await files.close(fd)
    })
  }
}

check('memory of any alignment is written and read', async (t, { files, path, run }) => {
  const random = new Random(seedFor(t))
  const model = new Uint8Array(FILE_PAGES * PAGE)
  fs.truncateSync(path, model.length)
  const memory = files.memory(601 * PAGE)
  for (const bufferOffset of OFFSETS) {
    const length = random.pick(PAGES) * PAGE
    const position = random.between(0, FILE_PAGES - length / PAGE) * PAGE
    const data = random.bytes(PAGE)
    for (let at = 0; at < length; at += PAGE) memory.set(data, bufferOffset + at)
    model.set(memory.subarray(bufferOffset, bufferOffset + length), position)
    t.is(await run('write', { buffer: memory, bufferOffset, length, position }), length)
    sameBytes(t, fs.readFileSync(path), model)
    const target = files.memory(602 * PAGE).fill(1)
    const expected = target.slice()
    expected.set(model.subarray(position, position + length), bufferOffset)
    t.is(await run('read', { buffer: target, bufferOffset, length, position }), length)
    sameBytes(t, target, expected)
  }
})

check('many operations of all sizes at once, more than there are buffers', async (t, scene) => {
  const random = new Random(seedFor(t))
  const { path, run } = scene
  const model = random.bytes(FILE_PAGES * PAGE)
  fs.writeFileSync(path, model)
  const work = Array.from({ length: 160 }, async () => {
    const pages = random.logarithmic(1, 300)
    const length = pages * PAGE
    const position = random.between(0, FILE_PAGES - pages) * PAGE
    const bufferOffset = random.pick(OFFSETS)
    const buffer = new Uint8Array(length + PAGE)
    t.is(await run('read', { buffer, bufferOffset, length, position }), length)
    const read = buffer.subarray(bufferOffset, bufferOffset + length)
    sameBytes(t, read, model.subarray(position, position + length))
  })
  await Promise.all(work)
})

check('a file that ends inside a page ends the read there', async (t, { path, run, files }) => {
  for (const [size, count] of [
    [PAGE + 1000, PAGE + 1000],
    [1000, 1000],
    [2 * PAGE, 2 * PAGE],
    [0, 0],
  ]) {
    fs.writeFileSync(path, new Uint8Array(size).fill(7))
    for (const bufferOffset of [0, 5]) {
      const buffer = files.memory(5 * PAGE).fill(1)
      t.is(await run('read', { buffer, bufferOffset, length: 4 * PAGE }), count)
      const read = buffer.slice(bufferOffset, bufferOffset + count)
      sameBytes(t, read, new Uint8Array(count).fill(7))
    }
  }
})

check('errors are those of the kernel', async (t, { files, path, run, fd }) => {
  fs.truncateSync(path, 4 * PAGE)
  const readOnly = await files.open(path, O_RDONLY | O_DIRECT)
  for (const bufferOffset of [0, 5]) {
    const place = { buffer: files.memory(3 * PAGE), bufferOffset, length: 2 * PAGE }
    t.is(await run('write', { fd: readOnly, ...place }), -9)
    t.is(await run('write', { fd, ...place, position: 100 }), -22)
  }
  await files.close(readOnly)
})

check('the descriptor has O_DIRECT, one without it has not', async (t, scene) => {
  const { directory, files, path } = scene
  const other = await files.open(join(directory, 'other'), O_RDWR | O_CREAT)
  t.deepEqual(openedDirect('self', directory), { file: true, other: false })
  await files.close(other)
  const again = await files.open(path, O_RDWR)
  t.deepEqual(openedDirect('self', directory), { file: false }, 'not all of them have it')
  await files.close(again)
})

check('a number that was a direct descriptor is an ordinary one after it', async (t, scene) => {
  const { files, path } = scene
  fs.truncateSync(path, PAGE)
  const opened = [-1]
  let direct = -2
  // The kernel gives the lowest free number; other tests may take it first.
  while (opened.at(-1) !== direct) {
    direct = await files.open(path, O_RDWR | O_DIRECT)
    await files.close(direct)
    opened.push(await files.open(path, O_RDWR))
  }
  const operation = new IoOperation()
  const fields = { fd: direct, buffer: new Uint8Array(10).fill(5), length: 10, position: 3 }
  t.is(await operation.run((each) => files.write(each), fields), 10)
  for (const each of opened.slice(1)) await files.close(each)
  t.is(fs.readFileSync(path)[5], 5)
})

check('the directory can do it, and trying leaves nothing', async (t, { files, directory }) => {
  const { direct, directRefusal } = await files.abilities(directory)
  t.deepEqual([direct, directRefusal], [true, ''])
  t.deepEqual(fs.readdirSync(directory), ['file'])
})

test('without system calls O_DIRECT is refused with the reason', async (t) => {
  const directory = tempDirectory(t)
  const files = new NodeFiles(null)
  const { direct, directRefusal } = await files.abilities(directory)
  t.false(direct)
  t.regex(directRefusal, /koffi/)
  const path = join(directory, 'file')
  await t.throwsAsync(files.open(path, O_RDWR | O_CREAT | O_DIRECT), { message: /koffi/ })
  t.deepEqual(fs.readdirSync(directory), [])
})

const TMPFILE = 0o20000000 | O_DIRECTORY

/** A file system that answers certain opens with an error. */
async function abilitiesWhere(
  t: ExecutionContext,
  refuses: (flags: number) => string,
): Promise<readonly [boolean, string]> {
  const directory = tempDirectory(t)
  const { openSync } = fs
  fs.openSync = (path, flags, mode) => {
    const code = path.toString().startsWith(directory) ? refuses(Number(flags)) : ''
    if (code !== '')
      throw Object.assign(new Error(code), { code, errno: code === 'EINVAL' ? -22 : -95 })
    return openSync(path, flags, mode)
  }
  try {
    const { direct, directRefusal } = await new NodeFiles(
      loadSystemCalls() as SystemCalls,
    ).abilities(directory)
    t.deepEqual(fs.readdirSync(directory), [], 'trying leaves nothing')
    return [direct, directRefusal]
  } finally {
    fs.openSync = openSync
  }
}

test.serial('a file system that refuses O_DIRECT is told of', async (t) => {
  if (!requireDirect(t)) return
  const refused = /refuses to open files with O_DIRECT \(EINVAL\)/
  const all = await abilitiesWhere(t, (flags) => ((flags & O_DIRECT) === 0 ? '' : 'EINVAL'))
  t.false(all[0])
  t.regex(all[1], refused)
  const isNameless = (flags: number): boolean => (flags & TMPFILE) === TMPFILE
  t.deepEqual(await abilitiesWhere(t, (flags) => (isNameless(flags) ? 'EOPNOTSUPP' : '')), [
    true,
    '',
  ])
  const neither = await abilitiesWhere(t, (flags) =>
    isNameless(flags) ? 'EOPNOTSUPP' : (flags & O_DIRECT) === 0 ? '' : 'EINVAL',
  )
  t.regex(neither[1], refused)
})

/** A file system that takes the open, but not the transfer. */
for (const [code, errno, expected] of [
  ['EINVAL', -22, /takes no blocks of 4096 bytes \(EINVAL\)/],
  ['ENOSPC', -28, /^$/],
] as const) {
  test.serial(`a block that fails with ${code} while trying`, async (t) => {
    if (!requireDirect(t)) return
    const { writeSync } = fs
    fs.writeSync = (() => {
      throw Object.assign(new Error(code), { code, errno })
    }) as typeof writeSync
    try {
      t.regex((await abilitiesWhere(t, () => ''))[1], expected)
    } finally {
      fs.writeSync = writeSync
    }
  })
}
