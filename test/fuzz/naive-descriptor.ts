/**
 * A descriptor read by docs/format.md in the plainest way: what it says, or that it must be
 * refused. Shares no code with the parser.
 */
import path from 'node:path'

export interface NaiveDescriptor {
  readonly parent: string | null
  readonly diskSize: number
  readonly chunkSize: number
  /** Most chunks and directory. */
  readonly parts: readonly (readonly [number, string])[]
}

const PAGE = 4096n
const LARGEST = 2n ** 53n - PAGE
const DIGITS = '0123456789'
const BLANKS = /^\s*$/

/** @returns null: it is none */
export function naiveDescriptor(text: string, file: string): NaiveDescriptor | null {
  const withoutMark = text.startsWith('\uFEFF') ? text.slice(1) : text
  const lines = withoutMark
    .split('\n')
    .map((line) => (line.endsWith('\r') ? line.slice(0, -1) : line))
    .filter((line) => !BLANKS.test(line) && line[0] !== '#')
  const parent = lines.length > 0 && !looksLikeSize(lines[0]) ? (lines.shift() ?? null) : null
  const [disk, chunk, ...rest] = lines
  const [diskSize, chunkSize] = [sizeOf(disk ?? ''), sizeOf(chunk ?? '')]
  const isSize = (size: bigint): boolean => size > 0n && size % PAGE === 0n && size <= LARGEST
  if (!isSize(diskSize) || !isSize(chunkSize) || chunkSize > diskSize) return null
  const parts = rest.map(partOf)
  const places = [...(parent === null ? [] : [parent]), ...parts.map((part) => part?.[1] ?? '')]
  if (parts.length === 0 || parts.includes(null) || places.some(isOfWindows)) return null
  const rooms = parts.map((part) => part?.[0] ?? 0n).reduce((sum, room) => sum + room, 0n)
  if (rooms * chunkSize < diskSize) return null
  const at = (written: string): string => path.resolve(path.dirname(file), written)
  return {
    parent: parent === null ? null : at(parent),
    diskSize: Number(diskSize),
    chunkSize: Number(chunkSize),
    parts: parts.map((part) => [
      Math.min(Number(part?.[0]), Number.MAX_SAFE_INTEGER),
      at(part?.[1] ?? ''),
    ]),
  }
}

/** Digits and perhaps a suffix, blanks allowed: then it is no parent, though perhaps no size. */
function looksLikeSize(line: string): boolean {
  return /^\s*[0-9]+\s*([kmgtp]|[kmgtp]b|[kmgtp]ib)?\s*$/i.test(line)
}

/** -1n: it is none. */
function sizeOf(line: string): bigint {
  let digits = 0
  while (digits < line.length && DIGITS.includes(line[digits])) digits++
  const suffix = line.slice(digits).toUpperCase()
  if (digits === 0) return -1n
  if (suffix === '') return BigInt(line.slice(0, digits))
  const power = 'KMGTP'.indexOf(suffix[0])
  const isKnown = power >= 0 && ['', 'B', 'IB'].includes(suffix.slice(1))
  return isKnown ? BigInt(line.slice(0, digits)) * 1024n ** BigInt(power + 1) : -1n
}

/** "MOST DIRECTORY" with one blank between; a slash of either kind at its end does not count. */
function partOf(line: string): readonly [bigint, string] | null {
  const blank = line.indexOf(' ')
  const [most, directory] = [line.slice(0, blank), line.slice(blank + 1)]
  const isNumber = most !== '' && [...most].every((each) => DIGITS.includes(each))
  if (blank < 0 || !isNumber || directory === '') return null
  if (/[\r\u2028\u2029]/.test(directory)) return null
  const hasSlash = directory.length > 1 && '/\\'.includes(directory.at(-1) ?? '')
  return [BigInt(most), hasSlash ? directory.slice(0, -1) : directory]
}

/** A drive or a share. */
function isOfWindows(place: string): boolean {
  return place.startsWith('\\\\') || /^[a-zA-Z]:([\\/].*)?$/s.test(place)
}
