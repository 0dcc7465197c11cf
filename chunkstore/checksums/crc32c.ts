/**
 * Sums of pages. The sum of a page is its CRC-32C, xor that of a page of zeros: so zeros have the
 * sum 0, and a table of sums that was never written stands for a chunk that was never written.
 *
 * Data is copied to the module's memory, a few pages at a time, so that it stays in the first
 * cache. The module is made at first use.
 */
import { HALF, moduleCode, PAGE, TABLE_COUNT } from './crc32c-code.ts'

const POLYNOMIAL = 0x82f63b78

/** Pages that are copied at a time. */
const BATCH = 4
const DATA = TABLE_COUNT * 1024
const OUT = DATA + BATCH * PAGE
const MEMORY_PAGES = 1

/** What is used of WebAssembly; Node has it, its types come with a browser's. */
declare const WebAssembly: {
  readonly Memory: new (size: { readonly initial: number }) => { readonly buffer: ArrayBuffer }
  readonly Module: new (code: Uint8Array<ArrayBuffer>) => object
  readonly Instance: new (module: object, imports: object) => { readonly exports: object }
}

interface Machine {
  readonly bytes: Uint8Array
  readonly words: Uint32Array
  readonly sums: (pages: number, data: number, out: number) => void
  readonly zeros: number
}

let machine: Machine | null = null

function makeMachine(): Machine {
  const memory = new WebAssembly.Memory({ initial: MEMORY_PAGES })
  const bytes = new Uint8Array(memory.buffer)
  const words = new Uint32Array(memory.buffer)
  words.set(makeTables())
  const module = new WebAssembly.Module(moduleCode())
  const { exports } = new WebAssembly.Instance(module, { env: { memory } })
  const { sums } = exports as Pick<Machine, 'sums'>
  sums(1, DATA, OUT)
  return { bytes, words, sums, zeros: words[OUT / 4] }
}

function makeTables(): Uint32Array {
  const tables = new Uint32Array(TABLE_COUNT * 256)
  for (let byte = 0; byte < 256; byte++) {
    let crc = byte
    for (let bit = 0; bit < 8; bit++) crc = (crc & 1) === 0 ? crc >>> 1 : (crc >>> 1) ^ POLYNOMIAL
    tables[byte] = crc
  }
  const zeroByte = (crc: number): number => (crc >>> 8) ^ tables[crc & 255]
  for (let at = 256; at < 8 * 256; at++) tables[at] = zeroByte(tables[at - 256])
  for (let at = 8 * 256; at < TABLE_COUNT * 256; at++) {
    let crc = (at & 255) << (8 * ((at >>> 8) - 8))
    for (let count = 0; count < HALF; count++) crc = zeroByte(crc)
    tables[at] = crc
  }
  return tables
}

/** Puts the sums of `count` pages, which begin at `offset`, into `sums` from `at` on. */
export function sumPages(
  buffer: Uint8Array,
  offset: number,
  count: number,
  sums: Uint32Array,
  at: number,
): void {
  const { bytes, words, sums: run, zeros } = (machine ??= makeMachine())
  for (let done = 0; done < count; done += BATCH) {
    const pages = Math.min(BATCH, count - done)
    const start = offset + done * PAGE
    bytes.set(buffer.subarray(start, start + pages * PAGE), DATA)
    run(pages, DATA, OUT)
    for (let page = 0; page < pages; page++) sums[at + done + page] = words[OUT / 4 + page] ^ zeros
  }
}

const BLOCK = new Uint32Array(BATCH)

/** @returns the first of `count` pages that has another sum than `sums` says from `at` on, or -1 */
export function findMismatch(
  buffer: Uint8Array,
  offset: number,
  count: number,
  sums: Uint32Array,
  at: number,
): number {
  for (let done = 0; done < count; done += BATCH) {
    const pages = Math.min(BATCH, count - done)
    sumPages(buffer, offset + done * PAGE, pages, BLOCK, 0)
    for (let page = 0; page < pages; page++) {
      if (BLOCK[page] !== sums[at + done + page]) return done + page
    }
  }
  return -1
}

/** @returns the sum of one page */
export function sumPage(buffer: Uint8Array, offset: number): number {
  sumPages(buffer, offset, 1, BLOCK, 0)
  return BLOCK[0]
}

/** CRC-32C of any bytes, one at a time: for what is short and rare. */
export function crc32c(bytes: Uint8Array): number {
  const { words } = (machine ??= makeMachine())
  let crc = -1
  for (const byte of bytes) crc = (crc >>> 8) ^ words[(crc ^ byte) & 255]
  return ~crc >>> 0
}
