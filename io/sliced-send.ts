/**
 * Pieces that are being sent, given on slice by slice, so that a large reply does not lie about
 * twice: encrypted or framed, and as it was. The pieces are only lent until all is sent.
 */
const NO_PIECES: readonly Uint8Array[] = []

/** Takes the next bytes; `isLast` of the slice. */
export type SliceTaker = (bytes: Uint8Array, isLast: boolean) => void

export class SlicedSend {
  // `#offset` bytes of the piece at `#index`, and all before it, were given on.
  #pieces = NO_PIECES
  #index = 0
  #offset = 0

  /** Between `begin` and `end`. */
  get isUnderWay(): boolean {
    return this.#pieces.length > 0
  }

  /** Another slice is to be given on. */
  get hasMore(): boolean {
    return this.#index < this.#pieces.length
  }

  begin(pieces: readonly Uint8Array[]): void {
    this.#pieces = pieces
    this.#index = this.#offset = 0
  }

  end(): void {
    this.begin(NO_PIECES)
  }

  /**
   * @param bytesMax of the slice
   * @param partMax of what is given on at once
   */
  next(bytesMax: number, partMax: number, give: SliceTaker): void {
    for (let room = bytesMax; room > 0 && this.hasMore;) {
      const piece = this.#pieces[this.#index]
      const bytes = piece.subarray(this.#offset, this.#offset + Math.min(room, partMax))
      room -= bytes.length
      this.#offset += bytes.length
      if (this.#offset === piece.length) {
        this.#index++
        this.#offset = 0
      }
      give(bytes, room === 0 || !this.hasMore)
    }
  }
}
