/**
 * Strings on the wire: UTF-8 without NUL, at most `STRING_BYTES_MAX` bytes (spec: "Conventions").
 * Reading is strict; writing cuts what is too long between two characters.
 */
import { STRING_BYTES_MAX } from './protocol.ts'

const decoder = new TextDecoder('utf-8', { fatal: true, ignoreBOM: true })
const encoder = new TextEncoder()

/** @returns null: not a string by the rules above */
export function decodeString(bytes: Uint8Array): string | null {
  if (bytes.length > STRING_BYTES_MAX || bytes.includes(0)) return null
  try {
    return decoder.decode(bytes)
  } catch {
    return null
  }
}

/** Whether it can be sent as it is. */
export function isString(text: string): boolean {
  return !text.includes('\0') && encoder.encode(text).length <= STRING_BYTES_MAX
}

export function encodeString(text: string): Uint8Array {
  const bytes = encoder.encode(text)
  if (bytes.length <= STRING_BYTES_MAX) return bytes
  let end = STRING_BYTES_MAX
  while (isContinuation(bytes[end])) end--
  return bytes.subarray(0, end)
}

function isContinuation(byte: number): boolean {
  return (byte & 0xc0) === 0x80
}
