/** A file operation for the control path: run it, await its result (>= 0, or -errno). */
import { getSystemErrorMap } from 'node:util'
import { FileOperation } from '../io/io.ts'

const EDQUOT = 122

export class AwaitedOperation extends FileOperation {
  #resolve: (result: number) => void = () => {}

  /** @param start begins the operation on this object, as in `(o) => files.sync(o)` */
  run(start: (operation: FileOperation) => boolean): Promise<number> {
    return new Promise((resolve) => {
      this.#resolve = resolve
      if (start(this)) resolve(this.result)
    })
  }

  override complete(): void {
    this.#resolve(this.result)
  }
}

/**
 * @param what was done to which file
 * @throws Error with `errno` and `code` if the result of a file operation is one
 */
export function orThrow(result: number, what: string): number {
  if (result >= 0) return result
  throw fileError(what, -result)
}

/** As those of Node's own calls: for a person, and with `errno` (below 0) and `code`. */
export function fileError(what: string, errno: number): NodeJS.ErrnoException {
  const [code, why] = nameOf(errno)
  return Object.assign(new Error(`${what}: ${code}: ${why}`), { errno: -errno, code })
}

/** Node does not know all of them. */
function nameOf(errno: number): readonly [string, string] {
  if (errno === EDQUOT) return ['EDQUOT', 'disk quota exceeded']
  return getSystemErrorMap().get(-errno) ?? [`errno ${errno}`, 'an error of the system']
}
