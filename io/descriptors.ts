/** File descriptors: how many this process may have, and which of them are not for connections. */
import { readFileSync } from 'node:fs'

/** So many are left to chunk files, directories and whatever a request needs for a moment. */
const RESERVED = 64

/** At most this share, where there are few. */
const RESERVED_SHARE = 1 / 8

/** @returns the limit (RLIMIT_NOFILE; Node has raised it as far as it may); Infinity: none known */
export function descriptorLimit(): number {
  try {
    const text = readFileSync('/proc/self/limits', 'utf8')
    return Number(/^Max open files +(\d+)/m.exec(text)?.[1] ?? Infinity)
  } catch {
    return Infinity
  }
}

/**
 * @returns the first descriptor that no connection keeps. The kernel gives the lowest free number:
 *   who gets this one, or a higher one, knows that all below are in use.
 */
export function firstReserved(limit = descriptorLimit()): number {
  return limit - Math.min(RESERVED, Math.floor(limit * RESERVED_SHARE))
}
