/**
 * From errno to the error value on the wire: the only place where one becomes the other.
 *
 * The protocol knows eight values, which happen to be Linux' numbers. Devices report numbers of
 * `os.constants.errno`; the literal table is Linux' as well, so that this file runs in a browser.
 */
import { ErrorCode } from './protocol.ts'

/** Numbers of Linux; the ones we have something better than EIO for. */
const Errno = {
  EPERM: 1,
  ENOMEM: 12,
  EACCES: 13,
  EINVAL: 22,
  EFBIG: 27,
  ENOSPC: 28,
  EROFS: 30,
  EOVERFLOW: 75,
  EOPNOTSUPP: 95,
  ESHUTDOWN: 108,
  EDQUOT: 122,
} as const

/**
 * ENOTSUP and EOVERFLOW are passed on: whether a command may answer them is the caller's affair.
 * @param errno above 0
 */
export function wireError(errno: number): number {
  switch (errno) {
    case Errno.EPERM:
    case Errno.EACCES:
    case Errno.EROFS:
      return ErrorCode.EPERM
    case Errno.ENOSPC:
    case Errno.EDQUOT:
    case Errno.EFBIG:
      return ErrorCode.ENOSPC
    case Errno.ENOMEM:
      return ErrorCode.ENOMEM
    case Errno.EINVAL:
      return ErrorCode.EINVAL
    case Errno.EOVERFLOW:
      return ErrorCode.EOVERFLOW
    case Errno.EOPNOTSUPP:
      return ErrorCode.ENOTSUP
    case Errno.ESHUTDOWN:
      return ErrorCode.ESHUTDOWN
    default:
      return ErrorCode.EIO
  }
}
