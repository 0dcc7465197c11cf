import test from 'ava'
import { MarkFile } from '../../../chunkstore/checksums/mark-file.ts'
import { Marks } from '../../../chunkstore/checksums/marks.ts'
import { nodeFiles } from '../../helpers/chunk-disk.ts'
import { tempDirectory } from '../../helpers/temp.ts'
import { TestFiles } from '../../helpers/test-files.ts'

const CHUNK = 65_536
/** Far apart, so that they are not marked as neighbours. */
const [REGION, OTHER] = [5, 500]

test('a mark that is being set is not taken off by who looked at the region before', async (t) => {
  const directory = tempDirectory(t)
  const files = new TestFiles(nodeFiles())
  await MarkFile.create(files, directory, CHUNK)
  const file = await MarkFile.open(files, directory, CHUNK, true)
  const marks = new Marks([file], () => t.fail())
  const held = files.hold(/^sync checksums/)
  const wanted = marks.wantNow(REGION, 1)
  await held.reached
  marks.clear(REGION)
  held.release()
  t.is(await wanted, 0)
  t.true(marks.has(REGION))
  // The sector is written again.
  t.is(await marks.wantNow(OTHER, 1), 0)
  const found = await MarkFile.open(files, directory, CHUNK, false)
  t.true(found.list().includes(REGION))
  await found.close()
  marks.clear(REGION)
  await marks.flush(true)
  t.false(marks.has(REGION))
  await marks.close()
})
