import test from 'ava'
import type { ExecutionContext } from 'ava'
import { CachedDevice } from '../../cache/cached-device.ts'
import type { ChunkDisk } from '../../chunkstore/disk.ts'
import { CacheMode, TrimMode } from '../../chunkstore/options.ts'
import type { Files } from '../../io/io.ts'
import { deviceContract } from '../device-contract.ts'
import { DiskFolder, nodeFiles } from '../helpers/chunk-disk.ts'
import { directRefusal, filesOfEngines, requireDirect } from '../helpers/direct.ts'
import { TestFiles } from '../helpers/test-files.ts'

const SHAPE = { size: 2 ** 20 + 20_480, chunkSize: 65_536 }
const CACHE_BYTES = 2 ** 18

const NO_HOLE_STATUS = {
  'a range zeroed with NO_HOLE is no hole':
    'SEEK_HOLE cannot tell a hole from allocated blocks that were never written',
}

interface How {
  readonly cacheMode?: CacheMode
  readonly files?: Files
  readonly trim?: TrimMode
}

async function chunkDisk(t: ExecutionContext, how: How = {}): Promise<ChunkDisk> {
  const { cacheMode = CacheMode.WRITEBACK, trim = TrimMode.FREE, files } = how
  const folder = new DiskFolder(t)
  folder.make('a', SHAPE)
  return (await folder.open('a', { openFilesMax: 4, cacheMode, trim }, unsynced(files))).disk
}

/** A parent that is full of zeros: the child reads as a new device, but has to copy. */
async function child(t: ExecutionContext, how: How = {}): Promise<ChunkDisk> {
  const { cacheMode = CacheMode.WRITEBACK, files } = how
  const folder = new DiskFolder(t)
  folder.make('base', SHAPE)
  folder.make('child', { ...SHAPE, parent: 'base' })
  const { disk, client } = await folder.open('base')
  await client.write(0, new Uint8Array(disk.size))
  await disk.close()
  return (await folder.open('child', { cacheMode }, unsynced(files))).disk
}

/** The suite syncs a lot, and syncing has its own tests. */
function unsynced(files: Files = nodeFiles()): TestFiles {
  return Object.assign(new TestFiles(files), { syncs: false })
}

deviceContract(test, 'a chunk disk', {
  make: async (t) => ({ device: await chunkDisk(t) }),
  deviations: NO_HOLE_STATUS,
})

deviceContract(test, 'a chunk disk that makes holes only', {
  make: async (t) => ({ device: await chunkDisk(t, { trim: TrimMode.HOLES }) }),
  deviations: NO_HOLE_STATUS,
})

deviceContract(test, 'a child disk', {
  make: async (t) => ({ device: await child(t) }),
  deviations: NO_HOLE_STATUS,
})

deviceContract(test, 'a cached chunk disk', {
  async make(t) {
    const lower = await chunkDisk(t)
    const arena = new Uint8Array(CACHE_BYTES)
    return { device: new CachedDevice(lower, { arena, retain: true }) }
  },
  deviations: NO_HOLE_STATUS,
})

if (directRefusal !== '') {
  test('a chunk disk with O_DIRECT', (t) => void requireDirect(t))
} else {
  for (const [engine, files] of filesOfEngines()) {
    deviceContract(test, `a chunk disk, ${engine}, cache mode none`, {
      make: async (t) => ({ device: await chunkDisk(t, { cacheMode: CacheMode.NONE, files }) }),
      deviations: NO_HOLE_STATUS,
    })

    deviceContract(test, `a child disk, ${engine}, cache mode directsync`, {
      make: async (t) => ({ device: await child(t, { cacheMode: CacheMode.DIRECTSYNC, files }) }),
      deviations: NO_HOLE_STATUS,
    })
  }
}
