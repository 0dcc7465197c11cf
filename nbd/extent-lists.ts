/** Extent lists that are not in use. */
import { ExtentList } from '../device/extents.ts'
import { EXTENTS_MAX, EXTENT_LISTS_FREE_MAX } from './limits.ts'

export class ExtentListPool {
  readonly #free: ExtentList[] = []

  /** @returns a list with anything in it */
  take(): ExtentList {
    return this.#free.pop() ?? new ExtentList(EXTENTS_MAX)
  }

  give(list: ExtentList): void {
    if (this.#free.length < EXTENT_LISTS_FREE_MAX) this.#free.push(list)
  }
}
