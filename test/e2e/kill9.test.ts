/**
 * kill -9 at random moments: under load, while starting, while stopping. After each restart all
 * that was answered is there, every sector holds what it may, and the files break no rule.
 *
 * KILLS=2000 sets how many there are, over all tests together; SEED replays what is sent, though
 * never the moments of the kills.
 */
import { copyFileSync, existsSync } from 'node:fs'
import { join } from 'node:path'
import { setTimeout } from 'node:timers/promises'
import test from 'ava'
import { ChecksumKind } from '../../chunkstore/options.ts'
import { createUringIo } from '../../io/uring.ts'
import { tryChunknbd } from '../helpers/chunks.ts'
import { KillableDisk, type KillableOptions } from '../helpers/killable-disk.ts'
import { Random, seedFor } from '../helpers/random.ts'
import { serve, type Served } from '../helpers/serve.ts'

const KILLS = Number(process.env['KILLS'] ?? 200)
const LIMIT_MS = KILLS * 10_000
/** How much of a load is answered before the kill, and the time after that. */
const ANSWERS_MAX = 150
const LATER_MS_MAX = 20
const START_MS_MAX = 300
const STOP_MS_MAX = 20
/** So many kills, then there is a child; so many descendants, then another disk. */
const KILLS_PER_CHILD = 5
const DEPTH_MAX = 6

const uring = createUringIo()
const ENGINES = typeof uring === 'string' ? ['node'] : ['node', 'uring']
if (typeof uring === 'string') {
  test('without io_uring, the reason is told', (t) => {
    t.log(`SKIPPED: ${uring}`)
    t.not(uring, '')
  })
}

const survives = test.macro<[KillableOptions & { readonly chain: boolean }]>({
  exec: async (t, { chain, ...options }) => {
    t.timeout(LIMIT_MS)
    const random = new Random(seedFor(t))
    const disk = new KillableDisk(t, random, options)
    await disk.create()
    const kills = Math.ceil(KILLS / (3 * ENGINES.length))
    let unanswered = 0
    for (let kill = 1; kill <= kills; kill++) {
      await killOnce(t, disk, random)
      await disk.check()
      if (!chain || kill % KILLS_PER_CHILD !== 0) continue
      if (disk.depth < DEPTH_MAX) await disk.createChild()
      else {
        unanswered += disk.model.unanswered
        await disk.create()
      }
    }
    const server = await disk.start()
    await disk.verify(server)
    t.is(await server.stop(), 0)
    await disk.check()
    const { status, stdout } = await tryChunknbd(t, ['check', disk.descriptor], disk.directory)
    t.is(status, 0, stdout)
    unanswered += disk.model.unanswered
    t.log(`${kills} kills; ${disk.answered} changes answered, all there`)
    t.log(`${unanswered} sectors with one not answered; ${disk.temporaries} temporary files`)
    t.log(`${disk.locks} lock files`)
    t.is(disk.locks > 0, options.arguments?.includes('--lock-files') === true)
    t.false(existsSync(join(disk.part, '.lock')))
    t.log(`${disk.verified} bytes verified, ${disk.unknown} without checksums then`)
    t.is(disk.verified > 0, options.checksums !== undefined)
    t.true(unanswered > 0)
    if (chain && kills > KILLS_PER_CHILD) t.true(disk.temporaries > 0)
  },
  title: (_, { engine, chain, checksums }) =>
    `kill -9 at any moment, ${engine}${chain ? ', chains' : ''}${checksums ? ', checksums' : ''}`,
})

async function killOnce(
  t: Parameters<typeof serve>[0],
  disk: KillableDisk,
  random: Random,
): Promise<void> {
  if (random.chance(0.1)) await killWhileStarting(t, disk, random)
  const server = await disk.start()
  await disk.verify(server)
  const enough = disk.answered + random.logarithmic(1, ANSWERS_MAX)
  const loaded = disk.load(server)
  while (disk.answered < enough) await setTimeout(1)
  await setTimeout(random.between(0, LATER_MS_MAX))
  if (random.chance(0.1)) {
    process.kill(server.pid, 'SIGTERM')
    await setTimeout(random.between(0, STOP_MS_MAX))
  }
  await server.kill()
  await loaded
}

async function killWhileStarting(
  t: Parameters<typeof serve>[0],
  disk: KillableDisk,
  random: Random,
): Promise<void> {
  const socket = `nbd+unix:///?socket=${join(disk.directory, 'socket')}`
  const stop = new AbortController()
  const started = serve(t, [disk.descriptor, '--listen', socket], { signal: stop.signal })
  const ended = started.then((server: Served) => server.ended).catch(() => 'not ready')
  await setTimeout(random.between(1, START_MS_MAX))
  stop.abort()
  await ended
}

for (const engine of ENGINES) {
  test(survives, { engine, chain: false, chunkSize: '64K' })
  // Large chunks: a copy takes long, and is killed more often.
  // Lock files: every start takes over those of the server that was killed.
  const options = { chunkSize: '512K', arguments: ['--lock-files'] }
  test(survives, { engine, chain: true, ...options })
  const checksums = ChecksumKind.CRC32C
  test(survives, { engine, chain: true, chunkSize: '256K', checksums })
}

test('a chunk that goes back to what it was is found', async (t) => {
  const random = new Random(seedFor(t))
  const disk = new KillableDisk(t, random, { engine: 'node', chunkSize: '64K' })
  await disk.create()
  const [chunk, old] = [join(disk.part, 'chunk0'), join(disk.directory, 'old')]
  while (!existsSync(chunk)) await killOnce(t, disk, random)
  copyFileSync(chunk, old)
  const before = disk.answered
  while (disk.answered < before + 200) await killOnce(t, disk, random)
  copyFileSync(old, chunk)
  const server = await disk.start()
  await t.throwsAsync(disk.verify(server), { message: /sector \d+ holds .*; it may hold/ })
})
