/** Figures of many rounds made into one. Medians only: one disturbed round must not count. */

/** @returns the middle value (the mean of the two in the middle), or null if there is none */
export function median(values: readonly number[]): number | null {
  if (values.length === 0) return null
  const sorted = values.toSorted((a, b) => a - b)
  const middle = sorted.length >> 1
  return sorted.length % 2 === 1 ? sorted[middle] : (sorted[middle - 1] + sorted[middle]) / 2
}

/**
 * The median of the ratios of each round, not the ratio of the medians: what slowed the machine
 * for a whole round slowed both.
 * @param values one a round; null where there is none, and then the round does not count
 */
export function medianRatio(
  values: readonly (number | null)[],
  references: readonly (number | null)[],
): number | null {
  const ratios = values.flatMap((value, round) => {
    const reference = references[round] ?? null
    return value === null || reference === null || reference === 0 ? [] : [value / reference]
  })
  return median(ratios)
}
