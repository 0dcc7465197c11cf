/**
 * What a file holds at one moment, as programs see it or as the disk has it: bytes, size, blocks.
 * Bytes behind the size are zeros. Knows nothing of what is synced.
 */

/** What a disk writes whole or not at all, bytes. */
export const SECTOR_SIZE = 512

/** Storage is given and taken in units of so many bytes. */
export const BLOCK_SIZE = 4096

const BlockState = {
  HOLE: 0,
  /** Storage without data: reads as zeros, and a search for data passes it over. */
  UNWRITTEN: 1,
  DATA: 2,
} as const
type BlockState = (typeof BlockState)[keyof typeof BlockState]

/** One change of a file. `sequence` orders all changes of a machine. */
export type FileChange =
  | {
      readonly kind: 'write'
      readonly sequence: number
      readonly position: number
      readonly data: Uint8Array
      /** It made the file longer; without that, data behind the end is lost. */
      readonly extends: boolean
    }
  | {
      /** Zeros without storage (`hole`) or with it; `allocate` changes no contents. */
      readonly kind: 'hole' | 'zeros' | 'allocate'
      readonly sequence: number
      readonly position: number
      readonly length: number
    }
  | { readonly kind: 'truncate'; readonly sequence: number; readonly size: number }

/** Decides for a place of a change, bytes from the start of the file, whether it happens there. */
export type Keeps = (position: number) => boolean

const ALWAYS: Keeps = () => true

export class FileImage {
  size = 0
  #bytes = new Uint8Array(0)
  #blocks = new Uint8Array(0)
  /** A copy has the same memory: nothing may be changed in it. */
  #isShared = false

  /** Costs nothing until one of the two is changed. */
  copy(): FileImage {
    const image = new FileImage()
    image.size = this.size
    image.#bytes = this.#bytes
    image.#blocks = this.#blocks
    image.#isShared = true
    this.#isShared = true
    return image
  }

  /** The contents, up to the size. Valid until the next change. */
  get bytes(): Uint8Array {
    return this.#bytes.subarray(0, this.size)
  }

  /** Bytes of storage in use. */
  get allocated(): number {
    return this.#blocks.filter((state) => state !== BlockState.HOLE).length * BLOCK_SIZE
  }

  /** @returns bytes read; fewer than `length` at the end of the file */
  read(position: number, target: Uint8Array, offset: number, length: number): number {
    const count = Math.max(0, Math.min(length, this.size - position))
    if (count > 0) target.set(this.#bytes.subarray(position, position + count), offset)
    return count
  }

  /** @returns the next data or hole at or after `position`; -1: nothing comes behind it */
  seek(position: number, wantsData: boolean): number {
    if (position >= this.size) return -1
    for (let at = position; at < this.size; at = nextBlock(at)) {
      const isData = this.#blocks[Math.floor(at / BLOCK_SIZE)] === BlockState.DATA
      if (isData === wantsData) return at
    }
    return wantsData ? -1 : this.size
  }

  /** Takes over what `other` holds, as far as both reach. */
  takeFrom(other: FileImage, position: number, length: number): void {
    this.#own()
    const end = Math.min(position + length, this.size, other.size)
    this.#bytes.set(other.#bytes.subarray(position, Math.max(position, end)), position)
  }

  /** @param keeps asked once for each sector of a write, once for each block of zeros */
  apply(change: FileChange, keeps: Keeps = ALWAYS): void {
    this.#own()
    if (change.kind === 'truncate') this.#truncate(change.size)
    else if (change.kind === 'write') this.#write(change.position, change, keeps)
    else this.#mark(change, keeps)
  }

  #own(): void {
    if (!this.#isShared) return
    this.#bytes = this.#bytes.slice()
    this.#blocks = this.#blocks.slice()
    this.#isShared = false
  }

  #truncate(size: number): void {
    this.#grow(size)
    this.#bytes.fill(0, size)
    this.#blocks.fill(BlockState.HOLE, Math.ceil(size / BLOCK_SIZE))
    this.size = size
  }

  #write(
    position: number,
    { data, extends: isLonger }: { readonly data: Uint8Array; readonly extends: boolean },
    keeps: Keeps,
  ): void {
    const end = isLonger ? position + data.length : Math.min(position + data.length, this.size)
    this.#grow(end)
    for (let at = position; at < end;) {
      const to = Math.min(end, at - (at % SECTOR_SIZE) + SECTOR_SIZE)
      if (keeps(at)) {
        this.#bytes.set(data.subarray(at - position, to - position), at)
        this.#blocks[Math.floor(at / BLOCK_SIZE)] = BlockState.DATA
        this.size = Math.max(this.size, to)
      }
      at = to
    }
  }

  #mark(change: Exclude<FileChange, { kind: 'write' | 'truncate' }>, keeps: Keeps): void {
    const end = Math.min(change.position + change.length, this.size)
    for (let at = change.position; at < end;) {
      const to = Math.min(end, nextBlock(at))
      if (keeps(at)) this.#markInBlock(at, to, change.kind)
      at = to
    }
  }

  #markInBlock(start: number, end: number, kind: 'hole' | 'zeros' | 'allocate'): void {
    const block = Math.floor(start / BLOCK_SIZE)
    const isWhole = start % BLOCK_SIZE === 0 && (end % BLOCK_SIZE === 0 || end === this.size)
    if (kind !== 'allocate') this.#bytes.fill(0, start, end)
    if (kind === 'hole' && isWhole) this.#blocks[block] = BlockState.HOLE
    else if (kind === 'zeros' && isWhole) this.#blocks[block] = BlockState.UNWRITTEN
    else if (kind !== 'hole' && this.#blocks[block] === BlockState.HOLE) {
      this.#blocks[block] = BlockState.UNWRITTEN
    }
  }

  #grow(size: number): void {
    if (size <= this.#bytes.length) return
    const bytes = new Uint8Array(nextBlock(size - 1))
    bytes.set(this.#bytes)
    this.#bytes = bytes
    const blocks = new Uint8Array(bytes.length / BLOCK_SIZE)
    blocks.set(this.#blocks)
    this.#blocks = blocks
  }
}

function nextBlock(position: number): number {
  return (Math.floor(position / BLOCK_SIZE) + 1) * BLOCK_SIZE
}
