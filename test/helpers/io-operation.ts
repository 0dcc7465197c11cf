/** A file operation as a promise, held to the rule that it never completes before it returned. */
import { FileOperation } from '../../io/io.ts'

export class IoOperation extends FileOperation {
  /** The start method returned true: finished at once. */
  wasDone = false
  #resolve: (result: number) => void = () => {}

  run(
    start: (operation: FileOperation) => boolean,
    fields: Partial<FileOperation> = {},
  ): Promise<number> {
    Object.assign(this, fields)
    return new Promise((resolve, reject) => {
      let hasReturned = false
      this.#resolve = (result) => {
        if (hasReturned) resolve(result)
        else reject(new Error('completed before it returned'))
      }
      this.wasDone = start(this)
      hasReturned = true
      if (this.wasDone) resolve(this.result)
    })
  }

  override complete(): void {
    this.#resolve(this.result)
  }
}
