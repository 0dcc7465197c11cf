/** System calls that answer as kernels and file systems do now and then, but not on demand. */
import fs from 'node:fs'
import { join } from 'node:path'
import test from 'ava'
import type { ExecutionContext } from 'ava'
import { FileOperation } from '../../io/io.ts'
import { NodeFiles } from '../../io/node-files.ts'
import { SystemCalls } from '../../io/syscalls.ts'
import { sameBytes } from '../helpers/bytes.ts'
import { tempDirectory } from '../helpers/temp.ts'

const [EPERM, EINTR, EIO, EAGAIN, ENOSPC, EOPNOTSUPP] = [1, 4, 5, 11, 28, 95]

type Answer = (...args: number[]) => number

/** Answers are results as the kernel gives them: at least 0, or -errno. */
function systemCalls(answers: Readonly<Record<string, Answer>>): SystemCalls {
  let errno = 0
  const func = (signature: string) => {
    const name = /(\w+)\(/.exec(signature)?.[1] ?? ''
    const call = (...args: number[]): number => {
      const result = answers[name]?.(...args) ?? -EOPNOTSUPP
      errno = -result
      return result < 0 ? -1 : result
    }
    return Object.assign(call, { async: () => {} })
  }
  const koffi = { load: () => ({ func }), address: () => 4096, errno: () => errno }
  return new SystemCalls(koffi as never)
}

class Operation extends FileOperation {
  readonly completed: Promise<number>
  #resolve: (result: number) => void = () => {}

  constructor(fields: Partial<FileOperation>) {
    super()
    Object.assign(this, fields)
    this.completed = new Promise((resolve) => (this.#resolve = resolve))
  }

  override complete(): void {
    this.#resolve(this.result)
  }
}

function openFile(t: ExecutionContext): number {
  const fd = fs.openSync(join(tempDirectory(t), 'file'), 'w+')
  t.teardown(() => fs.closeSync(fd))
  return fd
}

const filled = (length: number, value = 7): Uint8Array => new Uint8Array(length).fill(value)

test('a read of which the kernel holds a part is finished by a thread', async (t) => {
  const fd = openFile(t)
  fs.writeSync(fd, filled(1000))
  const files = new NodeFiles(systemCalls({ preadv2: () => 300 }))
  const operation = new Operation({ fd, buffer: filled(1000, 1), length: 900, position: 50 })
  t.false(files.read(operation))
  t.is(await operation.completed, 900)
  // The first 300 bytes were the kernel's to fill in.
  sameBytes(t, operation.buffer, filled(1000, 1).fill(7, 300, 900))
})

for (const errno of [EAGAIN, EOPNOTSUPP, EINTR, EPERM]) {
  test(`a read refused with errno ${errno} is left to a thread`, async (t) => {
    const fd = openFile(t)
    fs.writeSync(fd, filled(100))
    const files = new NodeFiles(systemCalls({ preadv2: () => -errno }))
    const operation = new Operation({ fd, buffer: filled(100, 1), length: 100 })
    t.false(files.read(operation))
    t.is(await operation.completed, 100)
    sameBytes(t, operation.buffer, filled(100))
  })
}

test('a write that is taken in pieces, or interrupted, goes on', (t) => {
  const taken: number[][] = []
  const answers = [300, -EINTR, 500, 200]
  const pwrite: Answer = (_fd, address, length, position) => {
    taken.push([address, length, position])
    return answers.shift() ?? 0
  }
  const files = new NodeFiles(systemCalls({ pwrite }))
  const operation = new Operation({ fd: 3, buffer: filled(1100), length: 1000, position: 4096 })
  operation.bufferOffset = 100
  t.true(files.write(operation))
  t.is(operation.result, 1000)
  const lengths = [1000, 700, 700, 200]
  t.deepEqual(
    taken,
    lengths.map((length) => [4096 + 1100 - length, length, 4096 + 1000 - length]),
  )
})

test('a write that fails after a piece fails', (t) => {
  const answers = [300, -ENOSPC]
  const files = new NodeFiles(systemCalls({ pwrite: () => answers.shift() ?? 0 }))
  const operation = new Operation({ fd: 3, buffer: filled(1000), length: 1000 })
  t.true(files.write(operation))
  t.is(operation.result, -ENOSPC)
})

test('a write that gets nowhere is an error, not a success and no endless loop', (t) => {
  const files = new NodeFiles(systemCalls({ pwrite: () => 0 }))
  const operation = new Operation({ fd: 3, buffer: filled(1000), length: 1000 })
  t.true(files.write(operation))
  t.is(operation.result, -EIO)
})

test.serial('a write by a thread that gets nowhere is an error too', async (t) => {
  const { write } = fs
  const stuck = (...args: unknown[]): void => {
    const done = args.at(-1) as (error: null, count: number) => void
    setImmediate(() => done(null, 0))
  }
  Reflect.set(fs, 'write', stuck)
  const operation = new Operation({ fd: 3, buffer: filled(10), length: 10 })
  t.false(new NodeFiles(null).write(operation))
  Reflect.set(fs, 'write', write)
  t.is(await operation.completed, -EIO)
})

test('a full file system says nothing of what it could do', async (t) => {
  const directory = tempDirectory(t)
  const fallocate: Answer = (_fd, mode) => (mode === 1 ? -ENOSPC : mode === 3 ? 0 : -EOPNOTSUPP)
  const files = new NodeFiles(systemCalls({ fallocate }))
  const expected = { allocate: true, zeroRange: false, punchHole: true }
  t.like(await files.abilities(directory), expected)
})
