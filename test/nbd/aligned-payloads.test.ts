/** Payloads that have memory of their own lie where O_DIRECT uses them without a copy. */
import test from 'ava'
import { MemoryDevice } from '../../device/memory.ts'
import type { Request, Status } from '../../device/device.ts'
import { createNodeIo } from '../../io/node.ts'
import { loadSystemCalls } from '../../io/syscalls.ts'
import { Server } from '../../nbd/server.ts'
import { sameBytes } from '../helpers/bytes.ts'
import { requireDirect } from '../helpers/direct.ts'
import { silentLog } from '../helpers/memory-session.ts'
import { Random, seedFor } from '../helpers/random.ts'
import { RawClient } from '../helpers/raw-client.ts'
import type { Target } from '../helpers/raw-client.ts'

const PAGE = 4096
const LENGTH = 256 * 1024

/** Tells where in memory the payloads of its requests are. */
class WatchingDevice extends MemoryDevice {
  readonly seen: { readonly buffer: Uint8Array; readonly bufferOffset: number }[] = []

  override read(request: Request): Status {
    this.seen.push({ buffer: request.buffer, bufferOffset: request.bufferOffset })
    return super.read(request)
  }
}

test('the data of large reads start on a page border', async (t) => {
  if (!requireDirect(t)) return
  const calls = loadSystemCalls()
  if (typeof calls === 'string') return t.fail(calls)
  const device = new WatchingDevice(8 << 20)
  const entry = { name: 'disk', description: '', device }
  const exports = { find: () => entry, list: () => [entry] }
  const server = new Server({ io: createNodeIo(), exports, log: silentLog })
  t.teardown(() => server.stop())
  const target = await server.listen({ kind: 'tcp', host: '127.0.0.1', port: 0 })
  const client = await RawClient.connect(target as Target)
  t.teardown(() => client.destroy())
  await client.handshake({ exportName: 'disk', style: 'structured' })

  const payload = new Random(seedFor(t)).bytes(LENGTH)
  await client.request({ command: 1, offset: LENGTH, length: LENGTH }, payload)
  const reads = Array.from({ length: 8 }, () =>
    client.request({ command: 0, offset: LENGTH, length: LENGTH }),
  )
  for (const { data } of await Promise.all(reads)) sameBytes(t, data, payload)
  t.is(device.seen.length, 8)
  for (const { buffer, bufferOffset } of device.seen) {
    t.is(calls.addressOf(buffer, bufferOffset, LENGTH) % PAGE, 0)
  }
})
