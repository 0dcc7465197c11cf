import test from 'ava'
import type { ExecutionContext } from 'ava'
import { CacheMode } from '../../chunkstore/options.ts'
import type { Files } from '../../io/io.ts'
import { DiskFolder, nodeFiles, plainFiles, sameAsImage } from '../helpers/chunk-disk.ts'
import { filesOfEngines, requireDirect } from '../helpers/direct.ts'
import { Random, seedFor } from '../helpers/random.ts'
import { TestFiles } from '../helpers/test-files.ts'
import { RandomLoad } from './random-load.ts'

const ROUNDS = 3

interface Scene {
  /** O_DIRECT. */
  readonly direct?: true
  readonly size: number
  readonly chunkSize: number
  readonly steps: number
  readonly openFilesMax: number
  makeFiles(random: Random): Files
}

/** Syncing is not what these tests are about. */
function unsynced(real: Files, fields: Partial<TestFiles> = {}): Files {
  return Object.assign(new TestFiles(real), { syncs: false }, fields)
}

const SCENES: Record<string, Scene> = {
  'chunks of 64 KiB': {
    size: 2 ** 20 + 20_480,
    chunkSize: 65_536,
    steps: 900,
    openFilesMax: 1000,
    makeFiles: nodeFiles,
  },
  'chunks of 4 KiB, two open files': {
    size: 139_264,
    chunkSize: 4096,
    steps: 500,
    openFilesMax: 2,
    makeFiles: () => unsynced(nodeFiles()),
  },
  'chunks of 64 KiB, two open files, late completions': {
    size: 2 ** 20 + 4096,
    chunkSize: 65_536,
    steps: 700,
    openFilesMax: 2,
    makeFiles: (random) => unsynced(nodeFiles(), { late: random }),
  },
  'no system calls, two open files': {
    size: 2 ** 19 + 12_288,
    chunkSize: 65_536,
    steps: 500,
    openFilesMax: 2,
    makeFiles: () => unsynced(plainFiles()),
  },
  'no holes, late completions': {
    size: 2 ** 19 + 12_288,
    chunkSize: 65_536,
    steps: 400,
    openFilesMax: 1,
    makeFiles(random) {
      const fixedAbilities = { punchHole: false, zeroRange: false, allocate: false }
      return unsynced(nodeFiles(), { late: random, fixedAbilities })
    },
  },
}

for (const [engine, files] of filesOfEngines()) {
  SCENES[`O_DIRECT, ${engine}, two open files, late completions`] = {
    direct: true,
    size: 2 ** 20 + 20_480,
    chunkSize: 65_536,
    steps: 500,
    openFilesMax: 2,
    makeFiles: (random) => unsynced(files, { late: random }),
  }
}

for (const [title, scene] of Object.entries(SCENES)) {
  test(`a chain of three agrees with a model: ${title}`, async (t) => {
    if (scene.direct === true && !requireDirect(t)) return
    const random = new Random(seedFor(t))
    const folder = new DiskFolder(t)
    const load = new RandomLoad(scene.size, random)
    const { size, chunkSize } = scene
    folder.make('base', { size, chunkSize })
    folder.make('child', { size, chunkSize, parent: 'base' })
    folder.make('grandchild', { size, chunkSize, parent: 'child' })
    for (const name of ['base', 'child', 'grandchild']) {
      const before = ['base', 'child'].filter((other) => other !== name)
      const parents = name === 'grandchild' ? before : name === 'child' ? ['base'] : []
      const prints = parents.map((parent) => folder.fingerprint(parent))
      for (let round = 0; round < ROUNDS; round++) await runRound(folder, name, scene, load, random)
      t.deepEqual(
        parents.map((parent) => folder.fingerprint(parent)),
        prints,
        `${name} changed a parent`,
      )
    }
    checkOutside(t, folder, chunkSize)
  })
}

async function runRound(
  folder: DiskFolder,
  name: string,
  scene: Scene,
  load: RandomLoad,
  random: Random,
): Promise<void> {
  const [usual, through] =
    scene.direct === true
      ? [CacheMode.NONE, CacheMode.DIRECTSYNC]
      : [CacheMode.WRITEBACK, CacheMode.WRITETHROUGH]
  const cacheMode = random.chance(0.2) ? through : usual
  const files = scene.makeFiles(random)
  const { openFilesMax, steps } = scene
  const { disk, client } = await folder.open(name, { cacheMode, openFilesMax }, files)
  await sameAsImage(client, load.image)
  const pagesMax = random.pick([4, 40, 200])
  await load.run(client, { clients: 8, steps, pagesMax })
  await sameAsImage(client, load.image)
  await disk.close()
}

/** Nothing but chunk files of the two legal sizes, and nothing left open. */
function checkOutside(t: ExecutionContext, folder: DiskFolder, chunkSize: number): void {
  for (const name of ['base', 'child', 'grandchild']) {
    for (const line of folder.list(name)) t.regex(line, new RegExp(`^chunk\\d+ (0|${chunkSize})$`))
  }
  t.deepEqual(folder.openDescriptors(), [])
}
