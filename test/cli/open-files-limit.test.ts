import test from 'ava'
import { openFilesLimit, openFilesPerDisk } from '../../cli/open-files-limit.ts'

test('half of the descriptors are for chunk files, a thousand for each disk at most', (t) => {
  t.is(openFilesPerDisk(Infinity, 1), 1000)
  t.is(openFilesPerDisk(1_048_576, 3), 1000)
  t.is(openFilesPerDisk(2000, 1), 1000)
  t.is(openFilesPerDisk(1024, 1), 512)
  t.is(openFilesPerDisk(1024, 2), 256)
  t.is(openFilesPerDisk(64, 100), 1)
  t.is(openFilesPerDisk(1024, 0), 512)
})

test('the limit of this process is known', (t) => {
  t.true(openFilesLimit() >= 64)
})
