/** The engine that works everywhere Node does: `net` sockets and `fs`, helped by system calls. */
import type { Io } from './io.ts'
import { NodeFiles } from './node-files.ts'
import { listen } from './node-sockets.ts'
import { SocketSend } from './socket-send.ts'
import { loadSystemCalls, SystemCalls } from './syscalls.ts'

export function createNodeIo(): Io {
  const loaded = loadSystemCalls()
  const calls = loaded instanceof SystemCalls ? loaded : null
  const sender = calls === null ? null : new SocketSend(calls)
  return {
    name: 'node',
    features: { systemCalls: calls !== null, reason: typeof loaded === 'string' ? loaded : '' },
    files: new NodeFiles(calls),
    listen: (address, accept, refused) => listen(address, accept, refused, sender),
    ...(calls === null ? {} : { giveBack: (memory) => void calls.giveBack(memory) }),
  }
}
