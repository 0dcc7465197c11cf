/**
 * Reads a disk from the files of a machine by docs/format.md alone, with none of the code that is
 * simulated: as cheap as looking at a state of the disk after every promise that was made.
 */
import { SimulatedFile } from '../../io/simulated/file.ts'
import type { SimulatedTree } from '../../io/simulated/tree.ts'
import { BrokenPromise } from './disk-model.ts'
import type { LayerSetting, Setting } from './setting.ts'

/** @throws BrokenPromise if a chunk file is damaged, or is there twice */
export function readByFormat(tree: SimulatedTree, setting: Setting): Uint8Array {
  const { chunkCount, chunkSize, diskSize } = setting
  const image = new Uint8Array(chunkCount * chunkSize)
  const layers = layersOf(tree, setting)
  for (let index = 0; index < chunkCount; index++) {
    for (const layer of layers) {
      const bytes = chunkBytes(tree, layer, index)
      if (bytes === null) continue
      if (bytes.length !== 0 && bytes.length !== chunkSize) {
        throw new BrokenPromise(`chunk ${index} of ${layer.file} has ${bytes.length} bytes`)
      }
      image.set(bytes, index * chunkSize)
      break
    }
  }
  return image.subarray(0, diskSize)
}

/** The chain ends with a descriptor whose first line is a size. */
function layersOf(tree: SimulatedTree, { layers }: Setting): readonly LayerSetting[] {
  const last = layers.findIndex(({ file }) => {
    const node = tree.find(file)
    return node instanceof SimulatedFile && /^\d/.test(Buffer.from(node.cache.bytes).toString())
  })
  return last < 0 ? layers : layers.slice(0, last + 1)
}

function chunkBytes(tree: SimulatedTree, layer: LayerSetting, index: number): Uint8Array | null {
  const files = layer.parts
    .map(({ directory }) => tree.find(`${directory}/chunk${index}`))
    .filter((node) => node instanceof SimulatedFile)
  if (files.length > 1) throw new BrokenPromise(`chunk ${index} of ${layer.file} is there twice`)
  return files[0]?.cache.bytes ?? null
}
