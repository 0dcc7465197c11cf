/** Sizes of a disk and the arithmetic between offsets and chunks. */
export class Geometry {
  /** Bytes. */
  readonly diskSize: number
  /** Bytes of every chunk file that is not empty, the last one included. */
  readonly chunkSize: number
  readonly chunkCount: number

  constructor(diskSize: number, chunkSize: number) {
    this.diskSize = diskSize
    this.chunkSize = chunkSize
    this.chunkCount = Math.ceil(diskSize / chunkSize)
  }

  chunkOf(offset: number): number {
    return Math.floor(offset / this.chunkSize)
  }

  startOf(index: number): number {
    return index * this.chunkSize
  }

  /** Bytes of the chunk that belong to the disk: the last chunk may be cut short. */
  usedSizeOf(index: number): number {
    return Math.min(this.chunkSize, this.diskSize - index * this.chunkSize)
  }
}
