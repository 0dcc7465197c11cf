import os from 'node:os'
import test from 'ava'
import { wireError } from '../../nbd/error.ts'

const { errno } = os.constants
const [EPERM, EIO, ENOMEM, EINVAL, ENOSPC, ENOTSUP, ESHUTDOWN] = [1, 5, 12, 22, 28, 95, 108]
const FAST_ZERO = 16

const toldPrecisely: Record<string, number> = {
  EPERM,
  EACCES: EPERM,
  EROFS: EPERM,
  ENOMEM,
  EINVAL,
  ENOSPC,
  EDQUOT: ENOSPC,
  EFBIG: ENOSPC,
}

test('every errno of this system becomes the right error, EIO where there is none', (t) => {
  for (const [name, number] of Object.entries(errno)) {
    const expected = name === 'ESHUTDOWN' ? ESHUTDOWN : (toldPrecisely[name] ?? EIO)
    t.is(wireError(number), expected, name)
  }
})

test('ENOTSUP is an answer to FAST_ZERO only', (t) => {
  t.is(wireError(errno.EOPNOTSUPP), EIO)
  t.is(wireError(errno.EOPNOTSUPP, 1), EIO)
  t.is(wireError(errno.EOPNOTSUPP, FAST_ZERO), ENOTSUP)
  t.is(wireError(errno.EOPNOTSUPP, FAST_ZERO | 1 | 2), ENOTSUP)
})

test('FAST_ZERO changes no other error', (t) => {
  for (const number of Object.values(errno))
    if (number !== errno.EOPNOTSUPP) t.is(wireError(number, FAST_ZERO), wireError(number))
})
