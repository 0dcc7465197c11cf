/** What a disk must hold, in one array, and what a stream does to it. */
import type { ExpectedAnswer } from './naive-transmission.ts'

export class Image {
  readonly bytes: Buffer

  constructor(size: number) {
    this.bytes = Buffer.alloc(size)
  }

  slice(offset: number, length: number): Buffer {
    return Buffer.from(this.bytes.subarray(offset, offset + length))
  }

  apply({ offset, data }: ExpectedAnswer): void {
    if (data !== null) this.bytes.set(data, Number(offset))
  }
}

export function touches(answer: ExpectedAnswer, offset: number, length: number): boolean {
  const from = Number(answer.offset)
  return answer.data !== null && from < offset + length && offset < from + answer.data.length
}
