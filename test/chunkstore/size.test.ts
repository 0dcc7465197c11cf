import test from 'ava'
import { formatSize, parseSize } from '../../chunkstore/size.ts'

test('a size is bytes, or a number with a binary suffix in either case', (t) => {
  t.is(parseSize('0'), 0)
  t.is(parseSize('4096'), 4096)
  t.is(parseSize('64M'), 67_108_864)
  t.is(parseSize('64m'), 67_108_864)
  t.is(parseSize('64MB'), 67_108_864)
  t.is(parseSize('64MiB'), 67_108_864)
  t.is(parseSize('1K'), 1024)
  t.is(parseSize('3G'), 3_221_225_472)
  t.is(parseSize('2T'), 2_199_023_255_552)
  t.is(parseSize('1P'), 1_125_899_906_842_624)
})

test('what is no size is null, never a number that looks right', (t) => {
  const texts = ['', ' ', 'M', '-1', '+1', '1.5G', '1e3', '0x10', '64 M', ' 64M', '64M ', '64X']
  for (const text of [...texts, '64MM', '64Mi', '64iB', '64B', '1_000', '٣']) {
    t.is(parseSize(text), null, JSON.stringify(text))
  }
})

test('a size that is not exact as a number is refused', (t) => {
  t.is(parseSize('9007199254740991'), 9_007_199_254_740_991)
  t.is(parseSize('9007199254740992'), null)
  t.is(parseSize('7P'), 7_881_299_347_898_368)
  t.is(parseSize('8P'), null)
  t.is(parseSize('18446744073709551616'), null)
  t.is(parseSize('99999999999999999999999999999999G'), null)
})

test('a size is shown in the shortest form that is exact', (t) => {
  t.is(formatSize(0), '0')
  t.is(formatSize(1023), '1023')
  t.is(formatSize(1024), '1K')
  t.is(formatSize(1025), '1025')
  t.is(formatSize(67_108_864), '64M')
  t.is(formatSize(1_610_612_736), '1536M')
  for (const bytes of [1, 4096, 12_288, 1_048_576, 2 ** 50, 2 ** 53 - 4096]) {
    t.is(parseSize(formatSize(bytes)), bytes)
  }
})
