import fs from 'node:fs'
import { join } from 'node:path'
import test from 'ava'
import type { ExecutionContext } from 'ava'
import { Fallocate, Flock, SystemCalls, loadSystemCalls } from '../../io/syscalls.ts'
import { sameBytes } from '../helpers/bytes.ts'
import { requireDirect } from '../helpers/direct.ts'
import { tempDirectory } from '../helpers/temp.ts'

const loaded = loadSystemCalls()
const calls = loaded instanceof SystemCalls ? loaded : null
const EBADF = 9
const EINVAL = 22
const ENXIO = 6
const EOPNOTSUPP = 95
const SEEK_DATA = 3
const SEEK_HOLE = 4
const FAR = 5 * 2 ** 30

interface Scene {
  readonly calls: SystemCalls
  readonly fd: number
  /** The same file, only for reading. */
  readonly readOnly: number
}

function check(title: string, run: (t: ExecutionContext, scene: Scene) => Promise<void>): void {
  const runner = calls === null ? test.skip : test
  runner(title, async (t) => {
    if (calls === null) return
    const file = join(tempDirectory(t), 'file')
    const fd = fs.openSync(file, 'w+')
    const readOnly = fs.openSync(file, 'r')
    t.teardown(() => {
      fs.closeSync(fd)
      fs.closeSync(readOnly)
    })
    await run(t, { calls, fd, readOnly })
  })
}

/** Some file systems (tmpfs) cannot say what is in memory; that is allowed. */
function read(calls: SystemCalls, fd: number, target: Uint8Array, at: number, length: number) {
  const count = calls.readNowait(fd, target, 2, length, at)
  return count === -EOPNOTSUPP ? fs.readSync(fd, target, 2, length, at) : count
}

function fallocate(scene: Scene, fd: number, mode: number, at: number, length: number) {
  return new Promise<number>((resolve, reject) => {
    scene.calls.fallocateAsync(fd, mode, at, length, (error, result) => {
      if (error !== null) reject(error)
      else resolve(scene.calls.outcome(result))
    })
  })
}

check('what is written is read back, from any place in any buffer', async (t, { calls, fd }) => {
  const pooled = Buffer.from('pooled bytes live in the middle of a shared buffer')
  t.is(calls.write(fd, pooled, 7, 5, FAR), 5)
  const large = new Uint8Array(3 * 2 ** 20).subarray(2 ** 20 + 3)
  for (const target of [large, Buffer.from('something else'), new Uint8Array(16)]) {
    target.fill(0xee)
    const count = read(calls, fd, target, FAR, 5)
    t.is(count, 5)
    sameBytes(t, target.subarray(1, 8), Buffer.from('\xeebytes\xee', 'latin1'))
  }
})

check('memory outside of the buffer is never given to the kernel', async (t, { calls, fd }) => {
  const buffer = new Uint8Array(4096).subarray(0, 100)
  for (const [start, length] of [
    [0, 101],
    [100, 1],
    [-1, 2],
    [NaN, 1],
  ]) {
    t.throws(() => calls.readNowait(fd, buffer, start, length, 0), { instanceOf: RangeError })
    t.throws(() => calls.write(fd, buffer, start, length, 0), { instanceOf: RangeError })
  }
})

check('a read ends at the end of the file', async (t, { calls, fd }) => {
  calls.write(fd, Buffer.from('hello'), 0, 5, 0)
  const target = new Uint8Array(12)
  t.is(read(calls, fd, target, 2, 10), 3)
  t.is(read(calls, fd, target, 5, 10), 0)
})

check('failures are errnos below 0', async (t, { calls, fd, readOnly }) => {
  const buffer = new Uint8Array(8)
  t.is(calls.write(readOnly, buffer, 0, 8, 0), -EBADF)
  t.is(calls.readNowait(1_000_000, buffer, 0, 8, 0), -EBADF)
  t.true([-EINVAL, -EOPNOTSUPP].includes(calls.readNowait(fd, buffer, 0, 8, -2)))
  t.is(calls.seek(fd, 10, SEEK_DATA), -ENXIO)
  t.is(calls.fallocate(readOnly, Fallocate.PUNCH_HOLE, 0, 4096), -EBADF)
  t.is(calls.lock(1_000_000, Flock.EXCLUSIVE), -EBADF)
})

check('data and holes are found, beyond 4 GiB too', async (t, { calls, fd }) => {
  fs.ftruncateSync(fd, 2 * FAR)
  calls.write(fd, new Uint8Array(65_536).fill(1), 0, 65_536, FAR)
  t.is(calls.seek(fd, 0, SEEK_DATA), FAR)
  t.is(calls.seek(fd, FAR, SEEK_HOLE), FAR + 65_536)
  t.is(calls.seek(fd, FAR + 65_536, SEEK_DATA), -ENXIO)
})

check('space is allocated, punched and zeroed', async (t, { calls, fd }) => {
  const blocks = (): number => fs.fstatSync(fd).blocks
  fs.ftruncateSync(fd, 2 ** 20)
  t.is(blocks(), 0)
  t.is(calls.fallocate(fd, Fallocate.ALLOCATE, 0, 2 ** 20), 0)
  t.true(blocks() >= 2048)
  calls.write(fd, new Uint8Array(2 ** 20).fill(7), 0, 2 ** 20, 0)
  t.is(calls.fallocate(fd, Fallocate.PUNCH_HOLE, 4096, 2 ** 20 - 8192), 0)
  t.true(blocks() < 100)
  const target = new Uint8Array(18)
  read(calls, fd, target, 4088, 16)
  sameBytes(t, target, new Uint8Array(18).fill(7, 2, 10))
  t.is(fs.fstatSync(fd).size, 2 ** 20)
  const zeroed = calls.fallocate(fd, Fallocate.ZERO_RANGE, 0, 4096)
  t.true(zeroed === 0 || zeroed === -EOPNOTSUPP)
})

check('the errno of an asynchronous call is its own', async (t, scene) => {
  const { fd, readOnly } = scene
  fs.ftruncateSync(fd, 2 ** 20)
  const outcomes = await Promise.all(
    Array.from({ length: 40 }, (_, index) => {
      if (index % 4 === 0) return fallocate(scene, readOnly, Fallocate.PUNCH_HOLE, 0, 4096)
      if (index % 4 === 1) return fallocate(scene, fd, Fallocate.PUNCH_HOLE, 0, 0)
      if (index % 4 === 2) return fallocate(scene, 1_000_000, Fallocate.PUNCH_HOLE, 0, 1)
      return fallocate(scene, fd, Fallocate.PUNCH_HOLE, FAR, 2 ** 33)
    }),
  )
  const expected = [-EBADF, -EINVAL, -EBADF, 0]
  for (const [index, outcome] of outcomes.entries()) t.is(outcome, expected[index % 4])
})

check('locks exclude one another until they are given back', async (t, { calls, fd, readOnly }) => {
  const exclusive = Flock.EXCLUSIVE | Flock.NO_WAIT
  t.is(calls.lock(fd, exclusive), 0)
  t.is(calls.lock(readOnly, exclusive), -11)
  t.is(calls.lock(readOnly, Flock.SHARED | Flock.NO_WAIT), -11)
  t.is(calls.lock(fd, Flock.SHARED | Flock.NO_WAIT), 0)
  t.is(calls.lock(readOnly, Flock.SHARED | Flock.NO_WAIT), 0)
})

test.serial('the FFI can be switched off, and the reason is told', (t) => {
  const before = process.env['CHUNKNBD_NO_FFI']
  process.env['CHUNKNBD_NO_FFI'] = '1'
  t.regex(loadSystemCalls() as string, /CHUNKNBD_NO_FFI=1/)
  if (before === undefined) delete process.env['CHUNKNBD_NO_FFI']
  else process.env['CHUNKNBD_NO_FFI'] = before
})

check('memory that is given back is zeros, what lies beside it stays', async (t, { calls }) => {
  const whole = new Uint8Array(2 ** 20).fill(7)
  const memory = whole.subarray(70_000, 900_000)
  t.is(calls.giveBack(memory), 0)
  t.true(whole.subarray(0, 70_000).every((byte) => byte === 7))
  t.true(whole.subarray(900_000).every((byte) => byte === 7))
  // Whole pages only, of the largest kind there is.
  t.true(memory.filter((byte) => byte === 0).length >= 830_000 - 2 * 65_536)
  memory.fill(8)
  t.true(memory.every((byte) => byte === 8))
  t.is(calls.giveBack(memory.subarray(0, 65_536)), 0)
  t.is(calls.giveBack(new Uint8Array(0)), 0)
})

check('what O_DIRECT wants of addresses is a power of two, and enough', async (t, scene) => {
  if (!requireDirect(t)) return
  const { calls, fd } = scene
  const path = fs.readlinkSync(`/proc/self/fd/${fd}`)
  const direct = fs.openSync(path, fs.constants.O_RDWR | fs.constants.O_DIRECT)
  fs.writeSync(fd, new Uint8Array(8192).fill(7))
  const alignment = calls.memoryAlignment(direct)
  t.true(alignment === 0 || Number.isInteger(Math.log2(alignment)), `${alignment}`)
  const memory = calls.memory(8192)
  t.is(calls.addressOf(memory, 0, 8192) % 4096, 0)
  const start = alignment === 0 ? 4096 : alignment % 4096
  t.is(fs.readSync(direct, memory, start, 4096, 4096), 4096)
  sameBytes(t, memory.subarray(start, start + 4096), new Uint8Array(4096).fill(7))
  fs.closeSync(direct)
  t.is(calls.memoryAlignment(direct), 0, 'of no file')
})
