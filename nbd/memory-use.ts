/** Memory of all connections together. */
export class MemoryUse {
  /** For payloads and replies, held against `MEMORY_BYTES_MAX`. */
  bytes = 0
  /** Receive buffers, held against `RECEIVE_MEMORY_BYTES_MAX`. */
  receiveBytes = 0
}
