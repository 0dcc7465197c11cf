/**
 * A reusable list of adjacent ranges with flags: (length, flags), (length, flags), ...
 * The start is known to whoever uses the list. Neighbours that are equal are merged, so two
 * entries in a row always differ. The list never grows past the capacity it was made with.
 *
 * Beside flags an entry may have a place: layer, part and chunk. What is kept of all this is said
 * by `kinds`; the rest is 0, and does not keep neighbours apart.
 */

/** The bits are those of NBD's `base:allocation` context. */
export const ExtentFlag = {
  DATA: 0,
  /** Not allocated: a later write may need space. */
  HOLE: 1 << 0,
  /** Reads as zeros. */
  ZERO: 1 << 1,
} as const

/** What can be told of an extent. */
export const ExtentKind = {
  /** Its flags. */
  ALLOCATION: 1 << 0,
  /** The layer of a chain that decides what is read: 1 the device's own, 2 its parent; 0 none. */
  DEPTH: 1 << 1,
  /** Which of the places that layer is spread over holds it, from 0. Says nothing at depth 0. */
  PART: 1 << 2,
  /** Which of the pieces the device is cut into it lies in, from 0. Says nothing at depth 0. */
  CHUNK: 1 << 3,
} as const

export class ExtentList {
  /** Number of entries in use. */
  count = 0
  /** Sum of the lengths, bytes. */
  total = 0
  /** Bits of `ExtentKind` that are kept. */
  kinds: number = ExtentKind.ALLOCATION
  readonly capacity: number
  readonly #lengths: Float64Array
  readonly #flags: Uint32Array
  /** Depth, part and chunk of each entry; null until somebody wants one of them. */
  #places: Uint32Array | null = null

  /** @param capacity most entries it can hold, at least 1 */
  constructor(capacity: number) {
    this.capacity = capacity
    this.#lengths = new Float64Array(capacity)
    this.#flags = new Uint32Array(capacity)
  }

  /** @param kinds what to keep of the extents to come, bits of `ExtentKind` */
  clear(kinds: number = ExtentKind.ALLOCATION): void {
    this.kinds = kinds
    this.count = 0
    this.total = 0
  }

  /** No entry with other flags than the last one can be appended. */
  get full(): boolean {
    return this.count === this.capacity
  }

  lengthAt(index: number): number {
    return this.#lengths[index]
  }

  flagsAt(index: number): number {
    return this.#flags[index]
  }

  /** @returns 0 unless kept */
  depthAt(index: number): number {
    return this.#placeAt(3 * index)
  }

  /** @returns 0 unless kept */
  partAt(index: number): number {
    return this.#placeAt(3 * index + 1)
  }

  /** @returns its lower 32 bits; 0 unless kept */
  chunkAt(index: number): number {
    return this.#placeAt(3 * index + 2)
  }

  /**
   * Appends `length` bytes with `flags`, in no layer; a length of 0 is ignored.
   * @returns false if there was no room: the list then ends before this range
   */
  append(length: number, flags: number): boolean {
    if (this.kinds !== ExtentKind.ALLOCATION) return this.appendPlaced(length, flags, 0, 0, 0)
    if (length === 0) return true
    const last = this.count - 1
    if (last >= 0 && this.#flags[last] === flags) {
      this.#lengths[last] += length
    } else {
      if (this.count === this.capacity) return false
      this.#lengths[this.count] = length
      this.#flags[this.count] = flags
      this.count++
    }
    this.total += length
    return true
  }

  /** As `append`, by a device whose features say that it tells of places. */
  appendPlaced(length: number, flags: number, depth: number, part: number, chunk: number): boolean {
    if (this.kinds === ExtentKind.ALLOCATION) return this.append(length, flags)
    if (length === 0) return true
    const keptFlags = this.#kept(ExtentKind.ALLOCATION, flags)
    const keptDepth = this.#kept(ExtentKind.DEPTH, depth)
    const keptPart = this.#kept(ExtentKind.PART, part)
    const keptChunk = this.#kept(ExtentKind.CHUNK, chunk) >>> 0
    const last = this.count - 1
    const isSame =
      last >= 0 &&
      this.#flags[last] === keptFlags &&
      this.depthAt(last) === keptDepth &&
      this.partAt(last) === keptPart &&
      this.chunkAt(last) === keptChunk
    if (isSame) {
      this.#lengths[last] += length
    } else {
      if (this.count === this.capacity) return false
      const places = (this.#places ??= new Uint32Array(3 * this.capacity))
      const place = 3 * this.count
      places[place] = keptDepth
      places[place + 1] = keptPart
      places[place + 2] = keptChunk
      this.#lengths[this.count] = length
      this.#flags[this.count] = keptFlags
      this.count++
    }
    this.total += length
    return true
  }

  /** Appends `length` bytes like an entry of another list. */
  appendLike(length: number, other: ExtentList, index: number): boolean {
    const flags = other.flagsAt(index)
    const depth = other.depthAt(index)
    return this.appendPlaced(length, flags, depth, other.partAt(index), other.chunkAt(index))
  }

  /** What an earlier use has left there is not told. */
  #placeAt(index: number): number {
    if (this.#places === null || this.kinds === ExtentKind.ALLOCATION) return 0
    return this.#places[index]
  }

  #kept(kind: number, value: number): number {
    return (this.kinds & kind) === 0 ? 0 : value
  }
}
