import test from 'ava'
import { formatDescriptor, parseDescriptor } from '../../chunkstore/descriptor.ts'
import { DiskError } from '../../chunkstore/disk-error.ts'
import { Geometry } from '../../chunkstore/geometry.ts'

const FILE = '/disks/a.chunkdisk'
const parse = (text: string) => parseDescriptor(text, FILE)

test('the text of chunkdisk 1.6 is read unchanged', (t) => {
  const text = '107374182400\n104857600\n512 /mnt/part1\n512 /mnt/part2\n'
  const descriptor = parse(text)
  t.is(descriptor.file, FILE)
  t.is(descriptor.parent, null)
  t.deepEqual(
    { ...descriptor.geometry },
    {
      diskSize: 107_374_182_400,
      chunkSize: 104_857_600,
      chunkCount: 1024,
    },
  )
  t.deepEqual(
    descriptor.parts.map(({ chunksMax, directory }) => [chunksMax, directory]),
    [
      [512, '/mnt/part1'],
      [512, '/mnt/part2'],
    ],
  )
})

test('lines end with LF or CRLF, and the last one may have no end', (t) => {
  const expected = parse('/base.chunkdisk\n1048576\n65536\n16 /p q\n')
  for (const text of [
    '/base.chunkdisk\r\n1048576\r\n65536\r\n16 /p q\r\n',
    '/base.chunkdisk\r\n1048576\n65536\r\n16 /p q',
    '\uFEFF/base.chunkdisk\n1048576\n65536\n16 /p q',
  ]) {
    t.deepEqual(parse(text), expected)
  }
  t.is(expected.parent, '/base.chunkdisk')
  t.is(expected.parts[0].directory, '/p q')
})

test('a byte order mark before a size does not make it a parent', (t) => {
  t.is(parse('\uFEFF1048576\r\n65536\r\n16 /p\r\n').parent, null)
})

test('comments, empty lines and suffixes are accepted', (t) => {
  const descriptor = parse('# a disk\n\n  \r\n1M\r\n# chunks\n64K\n\n16 /p\n#end')
  t.is(descriptor.geometry.diskSize, 1_048_576)
  t.is(descriptor.geometry.chunkSize, 65_536)
  t.is(descriptor.parts.length, 1)
})

test('relative paths are relative to the descriptor, absolute ones stay', (t) => {
  const descriptor = parse('../base/b.chunkdisk\n1M\n64K\n8 parts/one\n4 /abs\n4 ../up\n')
  t.is(descriptor.parent, '/base/b.chunkdisk')
  t.is(descriptor.parentWritten, '../base/b.chunkdisk')
  t.deepEqual(
    descriptor.parts.map((part) => part.directory),
    ['/disks/parts/one', '/abs', '/up'],
  )
  t.is(descriptor.parts[0].written, 'parts/one')
})

test('a directory may hold spaces, also at its ends', (t) => {
  const directories = parse('1M\n64K\n8 /a b/c d\n8  /x \n').parts.map((part) => part.directory)
  t.deepEqual(directories, ['/a b/c d', '/disks/ /x '])
})

test('a slash at the end of a directory means nothing', (t) => {
  const directories = parse('1M\n64K\n8 /p/\n8 q/\n8 /\n8 w\\\n').parts.map(
    (part) => part.directory,
  )
  t.deepEqual(directories, ['/p', '/disks/q', '/', '/disks/w'])
})

test('a part may have a quota of 0, or more than any disk has', (t) => {
  const parts = parse('1M\n64K\n0 /retired\n18446744073709551615 /p\n').parts
  t.is(parts[0].chunksMax, 0)
  t.true(parts[1].chunksMax >= 16)
})

test('the last chunk may be partial, and the quota has to cover it', (t) => {
  t.is(parse('102400\n65536\n2 /p\n').geometry.chunkCount, 2)
  t.regex(messageOf('102400\n65536\n1 /p\n'), /the disk has 2 chunks, its parts hold 1.*raise/)
})

test('one chunk may be the whole disk', (t) => {
  t.is(parse('4096\n4096\n1 /p').geometry.chunkCount, 1)
})

const faults: [title: string, text: string, message: RegExp][] = [
  ['an empty file', '', /the disk size is missing/],
  ['only comments', '# nothing\n', /the disk size is missing/],
  ['no chunk size', '1M\n', /the chunk size is missing/],
  ['no disk size after the parent', '/base.chunkdisk\n', /the disk size is missing/],
  ['a bad disk size', '/b\n1MM\n64K\n16 p', /line 2: the disk size is "1MM".*taken for the parent/],
  ['a bad chunk size', '1M\nabc\n16 p', /line 2: the chunk size is "abc", not a size like 64M/],
  ['a first size too large', '18446744073709551616\n65536\n16 p', /line 1: the disk size is "184/],
  ['a space after the first size', '1048576 \n65536\n16 p', /line 1: the disk size is "1048576 "/],
  [
    'a size of 0',
    '0\n65536\n16 p',
    /line 1: the disk size is 0 bytes; .* multiple of 4096 above 0/,
  ],
  ['a chunk size of 0', '1M\n0\n16 p', /line 2: the chunk size is 0 bytes/],
  [
    'an uneven disk size',
    '# x\n1000000\n4096\n999 p',
    /line 2: the disk size is 1000000 bytes.*4096/,
  ],
  ['an uneven chunk size', '1M\n5000\n999 p', /line 2: the chunk size is 5000 bytes.*4096/],
  [
    'chunks above the disk',
    '64K\n1M\n1 p',
    /line 2: the chunk size 1M is larger than the disk \(64K\)/,
  ],
  ['no parts', '1M\n64K\n', /names no part \(a line "MAX_CHUNKS DIRECTORY"\)/],
  [
    'a part without a number',
    '1M\n64K\n/p',
    /line 3: "\/p" is not a part \("MAX_CHUNKS DIRECTORY"\)/,
  ],
  ['a part without a directory', '1M\n64K\n16 \n', /line 3: "16 " is not a part/],
  ['a part of a negative number', '1M\n64K\n-1 p', /line 3: "-1 p" is not a part/],
  ['a number with a tab', '1M\n64K\n16\tp', /line 3: .* is not a part/],
  [
    'parts too small together',
    '1M\n64K\n8 a\n7 b',
    /16 chunks, its parts hold 15; raise .* or add/,
  ],
]

for (const [title, text, message] of faults) {
  test(`refused with file, line, value and rule: ${title}`, (t) => {
    t.regex(messageOf(text), message)
  })
}

function messageOf(text: string): string {
  try {
    parse(text)
  } catch (error) {
    if (!(error instanceof DiskError) || error.code !== 'EDESCRIPTOR') throw error
    return error.message.startsWith(`${FILE}: `) ? error.message : 'does not begin with the file'
  }
  throw new Error('accepted')
}

test('what is written is read back as it was', (t) => {
  const parts = [
    { chunksMax: 3, written: 'my disk.chunks' },
    { chunksMax: 13, written: '/elsewhere' },
  ]
  const text = formatDescriptor('base.chunkdisk', new Geometry(1_048_576, 65_536), parts)
  t.is(text, 'base.chunkdisk\n1048576\n65536\n3 my disk.chunks\n13 /elsewhere\n')
  const descriptor = parse(text)
  t.is(descriptor.parentWritten, 'base.chunkdisk')
  t.deepEqual(
    descriptor.parts.map(({ chunksMax, written }) => ({ chunksMax, written })),
    parts,
  )
  const rootText = formatDescriptor(null, new Geometry(1_048_576, 65_536), parts)
  t.is(parse(rootText).parent, null)
})
