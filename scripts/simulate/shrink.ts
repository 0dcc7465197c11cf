/** Makes a failing list of steps shorter, as long as what is left still fails. */

/**
 * @param steps a list that fails
 * @param fails runs a shorter list
 * @returns a list that fails, of which no single step can be left out
 */
export async function shrink(
  steps: readonly number[],
  fails: (steps: readonly number[]) => Promise<boolean>,
): Promise<readonly number[]> {
  let kept = steps
  for (let size = Math.ceil(steps.length / 2); size > 0;) {
    const before = kept.length
    kept = await leaveOut(kept, size, fails)
    // Single steps are tried until all of them are needed.
    if (size > 1 || kept.length === before) size = Math.floor(size / 2)
  }
  return kept
}

async function leaveOut(
  steps: readonly number[],
  size: number,
  fails: (steps: readonly number[]) => Promise<boolean>,
): Promise<readonly number[]> {
  let kept = steps
  for (let start = 0; start < kept.length;) {
    const shorter = kept.toSpliced(start, size)
    if (await fails(shorter)) kept = shorter
    else start += size
  }
  return kept
}
