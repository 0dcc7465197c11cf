/** Uses the files of a simulated process, or real ones, with promises. */
import { AwaitedOperation } from '../../../chunkstore/awaited-operation.ts'
import type { FileOperation, Files } from '../../../io/io.ts'
import type { SimulatedFiles } from '../../../io/simulated/files.ts'

export type Method =
  'read' | 'write' | 'sync' | 'syncDirectory' | 'punchHole' | 'zeroRange' | 'truncate'
export type Fields = Partial<Pick<FileOperation, 'buffer' | 'length' | 'position'>>

export class Driver {
  readonly #files: Files
  readonly #simulated: SimulatedFiles | null

  constructor(files: Files, simulated: SimulatedFiles | null = null) {
    this.#files = files
    this.#simulated = simulated
  }

  /** Lets the process go on until the promise is settled. */
  async wait<Result>(promise: Promise<Result>): Promise<Result> {
    const simulated = this.#simulated
    if (simulated === null) return promise
    const state = { isSettled: false }
    const settled = (): void => void (state.isSettled = true)
    promise.then(settled, settled)
    for (let idle = 0; !state.isSettled && idle < 3;) {
      idle = simulated.step() ? 0 : idle + 1
      await new Promise((go) => setImmediate(go))
    }
    return promise
  }

  /** Begins an operation; the process does not go on for it. */
  start(method: Method, fd: number, fields: Fields = {}): Promise<number> {
    const operation = Object.assign(new AwaitedOperation(), { fd }, fields)
    return operation.run((each) => this.#files[method](each))
  }

  /** @returns the result of an operation */
  run(method: Method, fd: number, fields: Fields = {}): Promise<number> {
    return this.wait(this.start(method, fd, fields))
  }

  write(fd: number, position: number, data: Uint8Array): Promise<number> {
    return this.run('write', fd, { buffer: data, length: data.length, position })
  }

  async read(fd: number, position: number, length: number): Promise<Uint8Array> {
    const buffer = new Uint8Array(length)
    const count = await this.run('read', fd, { buffer, length, position })
    return buffer.subarray(0, count)
  }

  open(file: string, flags: number): Promise<number> {
    return this.wait(this.#files.open(file, flags))
  }

  async text(file: string): Promise<string> {
    return this.wait(this.#files.readText(file, 1 << 20))
  }
}
