/** A disk that changes its size again and again while many clients use all of it. */
import test from 'ava'
import { DiskError } from '../../chunkstore/disk-error.ts'
import { CachedDevice } from '../../cache/cached-device.ts'
import { DiskFolder, nodeFiles, sameAsImage } from '../helpers/chunk-disk.ts'
import { DeviceClient } from '../helpers/device-client.ts'
import { Random, seedFor } from '../helpers/random.ts'
import { TestFiles } from '../helpers/test-files.ts'
import { RandomLoad } from './random-load.ts'

const PAGE = 4096
const CHUNK = 16_384
const PAGES_MAX = 64
const EINVAL = 22
const ENOSPC = 28
const ROUNDS = 10

for (const throughCache of [false, true]) {
  const where = throughCache ? 'through the page cache' : 'directly'
  test(`random load ${where} while the size changes`, async (t) => {
    const random = new Random(seedFor(t))
    const counts = { grown: 0, shrunk: 0, cut: 0, refused: 0, failures: 0 }
    for (let round = 0; round < ROUNDS; round++) {
      const folder = new DiskFolder(t)
      folder.make('a', { size: PAGES_MAX * PAGE, chunkSize: CHUNK, parts: { p: 3, q: 100 } })
      const files = Object.assign(new TestFiles(nodeFiles()), { syncs: false, late: random })
      const { disk } = await folder.open('a', { openFilesMax: random.pick([2, 1000]) }, files)
      const arena = new Uint8Array(random.pick([4, 40]) * PAGE)
      const cache = new CachedDevice(disk, { arena, retain: true })
      const client = new DeviceClient(throughCache ? cache : disk)
      const load = new RandomLoad(PAGES_MAX * PAGE, random)
      const state = { isOver: false }
      const loading = load
        .run(client, {
          clients: 8,
          steps: 600,
          pagesMax: random.pick([4, 30]),
          errnos: [EINVAL, ENOSPC],
        })
        .finally(() => (state.isOver = true))
      const resizing = async (): Promise<void> => {
        while (!state.isOver) {
          const before = disk.size
          const pages = before / PAGE
          const least = random.chance(0.5) ? Math.max(4, pages - 2) : 4
          const size = random.between(least, PAGES_MAX) * PAGE
          const discardTail = random.chance(0.5)
          try {
            await disk.resize({ size, discardTail })
          } catch (error) {
            if (!(error instanceof DiskError) || error.code !== 'ETAIL') throw error
            counts.refused++
            t.is(disk.size, before)
            continue
          }
          cache.dropBehind(Math.min(before, size))
          if (size > before) counts.grown++
          else if (discardTail) counts.cut++
          else counts.shrunk++
          load.cut(size, size < before && !discardTail)
          for (let turn = random.between(0, 20); turn > 0; turn--) {
            await new Promise((go) => setImmediate(go))
          }
        }
      }
      const [failures] = await Promise.all([loading, resizing()])
      counts.failures += failures
      await disk.resize({ size: PAGES_MAX * PAGE })
      await load.settle(client)
      await sameAsImage(client, load.image)
      await cache.close()
      t.deepEqual(folder.openDescriptors(), [])
      const again = await folder.open('a')
      await sameAsImage(again.client, load.image)
    }
    t.log(JSON.stringify(counts))
    const { grown, shrunk, cut, refused, failures } = counts
    t.true(Math.min(grown, shrunk + refused, cut, failures) > 2)
  })
}
