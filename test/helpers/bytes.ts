/** Comparing many bytes: fast, and with the place of the first difference instead of a dump. */
import assert from 'node:assert/strict'
import type { ExecutionContext } from 'ava'

export function sameBytes(
  t: ExecutionContext,
  seen: Uint8Array,
  expected: Uint8Array,
  where = '',
): void {
  const message = difference(seen, expected)
  t.is(message, '', where)
}

/** @returns where they differ first, in words, or '' */
export function difference(seen: Uint8Array, expected: Uint8Array): string {
  if (seen.length !== expected.length) return `${seen.length} bytes, not ${expected.length}`
  if (Buffer.compare(seen, expected) === 0) return ''
  const index = seen.findIndex((byte, at) => byte !== expected[at])
  return `byte ${index} of ${seen.length} is ${seen[index]}, not ${expected[index]}`
}

const CONSTANT_BYTES = 65536
const constants = new Map<number, Uint8Array>()

/** Every byte is `value`. */
export function isFilledWith(bytes: Uint8Array, value: number): boolean {
  assert(value >= 0 && value < 256)
  const expected = constants.get(value) ?? new Uint8Array(CONSTANT_BYTES).fill(value)
  constants.set(value, expected)
  for (let at = 0; at < bytes.length; at += CONSTANT_BYTES) {
    const piece = bytes.subarray(at, at + CONSTANT_BYTES)
    if (Buffer.compare(piece, expected.subarray(0, piece.length)) !== 0) return false
  }
  return true
}
