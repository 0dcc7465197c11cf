/** Payload and reply memory of all connections together, held against `MEMORY_BYTES_MAX`. */
export class MemoryUse {
  bytes = 0
}
