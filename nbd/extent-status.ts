/**
 * What each metadata context tells of an extent: 32 bits, or 64 with extended headers. The layout
 * of our own contexts is documented in docs/protocol.md.
 *
 *   base:allocation         flags: HOLE, ZERO
 *   qemu:allocation-depth   depth
 *   x-chunknbd:part                                depth (12 bits), part (20 bits)
 *   x-chunknbd:chunk        chunk (32 bits)        depth (12 bits), part (20 bits)
 */
import { ExtentKind } from '../device/extents.ts'
import type { ExtentList } from '../device/extents.ts'

const PART_BITS = 20

/** @param kinds of the context, bits of `ExtentKind`. @returns the lower 32 bits */
export function statusLow(kinds: number, extents: ExtentList, index: number): number {
  if ((kinds & ExtentKind.ALLOCATION) !== 0) return extents.flagsAt(index)
  const depth = extents.depthAt(index)
  if ((kinds & ExtentKind.PART) === 0) return depth
  return ((depth << PART_BITS) | extents.partAt(index)) >>> 0
}

/** @returns the upper 32 bits */
export function statusHigh(kinds: number, extents: ExtentList, index: number): number {
  return (kinds & ExtentKind.CHUNK) === 0 ? 0 : extents.chunkAt(index)
}
