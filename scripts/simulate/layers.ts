/** The disk of a setting, before anybody serves it: its parents by hand, itself by `create`. */
import { createDisk } from '../../chunkstore/create.ts'
import { ChecksumKind } from '../../chunkstore/options.ts'
import { FileImage } from '../../io/simulated/file-image.ts'
import { SimulatedFiles } from '../../io/simulated/files.ts'
import type { SimulatedMachine } from '../../io/simulated/machine.ts'
import type { Random } from '../../test/helpers/random.ts'
import { contentsOf } from './contents.ts'
import type { LayerSetting, Setting } from './setting.ts'
import type { World } from './world.ts'

const PAGE = 4096

/** Numbers from here on are a layer's own data; the layer's depth is added. */
export const LAYER_NUMBER = 900_000

/** @returns what the disk reads as */
export function installParents(
  machine: SimulatedMachine,
  setting: Setting,
  random: Random,
): Uint8Array {
  const image = new Uint8Array(setting.diskSize)
  for (let depth = setting.layers.length - 1; depth > 0; depth--) {
    installLayer(machine, setting, depth)
    installChunks(machine, setting, depth, random, image)
  }
  machine.tree.makeDirectory('/disks')
  machine.tree.makeDirectory('/ssd')
  machine.tree.syncAll()
  return image
}

function installLayer(machine: SimulatedMachine, setting: Setting, depth: number): void {
  const { file, parts } = setting.layers[depth]
  const parent = setting.layers[depth + 1]?.file
  const lines = [String(setting.diskSize), String(setting.chunkSize)]
  if (parent !== undefined) lines.unshift(parent)
  for (const { directory, chunksMax } of parts) {
    lines.push(`${chunksMax} ${directory}`)
    machine.tree.makeDirectory(directory)
  }
  machine.tree.makeDirectory('/disks')
  machine.tree.putText(file, `${lines.join('\n')}\n`)
}

function installChunks(
  machine: SimulatedMachine,
  setting: Setting,
  depth: number,
  random: Random,
  image: Uint8Array,
): void {
  const { chunkSize, chunkCount, diskSize } = setting
  const used = setting.layers[depth].parts.map(() => 0)
  for (let index = 0; index < chunkCount; index++) {
    const dice = random.next()
    if (dice < 0.35) continue
    const file = new FileImage()
    if (dice > 0.45) file.apply({ kind: 'truncate', sequence: 0, size: chunkSize })
    const start = index * chunkSize
    for (let at = 0; at < file.size; at += PAGE) {
      if (random.chance(0.5)) continue
      const data = contentsOf(LAYER_NUMBER + depth, start + at, PAGE)
      file.apply({ kind: 'write', sequence: 0, position: at, data, extends: false })
    }
    const bytes = new Uint8Array(chunkSize)
    bytes.set(file.bytes)
    image.set(bytes.subarray(0, Math.min(chunkSize, diskSize - start)), start)
    machine.tree.install(`${placeFor(setting.layers[depth], used)}/chunk${index}`, file)
  }
}

function placeFor({ parts }: LayerSetting, used: number[]): string {
  const index = parts.findIndex((part, at) => used[at] < part.chunksMax)
  used[index]++
  return parts[index].directory
}

/** As `chunknbd create`, and the power is lost at once: it must be there all the same. */
export async function createTop(world: World, machine: SimulatedMachine, setting: Setting) {
  const files = new SimulatedFiles(machine, true)
  world.processes = [files]
  const [{ file, parts }, parent] = setting.layers
  const sizes = parent === undefined
  const created = createDisk(files, {
    file,
    diskSize: sizes ? setting.diskSize : null,
    chunkSize: sizes ? setting.chunkSize : null,
    parts,
    parent: parent?.file ?? null,
    checksums: setting.checksums ? ChecksumKind.CRC32C : ChecksumKind.NONE,
  })
  await world.wait(created, 'create')
  machine.kill()
}
