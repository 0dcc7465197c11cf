import test from 'ava'
import { parseDescriptor } from '../../chunkstore/descriptor.ts'
import { type DescriptorEdit, editDescriptor } from '../../chunkstore/descriptor-edit.ts'

const edited = test.macro<[text: string, edit: Partial<DescriptorEdit>, expected: string]>(
  (t, text, edit, expected) => {
    const { parts } = parseDescriptor(text, '/d.chunkdisk')
    const chunksMax = parts.map((part) => part.chunksMax)
    const result = editDescriptor(text, { diskSize: 2 ** 21, chunksMax, added: [], ...edit })
    t.is(result, expected)
    const { geometry } = parseDescriptor(result, '/d.chunkdisk')
    t.is(geometry.diskSize, 2 ** 21)
  },
)

const OUR_OWN = '1048576\n65536\n32 /p\n32 q\n'

test('the size', edited, OUR_OWN, {}, '2097152\n65536\n32 /p\n32 q\n')
test(
  'the numbers of parts',
  edited,
  OUR_OWN,
  { chunksMax: [7, 40] },
  '2097152\n65536\n7 /p\n40 q\n',
)
test(
  'parts are added at the end, in the same manner of lines',
  edited,
  '1M\r\n64K\r\n32 p 5\r\n# end',
  {
    added: [
      { chunksMax: 1, written: 'a b' },
      { chunksMax: 2, written: '/c' },
    ],
  },
  '2097152\r\n64K\r\n32 p 5\r\n# end\r\n1 a b\r\n2 /c\r\n',
)
test(
  'what is not ours stays: comments, empty lines, suffixes, the parent, a byte order mark',
  edited,
  '\uFEFF# 1M\n\nbase\n  \n1M\n# 64K\n64K\n\n32 p\n# 5 x\n',
  { chunksMax: [33] },
  '\uFEFF# 1M\n\nbase\n  \n2097152\n# 64K\n64K\n\n33 p\n# 5 x\n',
)
test(
  'a byte order mark before the size stays',
  edited,
  '\uFEFF1M\n64K\n32 p',
  { chunksMax: [33] },
  '\uFEFF2097152\n64K\n33 p',
)
