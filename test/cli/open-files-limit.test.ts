import test from 'ava'
import { openFilesPerDisk } from '../../cli/open-files-limit.ts'
import { descriptorLimit, firstReserved } from '../../io/descriptors.ts'

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
  t.true(descriptorLimit() >= 64)
})

test('the last descriptors are not for connections', (t) => {
  t.is(firstReserved(Infinity), Infinity)
  t.is(firstReserved(1024), 960)
  t.is(firstReserved(100), 88)
})
