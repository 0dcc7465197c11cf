import test from 'ava'
import { createIo, Engine } from '../../io/engine.ts'
import type { RingCalls } from '../../io/ring-calls.ts'
import { setUpRing } from '../../io/uring-setup.ts'

const [ENOSYS, EPERM, EINVAL, ENOMEM] = [38, 1, 22, 12]
const FLAGS = 2
const FEATURES = 5
const EVERYTHING = 0xffff
const PROBE = 8

interface Kernel {
  readonly setup?: (params: Int32Array) => number
  readonly features?: number
  /** Not supported. */
  readonly opcode?: number
  readonly register?: number
}

/** A kernel that refuses something. Descriptors it gave out and were not closed are counted. */
function kernel({ setup, features = EVERYTHING, opcode = -1, register = 0 }: Kernel) {
  let open = 0
  const calls = {
    setup(_entries: number, params: Int32Array): number {
      const result = setup?.(params) ?? 100
      params[FEATURES] = features
      if (result >= 0) open++
      return result
    },
    register(_ring: number, what: number, argument: Uint8Array): number {
      if (what !== PROBE) return register
      for (let index = 0; index < 256; index++)
        argument[16 + 8 * index + 2] = index === opcode ? 0 : 1
      return 0
    },
    eventFd: () => ++open && 101,
    close: () => open--,
  }
  return { calls: calls as unknown as RingCalls, left: () => open }
}

test('why there is no io_uring is told in words', (t) => {
  const reasons: readonly (readonly [Kernel, RegExp])[] = [
    [{ setup: () => -ENOSYS }, /no io_uring \(ENOSYS\)/],
    [{ setup: () => -EPERM }, /forbidden here.*\(EPERM\)/],
    [{ setup: () => -ENOMEM }, /ulimit -l/],
    [{ setup: () => -EINVAL }, /cannot be set up \(EINVAL\)/],
    [{ features: 0 }, /too old: no SINGLE_MMAP/],
    [{ opcode: 27 }, /too old: no RECV/],
    [{ register: -EINVAL }, /takes no eventfd \(EINVAL\)/],
  ]
  for (const [each, expected] of reasons) {
    const { calls, left } = kernel(each)
    const reason = setUpRing(calls)
    t.regex(String(reason), expected)
    t.is(left(), 0, `descriptors left: ${String(reason)}`)
  }
})

test('flags that a kernel does not know are left out', (t) => {
  const tried: number[] = []
  const { calls } = kernel({
    setup(params) {
      tried.push(params[FLAGS])
      return tried.length < 3 ? -EINVAL : -ENOSYS
    },
  })
  setUpRing(calls)
  t.is(tried.length, 3)
  t.true(tried[0] > tried[1] && tried[1] > tried[2])
})

test.serial('without io_uring, auto takes the node engine and uring fails, both with why', (t) => {
  const before = process.env['CHUNKNBD_NO_FFI']
  process.env['CHUNKNBD_NO_FFI'] = '1'
  const { io, reason } = createIo(Engine.AUTO)
  t.is(io.name, 'node')
  t.regex(reason, /CHUNKNBD_NO_FFI=1/)
  t.throws(() => createIo(Engine.URING), { code: 'ENGINE', message: /--engine node/ })
  if (before === undefined) delete process.env['CHUNKNBD_NO_FFI']
  else process.env['CHUNKNBD_NO_FFI'] = before
})

test('the engine that is asked for is taken', (t) => {
  t.is(createIo(Engine.NODE).io.name, 'node')
})
