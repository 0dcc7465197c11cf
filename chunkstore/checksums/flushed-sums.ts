/**
 * Checksums at a flush: sums of what it covers become durable beside the data, then the marks go.
 *
 *   begin ─▶ sums saved, while the flush syncs the data ─▶ finish: marks off, if nothing changed
 *
 * Only regions that nobody is changing: the others keep their mark until the next time. What fails
 * here fails no flush, as the data is durable; the region keeps its mark.
 */
import type { Chunk } from '../chunk.ts'
import { FLUSH_PARALLEL } from '../limits.ts'
import type { Store } from '../store.ts'
import type { ChunkChecksums } from './chunk-checksums.ts'
import { isAtRest, type Region } from './region.ts'
import { saveSums } from './save-sums.ts'

interface Flushed {
  readonly checksums: ChunkChecksums
  readonly epoch: number
  /** Each with its count of changes. */
  readonly regions: ReadonlyMap<Region, number>
}

export class FlushedSums {
  readonly #store: Store
  readonly #flushed: Flushed[]
  /** Never fails. */
  readonly saved: Promise<void>

  /** @param chunks what the flush is about to sync */
  constructor(store: Store, chunks: readonly Chunk[]) {
    this.#store = store
    this.#flushed = chunks.flatMap(({ checksums }) => (checksums === null ? [] : take(checksums)))
    this.saved = this.#save()
  }

  async #save(): Promise<void> {
    const each = this.#flushed.values()
    const work = async (): Promise<void> => {
      for (const { checksums, regions } of each) {
        await checksums.exclusive(() => saveSums(this.#store, checksums, [...regions.keys()], true))
      }
    }
    await Promise.all(Array.from({ length: FLUSH_PARALLEL }, work))
  }

  /** The data was synced, and so were all names. */
  async finish(): Promise<void> {
    const { flusher, top } = this.#store
    for (const each of this.#flushed) {
      const { chunk, part } = each.checksums
      for (const place of new Set([chunk.part, part])) await flusher.syncPart(place)
      if (flusher.failure === 0) this.#clear(each)
    }
    // Not synced: a mark too many costs work after a crash, nothing else.
    if (this.#flushed.length > 0) await top.checksums?.marks.flush(false)
  }

  #clear({ checksums, epoch, regions }: Flushed): void {
    const { chunk, layer, mustEmpty, mustSync, strays } = checksums
    if (chunk.exclusive || checksums.epoch !== epoch) return
    if (mustEmpty || mustSync || strays.size > 0) return
    for (const [region, changes] of regions) {
      const isDurable = region.modified <= chunk.synced
      if (isDurable && isAtRest(region, changes)) layer.marks.clear(checksums.markOf(region))
    }
  }
}

function take(checksums: ChunkChecksums): Flushed[] {
  const regions = new Map<Region, number>()
  for (const region of checksums.changed) {
    if (region.mutations > 0 || region.hasDoubt) continue
    checksums.changed.delete(region)
    regions.set(region, region.changes)
  }
  return regions.size === 0 ? [] : [{ checksums, epoch: checksums.epoch, regions }]
}
