/** Replies whose data leave from a file, by every engine and in every style of replies. */
import fs from 'node:fs'
import { join } from 'node:path'
import test from 'ava'
import { DONE } from '../../device/device.ts'
import type { Request, Status } from '../../device/device.ts'
import { MemoryDevice } from '../../device/memory.ts'
import type { Io } from '../../io/io.ts'
import { createNodeIo } from '../../io/node.ts'
import { createUringIo } from '../../io/uring.ts'
import { Server } from '../../nbd/server.ts'
import { difference } from '../helpers/bytes.ts'
import { unixAddress } from '../helpers/echo.ts'
import { silentLog } from '../helpers/memory-session.ts'
import { Random, seedFor } from '../helpers/random.ts'
import { RawClient } from '../helpers/raw-client.ts'
import type { Target } from '../helpers/raw-client.ts'
import { tempDirectory } from '../helpers/temp.ts'
import { STYLES } from '../helpers/wire-style.ts'

const MIB = 1024 * 1024
const SIZE = 16 * MIB
const DF = 4

/** Offers its file for some of the reads. */
class FileDevice extends MemoryDevice {
  offered = 0
  taken = 0
  readonly #fd: number
  readonly #random: Random

  constructor(fd: number, random: Random) {
    super(SIZE)
    this.#fd = fd
    this.#random = random
  }

  override read(request: Request): Status {
    const { outlet, offset, length, buffer, bufferOffset } = request
    if (outlet && this.#random.chance(0.8)) {
      this.offered++
      if (outlet.take(this.#fd, offset, length)) {
        this.taken++
        request.extents?.append(length, 0)
        return DONE
      }
    }
    fs.readSync(this.#fd, buffer, bufferOffset, length, offset)
    request.extents?.append(length, 0)
    return DONE
  }
}

const uring = createUringIo()
const node = createNodeIo()
const engines: readonly Io[] = [
  ...(node.features.systemCalls ? [node] : []),
  ...(typeof uring === 'string' ? [] : [uring]),
]

for (const io of engines) {
  for (const style of STYLES) {
    test(`${io.name}, ${style}: large and small reads from a file, mixed`, async (t) => {
      const random = new Random(seedFor(t))
      const bytes = random.bytes(SIZE)
      const path = join(tempDirectory(t), 'file')
      fs.writeFileSync(path, bytes)
      const fd = fs.openSync(path, 'r')
      t.teardown(() => fs.closeSync(fd))
      const device = new FileDevice(fd, random)
      const entry = { name: '', description: '', device }
      const exports = { find: () => entry, list: () => [entry] }
      const server = new Server({ io, exports, log: silentLog })
      t.teardown(() => server.stop())
      const target = await server.listen(unixAddress(t))
      const readSome = async (): Promise<void> => {
        const client = await RawClient.connect(target as Target)
        t.teardown(() => client.destroy())
        await client.handshake({ style })
        for (let round = 0; round < 6; round++) {
          const count = random.between(1, 6)
          const reads = Array.from({ length: count }, async () => {
            const length = random.logarithmic(1, 3 * MIB)
            const offset = random.between(0, SIZE - length)
            const flags = style !== 'simple' && random.chance(0.3) ? DF : 0
            const { error, data } = await client.request({ command: 0, flags, offset, length })
            t.is(error, 0)
            t.is(difference(data, bytes.subarray(offset, offset + length)), '')
          })
          await Promise.all(reads)
        }
      }
      await Promise.all([readSome(), readSome(), readSome()])
      t.true(device.taken > 0)
      t.true(device.taken <= device.offered)
      t.is(server.statistics().memoryBytes, 0)
    })
  }
}

test('there is an engine that can', (t) => {
  t.log(engines.length > 0 ? `engines: ${engines.map(({ name }) => name).join()}` : 'SKIPPED')
  if (engines.length === 0) t.log(node.features.reason)
  t.pass()
})
