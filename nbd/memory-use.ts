/** Memory of all connections together. */
import { MEMORY_BYTES_MAX, MEMORY_BYTES_REFUSING, RECEIVE_MEMORY_BYTES_MAX } from './limits.ts'

export class MemoryUse {
  /** For payloads and replies, held against `MEMORY_BYTES_MAX`. */
  bytes = 0
  /** Receive buffers, held against `RECEIVE_MEMORY_BYTES_MAX`. */
  receiveBytes = 0

  get isReceiveScarce(): boolean {
    return this.receiveBytes > RECEIVE_MEMORY_BYTES_MAX
  }

  /** Clients have to wait for memory that others hold. */
  get isShort(): boolean {
    return this.bytes >= MEMORY_BYTES_MAX || !this.allows(0)
  }

  /** @returns false: all have too much for one to get so many bytes at once */
  allows(bytes: number): boolean {
    return this.bytes + this.receiveBytes + bytes <= MEMORY_BYTES_REFUSING
  }
}
