/** The engine for Linux with io_uring: sockets and files on one ring, on Node's loop. */
import type { Io } from './io.ts'
import { loadRingCalls } from './ring-calls.ts'
import { loadSystemCalls } from './syscalls.ts'
import { SocketSend } from './socket-send.ts'
import { UringFiles } from './uring-files.ts'
import { listenOnRing } from './uring-listener.ts'
import { Ring } from './uring-ring.ts'
import { setUpRing } from './uring-setup.ts'

/** @returns the engine, or in words why this machine cannot have it */
export function createUringIo(): Io | string {
  const calls = loadSystemCalls()
  if (typeof calls === 'string') return calls
  const ringCalls = loadRingCalls()
  if (typeof ringCalls === 'string') return ringCalls
  const memory = setUpRing(ringCalls)
  if (typeof memory === 'string') return memory
  const ring = new Ring(ringCalls, memory)
  const { hasTruncate } = memory
  const files = new UringFiles(ring, calls, { hasTruncate })
  const sockets = { ring, calls: ringCalls, sender: new SocketSend(calls) }
  return {
    name: 'uring',
    features: { systemCalls: true, reason: '' },
    files,
    listen: (address, accept, refused) => listenOnRing(sockets, address, accept, refused),
    soon: (callback) => ring.soon(callback),
    giveBack: (memory) => void calls.giveBack(memory),
    threadsOnly: (on) => void (files.threadsOnly = on),
  }
}
