/**
 * The C library's heap, from which Node takes the memory of buffers. By itself glibc soon takes
 * large blocks from one heap that only shrinks at its end: after hours of load of all sizes it
 * holds more free memory than used.
 */
import { loadFfi } from './syscalls.ts'

const M_MMAP_THRESHOLD = -3

/** Blocks from this size on go back to the system when they are freed. Slabs in use are pooled. */
const LARGE_BLOCK_BYTES = 128 * 1024

/**
 * Has large blocks allocated one by one, and given back to the system when they are freed. For the
 * whole process, so it is for programs to call, not for libraries.
 * @returns false: this machine has no such setting
 */
export function giveBackLargeBlocks(): boolean {
  const koffi = loadFfi()
  if (typeof koffi === 'string') return false
  try {
    const mallopt = koffi.load('libc.so.6').func('int mallopt(int parameter, int value)')
    return mallopt(M_MMAP_THRESHOLD, LARGE_BLOCK_BYTES) === 1
  } catch {
    return false
  }
}
