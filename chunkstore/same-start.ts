/** Compares what two files begin with, a step at a time. */
import fs from 'node:fs'
import type { Files } from '../io/io.ts'
import { AwaitedOperation, orThrow } from './awaited-operation.ts'
import { STEP_BYTES } from './limits.ts'

/** @returns whether the first `length` bytes of both files are there and the same */
export async function haveSameStart(
  files: Files,
  one: string,
  other: string,
  length: number,
): Promise<boolean> {
  const readers: Reader[] = []
  try {
    for (const file of [one, other]) readers.push(await Reader.open(files, file, length))
    for (let at = 0; at < length; at += STEP_BYTES) {
      const count = Math.min(STEP_BYTES, length - at)
      const [first, second] = [await readers[0].read(at, count), await readers[1].read(at, count)]
      if (first.length < count || !first.equals(second)) return false
    }
    return true
  } finally {
    // They were only read.
    await Promise.allSettled(readers.map((reader) => reader.close()))
  }
}

class Reader {
  readonly #files: Files
  readonly #file: string
  readonly #operation = new AwaitedOperation()
  readonly #buffer: Buffer

  static async open(files: Files, file: string, length: number): Promise<Reader> {
    const reader = new Reader(files, file, Math.min(length, STEP_BYTES))
    reader.#operation.fd = await files.open(file, fs.constants.O_RDONLY)
    return reader
  }

  private constructor(files: Files, file: string, bufferBytes: number) {
    this.#files = files
    this.#file = file
    this.#buffer = Buffer.allocUnsafeSlow(bufferBytes)
  }

  /** @returns the bytes, fewer at the end of the file; good until the next call */
  async read(position: number, length: number): Promise<Buffer> {
    const operation = this.#operation
    operation.buffer = this.#buffer
    operation.position = position
    operation.length = length
    const result = await operation.run((each) => this.#files.read(each))
    return this.#buffer.subarray(0, orThrow(result, `reading ${this.#file}`))
  }

  close(): Promise<void> {
    return this.#files.close(this.#operation.fd)
  }
}
