/**
 * What a checksum file consists of: a slot of one page for each region of its chunk, in order.
 *
 *   words 0 to 1007   the sums of the region's pages (those that the chunk does not have: 0)
 *   words 1008 on     who it is: magic, chunk (two halves), region, zeros
 *   word 1023         the sum of the slot as a page, with 0 here
 *
 * Words are little-endian. A slot of zeros, or one behind the end of the file, is that of a region
 * of zeros. The sum of a slot only tells which of the two is damaged, data or sums.
 */
import { CHECKSUM_REGION_PAGES } from '../limits.ts'
import { sumPage } from './crc32c.ts'

export const SLOT_BYTES = 4096
export const SLOT_WORDS = SLOT_BYTES / 4

/** "chunknbd-crc32c1" */
const MAGIC = [0x6e756863, 0x64626e6b, 0x6372632d, 0x31633233]
const IDENTITY = CHECKSUM_REGION_PAGES
const SEAL = SLOT_WORDS - 1

/** Fills in the words behind the sums. */
export function sealSlot(slot: Uint32Array, chunk: number, region: number): void {
  slot.fill(0, IDENTITY)
  slot.set(identityOf(chunk, region), IDENTITY)
  slot[SEAL] = sealOf(slot)
}

/** @returns whether nothing happened to the slot since it was sealed; one of zeros is fine */
export function isSlotWhole(slot: Uint32Array, chunk: number, region: number): boolean {
  if (isZeroSlot(slot)) return true
  const identity = identityOf(chunk, region)
  return identity.every((word, at) => slot[IDENTITY + at] === word) && slot[SEAL] === sealOf(slot)
}

function isZeroSlot(slot: Uint32Array): boolean {
  let all = 0
  for (let at = 0; at < SLOT_WORDS; at++) all |= slot[at]
  return all === 0
}

function identityOf(chunk: number, region: number): number[] {
  return [...MAGIC, chunk % 2 ** 32, Math.floor(chunk / 2 ** 32), region]
}

function sealOf(slot: Uint32Array): number {
  const seal = slot[SEAL]
  slot[SEAL] = 0
  const sum = sumPage(bytesOf(slot), 0)
  slot[SEAL] = seal
  return sum
}

/** The same memory. */
export function bytesOf(slot: Uint32Array): Uint8Array {
  return new Uint8Array(slot.buffer, slot.byteOffset, slot.byteLength)
}
