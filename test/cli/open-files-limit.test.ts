import test from 'ava'
import { serverLimits } from '../../cli/limits.ts'
import { openFilesPerDisk } from '../../cli/open-files-limit.ts'
import { descriptorLimit, firstReserved } from '../../io/descriptors.ts'
import { silentLog } from '../helpers/memory-session.ts'

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

test('no more connections than there are descriptors for them', (t) => {
  const warnings: object[] = []
  const log = { ...silentLog, warn: (fields: object) => void warnings.push(fields) }
  const options = {
    maxConnections: 5000,
    maxConnectionsPerAddress: 7,
    maxConnectionsPerExport: 8,
    handshakeTimeout: 1500,
    idleTimeout: 0,
  }
  const of = (descriptors: number): number =>
    serverLimits(options, descriptors, 512, log).connections
  t.is(of(20_000), 5000)
  t.is(of(Infinity), 5000)
  t.is(warnings.length, 0)
  t.is(of(1024), 960 - 512 - 32)
  t.is(of(64), 1)
  t.deepEqual(warnings[0], { limit: 1024, connections: 416, wanted: 5000 })
  t.like(serverLimits(options, Infinity, 0, log), {
    connectionsPerAddress: 7,
    connectionsPerExport: 8,
    handshakeMs: 1500,
    idleMs: 0,
  })
})
