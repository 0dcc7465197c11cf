import { join } from 'node:path'
import test from 'ava'
import { chunknbd, fileSizes } from '../helpers/chunks.ts'
import { DiskClient, Fua } from '../helpers/disk-client.ts'
import { filesOfEngines, requireDirect } from '../helpers/direct.ts'
import { Random, seedFor } from '../helpers/random.ts'
import { serve } from '../helpers/serve.ts'
import { tempDirectory } from '../helpers/temp.ts'

const SIZE = 8 << 20
const CHUNK = 64 << 10
const LENGTH_MAX = 300 << 10
const CONNECTIONS = 4
const MANY = 20_000
/** Where every change waits for the disk. */
const FEWER = 5000
/** Written bytes repeat from here, so that making them costs no time. */
const NOISE_BYTES = 1 << 20

interface Range {
  readonly start: number
  readonly end: number
}

/** Several connections at once. Mutations never overlap what is under way: any order is right. */
class Mix {
  readonly model = new Uint8Array(SIZE)
  readonly #random: Random
  readonly #noise: Uint8Array
  readonly #busy = new Set<Range>()
  left: number

  constructor(random: Random, operations: number) {
    this.left = operations
    this.#random = random
    this.#noise = random.bytes(NOISE_BYTES)
  }

  async drive(client: DiskClient): Promise<void> {
    while (this.left-- > 0) {
      const range = this.#freeRange()
      this.#busy.add(range)
      await this.#operate(client, range)
      this.#busy.delete(range)
    }
  }

  #freeRange(): Range {
    for (;;) {
      const length = this.#random.logarithmic(1, LENGTH_MAX)
      // Half of them begin near the border of a chunk.
      const border = this.#random.between(0, SIZE / CHUNK) * CHUNK
      const near = border + this.#random.between(-5000, 5000)
      const at = this.#random.chance(0.5) ? near : this.#random.between(0, SIZE)
      const start = Math.max(0, Math.min(at, SIZE - length))
      const range = { start, end: start + length }
      if (![...this.#busy].some((each) => each.start < range.end && range.start < each.end)) {
        return range
      }
    }
  }

  async #operate(client: DiskClient, { start, end }: Range): Promise<void> {
    const length = end - start
    const flags = this.#random.chance(0.01) ? Fua : 0
    const choice = this.#random.next()
    if (choice < 0.4) {
      const from = this.#random.between(0, NOISE_BYTES - length)
      const data = this.#noise.subarray(from, from + length)
      this.model.set(data, start)
      await client.write(start, data, flags)
    } else if (choice < 0.6) {
      this.model.fill(0, start, end)
      if (this.#random.chance(0.5)) await client.trim(start, length, flags)
      else await client.zero(start, length, flags | (this.#random.chance(0.3) ? 2 : 0))
    } else if (choice < 0.605) {
      await client.flush()
    } else {
      const data = await client.read(start, length)
      if (Buffer.compare(data, this.model.subarray(start, end)) === 0) return
      throw new Error(`the ${length} bytes at ${start} differ from the model`)
    }
  }
}

const agreesWithModel = test.macro<[operations: number, options: readonly string[]]>({
  exec: async (t, operations, options) => {
    if (options.some(isDirect) && !requireDirect(t)) return
    const directory = tempDirectory(t)
    const mix = new Mix(new Random(seedFor(t)), operations)
    await chunknbd(
      t,
      ['create', 'disk.chunkdisk', '--size', `${SIZE}`, '--chunk-size', '64K'],
      directory,
    )
    const server = await serve(t, ['disk.chunkdisk', ...options], { cwd: directory })
    const clients = await Promise.all(
      Array.from({ length: CONNECTIONS }, () => DiskClient.connect(server.uri)),
    )
    await Promise.all(clients.map((client) => mix.drive(client)))
    const [client] = clients
    t.deepEqual(Buffer.from(await client.read(0, SIZE)), Buffer.from(mix.model))
    await client.trim(0, SIZE)
    await Promise.all(clients.map((each) => each.disconnect()))
    t.is(await server.stop(), 0)
    const sizes = Object.values(fileSizes(join(directory, 'disk.chunks')))
    t.true(sizes.length > 0)
    t.true(sizes.every((size) => size === 0))
  },
  title: (_, operations, options) =>
    `${operations} operations of any size and place equal a model, ${options.join(' ')}`,
})

const isDirect = (option: string): boolean => ['none', 'directsync'].includes(option)

test.serial(agreesWithModel, MANY, [])
test.serial(agreesWithModel, MANY, ['--page-cache', '0', '--cache', 'unsafe'])
for (const [engine] of filesOfEngines()) {
  test.serial(agreesWithModel, MANY, ['--cache', 'none', '--engine', engine])
  test.serial(agreesWithModel, FEWER, [
    '--cache',
    'directsync',
    '--engine',
    engine,
    '--page-cache',
    '0',
  ])
}
