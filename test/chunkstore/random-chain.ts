/**
 * Chains of disks with random chunks, written by hand: base, mid and child, two parts each. What
 * they must read as is known without the code under test.
 */
import fs from 'node:fs'
import { DiskFolder, sameAsImage } from '../helpers/chunk-disk.ts'
import type { Random } from '../helpers/random.ts'
import type { ExecutionContext } from 'ava'

export const CHUNK = 8192
const LAYERS = ['base', 'mid', 'child']

export class RandomChain {
  readonly folder: DiskFolder
  /** What each disk reads as. */
  readonly images = new Map<string, Uint8Array>()
  readonly #chunkCount: number

  constructor(t: ExecutionContext, random: Random, chunkCount = 12) {
    this.folder = new DiskFolder(t)
    this.#chunkCount = chunkCount
    // The last chunk is cut short by the end of the disk.
    const size = chunkCount * CHUNK - 4096
    let image = new Uint8Array(size)
    for (const [depth, name] of LAYERS.entries()) {
      const parts = { [`${name}1`]: this.#half, [`${name}2`]: chunkCount }
      const parent = depth === 0 ? {} : { parent: LAYERS[depth - 1] }
      this.folder.make(name, { size, chunkSize: CHUNK, parts, ...parent })
      image = image.slice()
      for (let index = 0; index < chunkCount; index++) this.#makeChunk(name, index, image, random)
      this.images.set(name, image)
    }
  }

  get #half(): number {
    return Math.ceil(this.#chunkCount / 2)
  }

  #makeChunk(name: string, index: number, image: Uint8Array, random: Random): void {
    const kind = random.between(0, 2)
    if (kind === 0) return
    const first = `${name}1`
    const hasRoom = fs.readdirSync(this.folder.path(first)).length < this.#half
    const part = hasRoom && random.chance(0.5) ? first : `${name}2`
    const stem = random.chance(0.2) ? 'CHUNK' : 'chunk'
    const data = kind === 1 ? new Uint8Array(0) : random.bytes(CHUNK)
    fs.writeFileSync(this.folder.path(part, `${stem}${index}`), data)
    const start = index * CHUNK
    image.fill(0, start, start + CHUNK)
    image.set(data.subarray(0, Math.max(0, image.length - start)), start)
  }

  image(name: string): Uint8Array {
    return this.images.get(name) ?? new Uint8Array(0)
  }

  /** Asserts that a disk reads as an image. */
  async reads(name: string, image: Uint8Array): Promise<void> {
    const { client, disk } = await this.folder.open(name, { readOnly: true })
    await sameAsImage(client, image)
    await disk.close()
  }

  /** Names of the files in both parts. */
  files(name: string): string[] {
    return [`${name}1`, `${name}2`].flatMap((part) => this.folder.list(part))
  }
}
