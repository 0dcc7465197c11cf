/** What a user of the ring is, and the entry in which it describes its operation to the kernel. */

/** One operation on the ring: at most one under way at a time, reusable when it is completed. */
export interface RingUser {
  /** Describes the operation to the kernel with one call of `entry.set`. */
  prepare(entry: Entry): void
  /** @param result of the kernel: >= 0, or -errno */
  completed(result: number): void
}

/** An `io_uring_sqe` in the mapped memory. Its name (`user_data`) is set by the ring. */
export class Entry {
  readonly #words: Int32Array
  /** Where it begins, in words. */
  at = 0

  constructor(words: Int32Array) {
    this.#words = words
  }

  /** @param rest the operation's own flags, called differently for each operation */
  set(
    opcode: number,
    fd: number,
    address: number,
    length: number,
    offset: number,
    rest: number,
    ioprio = 0,
  ): void {
    const words = this.#words
    const at = this.at
    words[at] = opcode | (ioprio << 16)
    words[at + 1] = fd
    words[at + 2] = (offset % 4294967296) | 0
    words[at + 3] = offset / 4294967296
    words[at + 4] = (address % 4294967296) | 0
    words[at + 5] = address / 4294967296
    words[at + 6] = length
    words[at + 7] = rest
  }

  /** Completes the entry: the two words of its name, and nothing in the fields nobody uses. */
  setName(slot: number, generation: number): void {
    const words = this.#words
    const at = this.at
    words[at + 8] = slot
    words[at + 9] = generation
    words[at + 10] = 0
    words[at + 11] = 0
    words[at + 12] = 0
    words[at + 13] = 0
  }
}
