/** Hostile clients of every kind beside one that is not, whose data is verified. */
import { readFileSync } from 'node:fs'
import net from 'node:net'
import { join } from 'node:path'
import test from 'ava'
import { createUringIo } from '../../io/uring.ts'
import { HostileCrowd, HostileKind } from '../../scripts/bench/hostile-crowd.ts'
import { parsePeak } from '../../scripts/bench/process-usage.ts'
import { sameBytes } from '../helpers/bytes.ts'
import { chunknbd, makeDisk } from '../helpers/chunks.ts'
import { DiskClient } from '../helpers/disk-client.ts'
import { Random, seedFor } from '../helpers/random.ts'
import { RawClient } from '../helpers/raw-client.ts'
import { serve } from '../helpers/serve.ts'
import { until } from '../helpers/socket-server.ts'
import { tempDirectory } from '../helpers/temp.ts'

const MIB = 1 << 20
const SIZE = 16 * MIB
/** The hostile write to the first page; the good client has the rest. */
const FIRST = MIB
const MEMORY_BYTES_MAX = 640 * MIB
const ENGINES = typeof createUringIo() === 'string' ? ['node'] : ['node', 'uring']

/** Writes and reads at random, several at a time, and holds it against what must be there. */
async function work(client: DiskClient, random: Random, image: Uint8Array): Promise<number> {
  const wrong: number[] = []
  const share = (SIZE - FIRST) / 4
  const one = async (worker: number): Promise<void> => {
    const start = FIRST + worker * share
    for (let step = 0; step < 40; step++) {
      const length = random.logarithmic(1, 200_000)
      const offset = start + random.between(0, share - length)
      if (random.chance(0.5)) {
        const data = random.bytes(length)
        await client.write(offset, data)
        image.set(data, offset)
      } else if (
        Buffer.compare(
          await client.read(offset, length),
          image.subarray(offset, offset + length),
        ) !== 0
      ) {
        wrong.push(offset)
      }
    }
  }
  await Promise.all([0, 1, 2, 3].map(one))
  await client.flush()
  return wrong.length
}

for (const engine of ENGINES) {
  test(`hundreds of hostile clients of every kind, and a good one, engine ${engine}`, async (t) => {
    const directory = tempDirectory(t)
    const random = new Random(seedFor(t))
    await makeDisk(join(directory, 'd.chunkdisk'), { size: '16M', chunkSize: '1M' })
    const limits = ['--handshake-timeout', '300', '--page-cache', '16M']
    const server = await serve(t, ['d.chunkdisk', '--engine', engine, ...limits], {
      cwd: directory,
    })
    const path = new URL(server.uri).searchParams.get('socket') ?? ''
    const settings = { target: { path }, exportName: 'd', byteMs: 10, comesBack: false }
    const crowd = new HostileCrowd(settings)
    t.teardown(() => crowd.close())

    const image = new Uint8Array(SIZE)
    const good = await DiskClient.connect(server.uri)
    await crowd.add(HostileKind.SILENT, 400)
    await crowd.add(HostileKind.HALFWAY, 300)
    t.is(await work(good, random, image), 0)
    await crowd.add(HostileKind.DRIBBLING, 200)
    t.deepEqual([crowd.size, crowd.lost], [900, 0], server.log())
    // If memory gets short, and the machine is slow, some of these are cut off.
    await crowd.add(HostileKind.NEVER_READING, 50)
    t.is(await work(good, random, image), 0)
    const newcomer = await DiskClient.connect(server.uri)
    sameBytes(t, await newcomer.read(FIRST, 4 * MIB), image.subarray(FIRST, FIRST + 4 * MIB))
    t.true(parsePeak(readFileSync(`/proc/${server.pid}/status`, 'utf8')) < MEMORY_BYTES_MAX)

    // In the middle of requests and replies.
    crowd.close()
    t.is(await work(good, random, image), 0)
    await Promise.all([good.disconnect(), newcomer.disconnect()])
    const last = await DiskClient.connect(server.uri)
    sameBytes(t, await last.read(FIRST, SIZE - FIRST), image.subarray(FIRST))
    // Nothing of a WRITE that did not arrive whole: only dribblers have written, and only zeros.
    sameBytes(t, await last.read(0, FIRST), new Uint8Array(FIRST))
    await last.disconnect()
    t.is(await server.stop(), 0)
    t.regex((await chunknbd(t, ['check', 'd.chunkdisk'], directory)).stdout, /: ok\n$/)
  })
}

test('the limits of connections hold, and are told in the log', async (t) => {
  const counts = ['--max-connections', '6', '--max-connections-per-address', '4']
  const more = ['--max-connections-per-export', '3', '--listen', 'nbd://127.0.0.1:0']
  const server = await serve(t, ['--memory', '1M', ...counts, ...more])
  const target = targetOf(server.uri)
  const attached: RawClient[] = []
  for (let count = 0; count < 3; count++) {
    const client = await RawClient.connect(target)
    await client.handshake({ exportName: 'memory' })
    attached.push(client)
  }
  const fourth = await RawClient.connect(target)
  await t.throwsAsync(fourth.handshake({ exportName: 'memory' }))
  await server.logged(/too many clients of one export/)
  const crowd = Array.from({ length: 8 }, () =>
    net
      .connect(target)
      .on('error', () => {})
      .resume(),
  )
  t.teardown(() => crowd.forEach((socket) => socket.destroy()))
  await server.logged(/handshake not finished: cut off to let others in/)
  await until(() => crowd.filter((socket) => !socket.closed).length === 1)
  for (const client of attached) {
    t.is((await client.request({ command: 0, offset: 0, length: 512 })).error, 0)
    await client.disconnect()
  }
  t.is(await server.stop(), 0)
})

test('the limits of time hold, and are told in the log', async (t) => {
  const times = ['--handshake-timeout', '3', '--idle-timeout', '1']
  const listen = ['--listen', 'nbd://127.0.0.1:0']
  const server = await serve(t, ['--memory', '1M', ...times, ...listen])
  const silent = await RawClient.connect(targetOf(server.uri))
  const attached = await RawClient.connect(targetOf(server.uri))
  await attached.handshake({ exportName: 'memory' })
  await attached.closed
  await server.logged(/nothing happened for too long/)
  await silent.closed
  await server.logged(/handshake not finished in time/)
  t.is(await server.stop(), 0)
})

function targetOf(uri: string): { readonly host: string; readonly port: number } {
  return { host: '127.0.0.1', port: Number(/:(\d+)\//.exec(uri)?.[1]) }
}
