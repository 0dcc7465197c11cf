import fs from 'node:fs'
import { join } from 'node:path'
import test from 'ava'
import type { ExecutionContext } from 'ava'
import { FileOperation, type Files, type Io, LockKind, Seek } from '../../io/io.ts'
import { NodeFiles } from '../../io/node-files.ts'
import { SystemCalls, loadSystemCalls } from '../../io/syscalls.ts'
import { createUringIo } from '../../io/uring.ts'
import { sameBytes } from '../helpers/bytes.ts'
import { tempDirectory } from '../helpers/temp.ts'

const loaded = loadSystemCalls()
const calls = loaded instanceof SystemCalls ? loaded : null
const { EBADF, EINVAL, ENXIO, EOPNOTSUPP } = { EBADF: 9, EINVAL: 22, ENXIO: 6, EOPNOTSUPP: 95 }

class TestOperation extends FileOperation {
  #resolve: (result: number) => void = () => {}

  run(start: (operation: FileOperation) => boolean, fields: Partial<FileOperation>) {
    return new Promise<number>((resolve, reject) => {
      Object.assign(this, fields)
      let returned = false
      this.#resolve = (result) => {
        if (returned) resolve(result)
        else reject(new Error('completed before it returned'))
      }
      const done = start(this)
      returned = true
      if (done) resolve(this.result)
    })
  }

  override complete(): void {
    this.#resolve(this.result)
  }
}

interface Scene {
  readonly files: Files
  readonly fd: number
  readonly directory: string
  /** A new operation each time. */
  run(
    start: (operation: FileOperation) => boolean,
    fields?: Partial<FileOperation>,
  ): Promise<number>
}

const uring = createUringIo()
const ENGINES: readonly (readonly [string, () => Files])[] = [
  ['with system calls', () => new NodeFiles(calls)],
  ['without system calls', () => new NodeFiles(null)],
  ['with io_uring', () => (uring as Io).files],
].filter(([name]) => name === 'without system calls' || calls !== null) as never

/** Runs a test with every engine of this machine. */
function check(title: string, run: (t: ExecutionContext, scene: Scene) => Promise<void>): void {
  for (const [name, files] of ENGINES) {
    if (name === 'with io_uring' && typeof uring === 'string') continue
    test(`${title}, ${name}`, async (t) => {
      const directory = tempDirectory(t)
      const fd = fs.openSync(join(directory, 'file'), 'w+')
      t.teardown(() => fs.closeSync(fd))
      const start: Scene['run'] = (go, fields) => new TestOperation().run(go, { fd, ...fields })
      await run(t, { files: files(), fd, directory, run: start })
    })
  }
}

const filled = (length: number, value = 7): Uint8Array => new Uint8Array(length).fill(value)

check('what is written is read back', async (t, { files, run }) => {
  for (const [length, position] of [
    [1, 0],
    [4096, 4096],
    [3 * 2 ** 20 + 1, 6 * 2 ** 30],
  ]) {
    const data = filled(length + 20, 9).fill(7, 10, 10 + length)
    const place = { bufferOffset: 10, length, position }
    t.is(await run(files.write.bind(files), { buffer: data, ...place }), length)
    const buffer = filled(length + 20, 9)
    buffer.fill(0, 10, 10 + length)
    t.is(await run(files.read.bind(files), { buffer, ...place }), length)
    sameBytes(t, buffer, data)
  }
})

check('a read is short at the end of the file, and only there', async (t, { files, run, fd }) => {
  fs.writeSync(fd, filled(100))
  const buffer = filled(50, 1)
  const read = files.read.bind(files)
  t.is(await run(read, { buffer, length: 50, position: 50 }), 50)
  t.is(await run(read, { buffer, length: 50, position: 51 }), 49)
  t.is(await run(read, { buffer, length: 50, position: 100 }), 0)
  t.is(await run(read, { buffer, length: 50, position: 5000 }), 0)
})

check('failures are errnos below 0', async (t, { files, run, directory }) => {
  const readOnly = fs.openSync(join(directory, 'file'), 'r')
  const writeOnly = fs.openSync(join(directory, 'file'), 'a')
  t.teardown(() => [readOnly, writeOnly].forEach((each) => fs.closeSync(each)))
  const place = { buffer: filled(8), length: 8 }
  t.is(await run(files.read.bind(files), { fd: writeOnly, ...place }), -EBADF)
  t.is(await run(files.write.bind(files), { fd: readOnly, ...place }), -EBADF)
  t.is(await run(files.truncate.bind(files), { fd: readOnly, length: 8 }), -EINVAL)
  const none = calls === null ? EOPNOTSUPP : EBADF
  const punched = await run(files.punchHole.bind(files), { fd: readOnly, length: 8 })
  t.true([-none, -EOPNOTSUPP].includes(punched))
})

check('syncs and truncations are done', async (t, { files, run, fd, directory }) => {
  t.is(await run(files.truncate.bind(files), { length: 12_345 }), 0)
  t.is(fs.fstatSync(fd).size, 12_345)
  t.is(await run(files.sync.bind(files)), 0)
  const folder = await files.open(directory, fs.constants.O_RDONLY)
  t.is(await run(files.syncDirectory.bind(files), { fd: folder }), 0)
  await files.close(folder)
})

check('an operation is used again and again', async (t, { files, fd }) => {
  const operation = new TestOperation()
  const fields = { fd, buffer: filled(4096), length: 4096, position: 0 }
  for (let round = 0; round < 30; round++) {
    fields.position = round * 4096
    t.is(await operation.run(files.write.bind(files), fields), 4096)
    t.is(await operation.run(files.sync.bind(files), { length: 0 }), 0)
    const short = { ...fields, buffer: filled(5000), length: 5000 }
    t.is(await operation.run(files.read.bind(files), short), 4096)
  }
})

test('more allocations at once than the FFI takes are all done', async (t) => {
  const directory = tempDirectory(t)
  const files = new NodeFiles(calls)
  const fds = Array.from({ length: 20 }, (_, index) =>
    fs.openSync(join(directory, `file${index}`), 'w+'),
  )
  t.teardown(() => fds.forEach((fd) => fs.closeSync(fd)))
  const results = await Promise.all(
    Array.from({ length: 400 }, (_, index) =>
      new TestOperation().run(files.allocate.bind(files), {
        fd: fds[index % 20],
        position: Math.floor(index / 20) * 4096,
        length: 4096,
      }),
    ),
  )
  const expected = calls === null ? -EOPNOTSUPP : 0
  t.true(results.every((result) => result === expected))
})

check(
  'holes are punched, zeroed, allocated and found',
  async (t, { files, run, fd, directory }) => {
    const abilities = await files.abilities(directory)
    fs.writeSync(fd, filled(2 ** 20))
    const range = { position: 65_536, length: 131_072 }
    const punched = await run(files.punchHole.bind(files), range)
    t.is(punched, abilities.punchHole ? 0 : -EOPNOTSUPP)
    const seek = (position: number, kind: 3 | 4) =>
      run((operation) => files.seek(operation, kind), { position })
    if (punched === 0) {
      t.is(await seek(0, Seek.HOLE), 65_536)
      t.is(await seek(65_536, Seek.DATA), 196_608)
      t.is(await seek(2 ** 20, Seek.DATA), -ENXIO)
      t.true((await run(files.allocated.bind(files))) <= 2 ** 20 - 131_072 + 4096)
      t.is(await run(files.allocate.bind(files), range), 0)
      t.true((await run(files.allocated.bind(files))) >= 2 ** 20)
    } else {
      t.is(await seek(0, Seek.HOLE), -EOPNOTSUPP)
    }
    const zeroed = await run(files.zeroRange.bind(files), { position: 0, length: 4096 })
    t.is(zeroed, abilities.zeroRange ? 0 : -EOPNOTSUPP)
    const buffer = filled(4096, 1)
    await run(files.read.bind(files), { buffer, length: 4096 })
    sameBytes(t, buffer, filled(4096, zeroed === 0 ? 0 : 7))
    t.deepEqual(fs.readdirSync(directory), ['file'], 'nothing is left of trying out')
  },
)

check('names and status are those of the system', async (t, { files, fd, directory }) => {
  const path = (name: string): string => join(directory, name)
  fs.writeSync(fd, filled(5000))
  fs.linkSync(path('file'), path('twin'))
  const status = await files.status(path('twin'))
  t.is(status.size, 5000)
  t.true(status.isFile && !status.isDirectory)
  t.deepEqual(await files.statusOf(fd), status)
  t.not((await files.status(directory)).identity, status.identity)
  await files.rename(path('twin'), path('other'))
  t.deepEqual((await files.list(directory)).sort(), ['file', 'other'])
  await files.remove(path('other'))
  await files.makeDirectory(path('a/b'))
  t.is(fs.statSync(path('a/b')).mode & 0o777, 0o700)
  await t.throwsAsync(files.remove(path('none')), { code: 'ENOENT' })
  await t.throwsAsync(files.status(path('none')), { code: 'ENOENT' })
  await t.throwsAsync(files.open(path('none'), fs.constants.O_RDONLY), { code: 'ENOENT' })
})

check('texts are read up to a limit and created whole or not', async (t, { files, directory }) => {
  const file = join(directory, 'text')
  await files.createText(file, 'grüße\n')
  t.is(await files.readText(file, 100), 'grüße\n')
  await t.throwsAsync(files.readText(file, 7), {
    message: `${file} has 8 bytes; at most 7 are read`,
  })
  await t.throwsAsync(files.createText(file, 'other'), { code: 'EEXIST' })
  t.is(await files.readText(file, 8), 'grüße\n')
  t.deepEqual((await files.list(directory)).sort(), ['file', 'text'])
})

check('a lock keeps others out until its file is closed', async (t, { files, fd, directory }) => {
  const path = join(directory, 'file')
  const open = (): Promise<number> => files.open(path, fs.constants.O_RDONLY)
  const [one, two, three] = [await open(), await open(), await open()]
  t.is(await files.lockHolder(one), '')
  t.true(await files.lock(one, LockKind.SHARED))
  t.true(await files.lock(two, LockKind.SHARED))
  t.false(await files.lock(three, LockKind.EXCLUSIVE))
  t.is(await files.lockHolder(three), 'this process')
  await files.close(one)
  t.false(await files.lock(fd, LockKind.EXCLUSIVE))
  await files.close(two)
  t.true(await files.lock(fd, LockKind.EXCLUSIVE))
  t.false(await files.lock(three, LockKind.SHARED))
  await files.close(three)
})

test.serial('without the FFI and flock(1) there are no locks, and that is said', async (t) => {
  const directory = tempDirectory(t)
  const files = new NodeFiles(null)
  const fd = await files.open(directory, fs.constants.O_RDONLY)
  const before = process.env['PATH']
  process.env['PATH'] = directory
  const message = /no file locks here: the command flock: /
  await t.throwsAsync(files.lock(fd, LockKind.SHARED), { code: 'ENOLOCK', message })
  process.env['PATH'] = before
  await files.close(fd)
})
