/** The engine for Linux with io_uring: sockets and files on one ring, on Node's loop. */
import type { Io } from './io.ts'
import { loadRingCalls, loadSystemCalls } from './syscalls.ts'
import { UringFiles } from './uring-files.ts'
import { listenOnRing } from './uring-listener.ts'
import { Ring } from './uring-ring.ts'
import { setUpRing } from './uring-setup.ts'

export interface UringOptions {
  /**
   * Small reads that come in batches go through the ring, also where the kernel has the data. That
   * costs less, but completes later: a cache that keeps what is read at once gets nothing.
   */
  readonly batchReads?: boolean
}

/** @returns the engine, or in words why this machine cannot have it */
export function createUringIo({ batchReads = false }: UringOptions = {}): Io | string {
  const calls = loadSystemCalls()
  if (typeof calls === 'string') return calls
  const ringCalls = loadRingCalls()
  if (typeof ringCalls === 'string') return ringCalls
  const memory = setUpRing(ringCalls)
  if (typeof memory === 'string') return memory
  const ring = new Ring(ringCalls, memory)
  const { hasTruncate } = memory
  return {
    name: 'uring',
    features: { systemCalls: true, reason: '' },
    files: new UringFiles(ring, calls, { hasTruncate, batchReads }),
    listen: (address, accept) => listenOnRing(ring, ringCalls, address, accept),
    soon: (callback) => ring.soon(callback),
  }
}
