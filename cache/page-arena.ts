/**
 * The bytes of the cached pages: one buffer, slot times PAGE_SIZE is the place. Knows neither page
 * numbers nor locks. The buffer is given by the composer, who may choose where it lies in memory.
 */
import assert from 'node:assert/strict'
import { PAGE_SIZE } from './limits.ts'

export class PageArena {
  readonly bytes: Uint8Array
  readonly slots: number

  /** @param bytes belongs to the arena from now on; a rest smaller than a page is not used */
  constructor(bytes: Uint8Array) {
    assert(bytes.length >= PAGE_SIZE, 'a page arena needs room for one page at least')
    this.bytes = bytes
    this.slots = Math.floor(bytes.length / PAGE_SIZE)
  }

  copyOut(slot: number, from: number, length: number, target: Uint8Array, at: number): void {
    copy(this.bytes, slot * PAGE_SIZE + from, length, target, at)
  }

  copyIn(slot: number, from: number, length: number, source: Uint8Array, at: number): void {
    copy(source, at, length, this.bytes, slot * PAGE_SIZE + from)
  }

  clear(slot: number, from: number, length: number): void {
    const start = slot * PAGE_SIZE + from
    this.bytes.fill(0, start, start + length)
  }

  isZero(slot: number, from: number, length: number): boolean {
    const start = slot * PAGE_SIZE + from
    return ZEROS.compare(this.bytes, start, start + length, 0, length) === 0
  }
}

const ZEROS = Buffer.alloc(PAGE_SIZE)

function copy(source: Uint8Array, from: number, length: number, target: Uint8Array, at: number) {
  target.set(new Uint8Array(source.buffer, source.byteOffset + from, length), at)
}
