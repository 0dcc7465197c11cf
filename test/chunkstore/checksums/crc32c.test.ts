import test from 'ava'
import { crc32c, findMismatch, sumPage, sumPages } from '../../../chunkstore/checksums/crc32c.ts'
import { naiveCrc32c, sumOf } from '../../helpers/checksum-oracle.ts'
import { Random, seedFor } from '../../helpers/random.ts'

const PAGE = 4096

test('the CRC is that of RFC 3720, appendix B.4', (t) => {
  const ascending = Uint8Array.from({ length: 32 }, (_, index) => index)
  t.is(crc32c(new Uint8Array(32)), 0x8a9136aa)
  t.is(crc32c(new Uint8Array(32).fill(0xff)), 0x62a8ab43)
  t.is(crc32c(ascending), 0x46dd794e)
  t.is(crc32c(ascending.toReversed()), 0x113fdb5c)
  t.is(crc32c(Buffer.from('123456789')), 0xe3069283)
})

test('sums of pages, as many and from wherever, agree with one bit at a time', (t) => {
  const random = new Random(seedFor(t))
  const buffer = new Uint8Array(12 * PAGE)
  for (let at = 0; at < buffer.length; at++) buffer[at] = random.between(0, 255)
  for (let round = 0; round < 40; round++) {
    const count = random.between(1, 11)
    const offset = random.between(0, PAGE)
    const sums = new Uint32Array(14).fill(7)
    const at = random.between(0, 2)
    sumPages(buffer, offset, count, sums, at)
    for (let page = 0; page < count; page++) {
      const start = offset + page * PAGE
      t.is(sums[at + page], sumOf(buffer.subarray(start, start + PAGE)))
    }
    t.true(sums.subarray(0, at).every((word) => word === 7))
    t.true(sums.subarray(at + count).every((word) => word === 7))
    t.is(findMismatch(buffer, offset, count, sums, at), -1)
    const bad = random.between(0, count - 1)
    sums[at + bad] ^= 1 << random.between(0, 31)
    t.is(findMismatch(buffer, offset, count, sums, at), bad)
  }
  t.is(crc32c(buffer.subarray(3, 500)), naiveCrc32c(buffer.subarray(3, 500)))
})

test('a page of zeros has the sum 0, and every flipped bit another one', (t) => {
  const page = new Uint8Array(PAGE)
  t.is(sumPage(page, 0), 0)
  const seen = new Set([0])
  for (let bit = 0; bit < 8 * PAGE; bit++) {
    page[bit >> 3] ^= 1 << (bit & 7)
    seen.add(sumPage(page, 0))
    page[bit >> 3] ^= 1 << (bit & 7)
  }
  t.is(seen.size, 8 * PAGE + 1)
})
