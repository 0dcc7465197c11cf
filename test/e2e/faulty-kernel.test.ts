/**
 * Random requests of any alignment, many at once, against a model: on both engines, in every cache
 * mode, through the page cache, on a kernel that misbehaves (see `FaultyKernel`).
 */
import test, { type ExecutionContext } from 'ava'
import { CachedDevice } from '../../cache/cached-device.ts'
import { PAGE_SIZE } from '../../cache/limits.ts'
import { CACHE_TRAITS, CacheMode } from '../../chunkstore/options.ts'
import { scrubDisk } from '../../chunkstore/scrub.ts'
import type { Files } from '../../io/io.ts'
import { alignedMemory } from '../../io/memory.ts'
import { RandomLoad } from '../chunkstore/random-load.ts'
import { DiskFolder, nodeFiles, sameAsImage } from '../helpers/chunk-disk.ts'
import { DeviceClient } from '../helpers/device-client.ts'
import { requireDirect } from '../helpers/direct.ts'
import { FaultyKernel } from '../helpers/faulty-kernel.ts'
import { Random, seedFor } from '../helpers/random.ts'

const [EIO, ENOSPC] = [5, 28]
const SHAPE = { size: 2 ** 20 + 12_288, chunkSize: 65_536 }
/** Smallest request, and what all are multiples of: most are no whole pages. */
const UNIT = 512
const CACHE_PAGES = 40
/** Often enough to save checksums while the load runs. */
const SETTLE_MS = 5

for (const engine of ['node', 'uring'] as const) {
  for (const cacheMode of Object.values(CacheMode)) {
    // One at a time: Node's own functions are replaced meanwhile.
    test.serial(`${engine}, ${cacheMode}: a kernel that misbehaves, against a model`, async (t) => {
      const isDirect = CACHE_TRAITS[cacheMode].direct
      if (isDirect && !requireDirect(t)) return
      const random = new Random(seedFor(t))
      const kernel = new FaultyKernel(random)
      const files = kernel.files(engine)
      if (typeof files === 'string') {
        t.log(`SKIPPED: ${files}`)
        t.not(process.env.CI, 'true')
        return
      }
      const restore = kernel.seizeThreads()
      t.teardown(restore)
      let failures = 0
      for (const checksums of [false, true]) {
        failures += await useChain(t, { kernel, files, random, cacheMode, checksums })
      }
      t.true(failures > 0, `${failures} requests failed`)
      // Threads are neither interrupted nor refused for the moment: Node sees to that.
      const atOnce = engine === 'node' && isDirect ? [] : ['4', '11']
      for (const kind of ['short', '5', '28', ...atOnce])
        t.true((kernel.struck.get(kind) ?? 0) > 0, `${kind}: ${kernel.struck.get(kind)}`)
    })
  }
}

interface Scene {
  readonly kernel: FaultyKernel
  readonly files: Files
  readonly random: Random
  readonly cacheMode: CacheMode
  readonly checksums: boolean
}

/** A disk, and then a child of it. @returns how many requests failed */
async function useChain(t: ExecutionContext, scene: Scene): Promise<number> {
  const { kernel, files, random, cacheMode, checksums } = scene
  const folder = new DiskFolder(t)
  folder.make('base', { ...SHAPE, checksums })
  folder.make('child', { ...SHAPE, parent: 'base', checksums })
  const load = new RandomLoad(SHAPE.size, random, UNIT)
  let failures = 0
  for (const name of ['base', 'child']) {
    const parentBefore = folder.fingerprint('base')
    const { disk } = await folder.open(name, { cacheMode, settleMs: SETTLE_MS }, files)
    const arena = alignedMemory(CACHE_PAGES * PAGE_SIZE)
    const device = new CachedDevice(disk, { arena, retain: true })
    const client = new DeviceClient(device)
    kernel.isFaulty = true
    for (const unitsMax of [30, 300]) {
      const options = { clients: 8, steps: 200, pagesMax: unitsMax, errnos: [EIO, ENOSPC] }
      failures += await load.run(client, options)
    }
    kernel.isFaulty = false
    await load.settle(client)
    await sameAsImage(client, load.image)
    await client.flush()
    await device.close()
    t.deepEqual(folder.openDescriptors(), [])
    if (name === 'child') t.deepEqual(folder.fingerprint('base'), parentBefore)
    if (!checksums) continue
    const { findings, layers } = await scrubDisk(nodeFiles(), folder.path(`${name}.chunkdisk`))
    t.deepEqual(findings, [])
    t.true(layers[0].verifiedBytes > 0)
  }
  return failures
}
