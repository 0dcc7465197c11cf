/** What a page cache has done since it was made. */
export interface CacheStatistics {
  /** Pages served or changed without reading the lower device. */
  readonly hits: number
  /** Pages that had to be read from the lower device. Aligned reads below count nowhere. */
  readonly misses: number
  /** Pages given up for others. */
  readonly evictions: number
}
