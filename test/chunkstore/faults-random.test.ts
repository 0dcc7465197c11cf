import test from 'ava'
import { DiskFolder, nodeFiles, sameAsImage } from '../helpers/chunk-disk.ts'
import { Random, seedFor } from '../helpers/random.ts'
import { TestFiles } from '../helpers/test-files.ts'
import { RandomLoad } from './random-load.ts'

const EIO = 5
const ENOSPC = 28
const SHAPE = { size: 2 ** 20 + 12_288, chunkSize: 65_536 }
const ROUNDS = 4

/** A failed sync ends everything, an unknown size its chunk; so they are left out here. */
const MAY_FAIL =
  /^(?!sync (?!\.tmp)|syncDirectory|abilities|readText|lock|list|status|remove \.tmp)/

for (const openFilesMax of [1, 1000]) {
  test(`random failures agree with a model, ${openFilesMax} open`, async (t) => {
    const random = new Random(seedFor(t))
    const folder = new DiskFolder(t)
    folder.make('base', SHAPE)
    folder.make('child', { ...SHAPE, parent: 'base' })
    const load = new RandomLoad(SHAPE.size, random)
    let failures = 0
    for (const name of ['base', 'child']) {
      const parentBefore = folder.fingerprint('base')
      for (let round = 0; round < ROUNDS; round++) {
        const files = Object.assign(new TestFiles(nodeFiles()), { syncs: false, late: random })
        const { client, disk } = await folder.open(name, { openFilesMax }, files)
        files.fault = (call) =>
          MAY_FAIL.test(call) && random.chance(0.03) ? random.pick([EIO, ENOSPC]) : 0
        const options = { clients: 8, steps: 300, pagesMax: random.pick([4, 40]) }
        failures += await load.run(client, { ...options, errnos: [EIO, ENOSPC] })
        files.fault = () => 0
        await load.settle(client)
        await sameAsImage(client, load.image)
        await client.flush()
        await disk.close()
        t.is(files.openNames.size, 0)
        t.deepEqual(folder.openDescriptors(), [])
        for (const line of folder.list(name)) t.regex(line, /^chunk\d+ (0|65536)$/)
      }
      if (name === 'child') t.deepEqual(folder.fingerprint('base'), parentBefore)
    }
    t.true(failures > 10, `${failures} requests failed`)
  })
}
