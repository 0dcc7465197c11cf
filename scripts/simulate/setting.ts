/** The disk of a seed: its sizes, its chain, its parts, and how it is served. */
import { CacheMode, TrimMode } from '../../chunkstore/options.ts'
import type { MachineTraits } from '../../io/simulated/machine.ts'
import type { Random } from '../../test/helpers/random.ts'

export interface LayerSetting {
  /** Absolute path of the descriptor. */
  readonly file: string
  readonly parts: readonly { readonly directory: string; readonly chunksMax: number }[]
}

export interface Setting {
  readonly chunkSize: number
  readonly chunkCount: number
  /** Bytes; the last chunk may be used in part only. */
  readonly diskSize: number
  /** The disk first, then its parents. */
  readonly layers: readonly LayerSetting[]
  readonly cacheMode: CacheMode
  readonly trim: TrimMode
  readonly movable: boolean
  readonly checksums: boolean
  readonly pageCacheBytes: number
  readonly openFilesMax: number
  /** Calls fail now and then. */
  readonly hasFaults: boolean
  readonly traits: MachineTraits
}

const PAGE = 4096

/** Those after which a trimmed range reads as zeros. */
const TRIM_MODES = [TrimMode.FREE, TrimMode.FREE, TrimMode.FREE, TrimMode.HOLES]

/** They exclude each other. */
const EXTRAS = ['none', 'none', 'none', 'none', 'movable', 'checksums', 'checksums']
const FOLDER = '/disks'

/** The common mode most often, the one that promises nothing least often. */
const MODES: readonly CacheMode[] = [
  ...Object.values(CacheMode),
  ...Object.values(CacheMode).filter((mode) => mode !== CacheMode.UNSAFE),
  CacheMode.WRITEBACK,
  CacheMode.WRITEBACK,
]

export function settingOf(random: Random): Setting {
  const chunkPages = random.pick([2, 4, 8, 16])
  const chunkSize = chunkPages * PAGE
  const chunkCount = random.between(2, chunkPages > 4 ? 3 : 7)
  const unused = random.chance(0.3) ? random.between(1, chunkSize / PAGE - 1) * PAGE : 0
  const depth = random.pick([1, 2, 2, 3])
  const extra = random.pick(EXTRAS)
  return {
    chunkSize,
    chunkCount,
    diskSize: chunkSize * chunkCount - unused,
    layers: Array.from({ length: depth }, (_, index) => layerOf(random, index, chunkCount)),
    cacheMode: random.pick(MODES),
    trim: random.pick(TRIM_MODES),
    movable: extra === 'movable',
    checksums: extra === 'checksums',
    pageCacheBytes: random.pick([0, 4, 64]) * PAGE,
    openFilesMax: random.pick([1, 2, 4, 1000]),
    hasFaults: random.chance(0.5),
    traits: { holes: random.chance(0.85), atOnce: random.pick([0, 0.3, 0.9]) },
  }
}

const LAYER_NAMES = ['disk', 'parent', 'grandparent']

function layerOf(random: Random, depth: number, chunkCount: number): LayerSetting {
  const name = LAYER_NAMES[depth]
  const count = random.between(1, 3)
  const parts = Array.from({ length: count }, (_, index) => ({
    directory: `${random.chance(0.5) ? FOLDER : '/ssd'}/${name}.part${index}`,
    // Together they must have room for every chunk.
    chunksMax: index === count - 1 ? chunkCount : random.between(1, 3),
  }))
  return { file: `${FOLDER}/${name}.chunkdisk`, parts }
}

/** @returns the setting in a line */
export function describeSetting(setting: Setting): string {
  const { chunkSize, chunkCount, diskSize, layers, cacheMode, traits } = setting
  const parts = layers[0].parts.map((part) => `${part.chunksMax} ${part.directory}`).join(', ')
  const movable = setting.movable ? ', movable' : ''
  const checksums = setting.checksums ? ', checksums' : ''
  const holes = traits.holes ? '' : ', no holes'
  return (
    `${chunkCount} chunks of ${chunkSize}, ${diskSize} bytes, ${layers.length} layers, ` +
    `cache ${cacheMode}, trim ${setting.trim}, page cache ${setting.pageCacheBytes}, ` +
    `${setting.openFilesMax} open files${movable}${checksums}${holes}, parts: ${parts}`
  )
}
