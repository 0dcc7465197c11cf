import path from 'node:path'
import test from 'ava'
import { CacheMode } from '../../../chunkstore/options.ts'
import type { FileOperation, Files } from '../../../io/io.ts'
import { CallKind, type Fault } from '../../../io/simulated/faults.ts'
import type { SimulatedFiles } from '../../../io/simulated/files.ts'
import { Random, seedFor } from '../../helpers/random.ts'
import { CrashDisk, type CrashShape } from './crash-disk.ts'

const ROUNDS = Number(process.env['ROUNDS'] ?? 8)
const LIVES = 6
const OUTCOMES = 4
const SMALL = { chunkSize: 16_384, chunkCount: 5, pagesMax: 12 }

async function use(random: Random, crash: CrashDisk): Promise<void> {
  for (let steps = random.logarithmic(1, 60); steps > 0; steps--) {
    crash.begin()
    await crash.turns(random.pick([0, 1, 3, 20]))
  }
}

/** Some requests, closed or cut off at any moment, and again. */
async function live(random: Random, crash: CrashDisk): Promise<void> {
  await crash.create()
  for (let life = 0; life < LIVES; life++) {
    await crash.open()
    await crash.verify()
    await use(random, crash)
    const dice = random.next()
    if (dice < 0.25) await crash.close()
    else if (dice < 0.5) crash.kill()
    else crash.losePower(OUTCOMES)
  }
  await crash.open()
  await crash.verify()
  for (let pass = 0; pass < 12; pass++) await crash.wait(crash.settle())
  await crash.close()
}

for (const cacheMode of [CacheMode.WRITEBACK, CacheMode.WRITETHROUGH, CacheMode.UNSAFE]) {
  test(`${cacheMode}: what has no mark is right after any crash, all is readable`, async (t) => {
    const random = new Random(seedFor(t))
    let verified = 0
    for (let round = 0; round < ROUNDS; round++) {
      const crash = new CrashDisk(random, { ...SMALL, cacheMode })
      await live(random, crash)
      const truth = crash.examine()
      t.deepEqual(truth.wrong, [])
      t.is(truth.marks, 0, 'everything is settled in the end')
      t.deepEqual(crash.machine.violations, [])
      verified += truth.verified
    }
    t.true(verified > ROUNDS, `${verified} pages have sums`)
  })
}

const KINDS: readonly (readonly CallKind[])[] = [
  [CallKind.READ],
  [CallKind.WRITE],
  [CallKind.SYNC],
  [CallKind.SYNC_DIRECTORY],
  [CallKind.FALLOCATE],
  [CallKind.TRUNCATE],
  [CallKind.OPEN],
  [CallKind.CLOSE, CallKind.STATUS],
  [CallKind.RENAME, CallKind.REMOVE],
]

function faultOf(random: Random): Fault {
  return {
    kinds: random.pick(KINDS),
    errno: random.pick([5, 28]),
    after: random.logarithmic(1, 30) - 1,
    count: random.logarithmic(1, 4),
    reach: random.pick([0, 0.5, 1]),
  }
}

test('whatever call fails, what has no mark is right, and all is readable then', async (t) => {
  const random = new Random(seedFor(t))
  let failures = 0
  for (let round = 0; round < ROUNDS; round++) {
    const cacheMode = random.pick([CacheMode.WRITEBACK, CacheMode.UNSAFE])
    const crash = new CrashDisk(random, { ...SMALL, cacheMode })
    await crash.create()
    for (let life = 0; life < LIVES; life++) {
      await crash.open()
      await crash.verify()
      for (let count = random.between(1, 3); count > 0; count--) crash.arm(faultOf(random))
      await use(random, crash)
      if (random.chance(0.3)) await crash.close()
      if (crash.hasLost || random.chance(0.5)) crash.kill()
      else crash.losePower(OUTCOMES)
      if (!crash.hasLost) continue
      await crash.open()
      await crash.verify()
      break
    }
    failures += crash.failures
  }
  t.true(failures > ROUNDS, `${failures} requests failed`)
})

/** As `files`, but the syncs of some are answered and not carried out. */
function withoutSync(files: SimulatedFiles, skips: (name: string) => boolean): Files {
  const names = new Map<number, string>()
  const nothing = (operation: FileOperation): boolean => {
    operation.result = 0
    return true
  }
  const methods: Partial<Files> = {
    async open(file, flags) {
      const fd = await files.open(file, flags)
      names.set(fd, path.basename(file))
      return fd
    },
    sync: (each) => (skips(names.get(each.fd) ?? '') ? nothing(each) : files.sync(each)),
    syncDirectory: (each) => (skips('/') ? nothing(each) : files.syncDirectory(each)),
  }
  return new Proxy(files, {
    get(target, name) {
      const value = (Reflect.get(methods, name) ?? Reflect.get(target, name)) as unknown
      return typeof value === 'function' ? (value.bind(target) as unknown) : value
    },
  })
}

const SYNCS: Readonly<Record<string, (name: string) => boolean>> = {
  'the marks': (name) => name === 'checksums',
  'the checksum files': (name) => name.startsWith('crc32c-'),
  'the chunk files': (name) => name.startsWith('chunk'),
  'the names': (name) => name === '/',
}

for (const [what, skips] of Object.entries(SYNCS)) {
  test(`without the syncs of ${what} something is wrong after a power loss`, async (t) => {
    const random = new Random(seedFor(t))
    const shape: CrashShape = {
      ...SMALL,
      cacheMode: CacheMode.WRITEBACK,
      wrap: (files) => withoutSync(files, skips),
    }
    let wrong = 0
    for (let round = 0; round < ROUNDS && wrong === 0; round++) {
      wrong = await live(random, new CrashDisk(random, shape)).then(
        () => 0,
        () => 1,
      )
    }
    t.is(wrong, 1)
  })
}
