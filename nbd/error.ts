/**
 * From errno to the error value on the wire: the only place where one becomes the other.
 *
 * Devices report numbers of `os.constants.errno`. The literal table is Linux', so that this file
 * runs in a browser. ENOMEM is for what needs more memory than there is, EOVERFLOW becomes EIO: the
 * specification wants it only for reads we always serve.
 */
import { CommandFlag, NbdError } from './protocol.ts'

/** Linux' numbers of what is told more precisely than EIO. */
const Errno = {
  EPERM: 1,
  ENOMEM: 12,
  EACCES: 13,
  EINVAL: 22,
  EFBIG: 27,
  ENOSPC: 28,
  EROFS: 30,
  EOPNOTSUPP: 95,
  ESHUTDOWN: 108,
  EDQUOT: 122,
} as const

/**
 * @param errno above 0
 * @param commandFlags of the request: ENOTSUP is an answer to FAST_ZERO only
 */
export function wireError(errno: number, commandFlags = 0): number {
  switch (errno) {
    case Errno.EPERM:
    case Errno.EACCES:
    case Errno.EROFS:
      return NbdError.EPERM
    case Errno.ENOMEM:
      return NbdError.ENOMEM
    case Errno.ENOSPC:
    case Errno.EDQUOT:
    case Errno.EFBIG:
      return NbdError.ENOSPC
    case Errno.EINVAL:
      return NbdError.EINVAL
    case Errno.EOPNOTSUPP:
      return (commandFlags & CommandFlag.FAST_ZERO) === 0 ? NbdError.EIO : NbdError.ENOTSUP
    case Errno.ESHUTDOWN:
      return NbdError.ESHUTDOWN
    default:
      return NbdError.EIO
  }
}
