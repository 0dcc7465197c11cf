/** Holds all chunks of a layer to their checksums, as they are on the disk. */
import path from 'node:path'
import { setTimeout } from 'node:timers/promises'
import type { Files } from '../../io/io.ts'
import type { Layer } from '../layer.ts'
import { PAGE_SIZE, SCRUB_RETURN_MS } from '../limits.ts'
import { ChecksumKind } from '../options.ts'
import type { LayerScrub, ScrubFinding } from '../scrub.ts'
import { MarkFile } from './mark-file.ts'
import type { Pace } from './pace.ts'
import { REGION_BYTES } from './region.ts'
import { type RegionPlace, RegionReader } from './region-reader.ts'

interface ScrubWay {
  readonly pace: Pace
  readonly isDirect: boolean
  readonly found: (finding: ScrubFinding) => void
}

/** Where a chunk and its sums are, or would be. */
interface Place {
  readonly index: number
  readonly chunkFile: string
  readonly sumsFile: string
}

interface Wanted extends RegionPlace {
  readonly index: number
}

export class LayerScrubber {
  readonly #files: Files
  readonly #layer: Layer
  readonly #way: ScrubWay
  readonly #chunkSize: number
  #markFiles: MarkFile[] = []
  #verifiedBytes = 0

  constructor(files: Files, layer: Layer, way: ScrubWay) {
    this.#files = files
    this.#layer = layer
    this.#way = way
    this.#chunkSize = layer.descriptor.geometry.chunkSize
  }

  /** @param returns how often to come back to what is being changed */
  async run(returns: number): Promise<LayerScrub> {
    const { file: disk, checksums } = this.#layer.descriptor
    const hasChecksums = checksums !== ChecksumKind.NONE
    if (!hasChecksums) return { disk, hasChecksums, verifiedBytes: 0, unknownBytes: 0 }
    const { pace, isDirect } = this.#way
    try {
      await this.#openMarks()
      const places = await this.#find()
      const reader = new RegionReader(this.#files, this.#chunkSize, pace, isDirect)
      let left = await this.#pass(this.#regionsOf(places), reader)
      for (let again = 0; left.length > 0 && again < returns; again++) {
        await setTimeout(SCRUB_RETURN_MS)
        left = await this.#pass(left, reader)
      }
      const unknownBytes = left.reduce((sum, { length }) => sum + length, 0)
      return { disk, hasChecksums, verifiedBytes: this.#verifiedBytes, unknownBytes }
    } finally {
      await Promise.allSettled(this.#markFiles.map((each) => each.close()))
    }
  }

  async #openMarks(): Promise<void> {
    for (const { directory } of this.#layer.parts) {
      this.#markFiles.push(await MarkFile.open(this.#files, directory, this.#chunkSize, false))
    }
  }

  /** All chunks that have a file, or sums, in the order of the disk. */
  async #find(): Promise<Place[]> {
    const { chunkCount } = this.#layer.descriptor.geometry
    const chunks = new Map<number, string>()
    const sums = new Map<number, string>()
    for (const part of this.#layer.parts) {
      const found = await part.scan(this.#files, chunkCount)
      for (const { index } of found.chunks) chunks.set(index, part.chunkPath(index))
      const beside = new Set(found.chunks.map(({ index }) => index))
      for (const index of found.checksumFiles) {
        const counts = beside.has(index) || !sums.has(index)
        if (index < chunkCount && counts) sums.set(index, part.checksumPath(index))
      }
    }
    const indexes = [...new Set([...chunks.keys(), ...sums.keys()])].sort((a, b) => a - b)
    return indexes.map((index) => {
      const chunkFile = chunks.get(index) ?? beside(sums.get(index), `chunk${index}`)
      return { index, chunkFile, sumsFile: sums.get(index) ?? beside(chunkFile, `crc32c-${index}`) }
    })
  }

  *#regionsOf(places: readonly Place[]): Generator<Wanted> {
    for (const place of places) {
      for (let start = 0, region = 0; start < this.#chunkSize; start += REGION_BYTES, region++) {
        const length = Math.min(REGION_BYTES, this.#chunkSize - start)
        yield { ...place, region, start, length }
      }
    }
  }

  /** @returns what is being changed */
  async #pass(regions: Iterable<Wanted>, reader: RegionReader): Promise<Wanted[]> {
    const perChunk = Math.ceil(this.#chunkSize / REGION_BYTES)
    const left: Wanted[] = []
    for (const wanted of regions) {
      const mark = wanted.index * perChunk + wanted.region
      const bad = await reader.verify(wanted, () => this.#isMarked(mark))
      if (bad === null) {
        left.push(wanted)
        continue
      }
      this.#verifiedBytes += wanted.length
      for (const { first, count, why } of bad) this.#tell(wanted, first, count, why)
    }
    return left
  }

  async #isMarked(mark: number): Promise<boolean> {
    for (const file of this.#markFiles) if (await file.saysMark(mark)) return true
    return false
  }

  #tell(wanted: Wanted, page: number, count: number, message: string): void {
    const position = wanted.start + page * PAGE_SIZE
    this.#way.found({
      file: wanted.chunkFile,
      disk: this.#layer.descriptor.file,
      position,
      length: count * PAGE_SIZE,
      offset: wanted.index * this.#chunkSize + position,
      message,
    })
  }
}

function beside(file: string | undefined, name: string): string {
  return path.join(path.dirname(file ?? ''), name)
}
