/** A file operation for the control path: run it, await its result (>= 0, or -errno). */
import { FileOperation } from '../io/io.ts'

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

/** @throws Error with `errno` if the result of a file operation is one */
export function orThrow(result: number, what: string): number {
  if (result >= 0) return result
  throw Object.assign(new Error(`${what} fails with errno ${-result}`), { errno: result })
}
