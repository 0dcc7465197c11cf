/** Sizes as people write them: bytes, or a number with a binary suffix (64M = 64 * 2^20). */

const SUFFIXES = 'KMGTP'

/** @returns bytes, or null if the text is not a size below 2^53 */
export function parseSize(text: string): number | null {
  const match = /^(\d+)(?:([KMGTP])(?:i?B)?)?$/i.exec(text)
  if (match === null) return null
  const power = match[2] === undefined ? 0 : SUFFIXES.indexOf(match[2].toUpperCase()) + 1
  const bytes = Number(match[1]) * 1024 ** power
  return Number.isSafeInteger(bytes) ? bytes : null
}

/** @returns the shortest exact form, for example 64M; plain bytes if no suffix is exact */
export function formatSize(bytes: number): string {
  for (let power = SUFFIXES.length; power > 0; power--) {
    const unit = 1024 ** power
    if (bytes >= unit && bytes % unit === 0) return `${bytes / unit}${SUFFIXES[power - 1]}`
  }
  return String(bytes)
}
