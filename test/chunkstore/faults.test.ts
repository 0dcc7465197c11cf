/**
 * Every call a scenario makes fails: for each n the n-th, with EIO or ENOSPC, or everything that
 * takes space from the n-th on. What was acknowledged must be there, what failed may be old or new
 * from the reported place on, nothing else may change; afterwards the same disk goes on, or, after
 * a failed sync, the reopened one.
 */
import assert from 'node:assert/strict'
import test from 'ava'
import type { ExecutionContext } from 'ava'
import { CacheMode } from '../../chunkstore/options.ts'
import type { DiskOptions } from '../../chunkstore/options.ts'
import { RequestFlag } from '../../device/device.ts'
import { difference } from '../helpers/bytes.ts'
import { DiskFolder, nodeFiles, sameAsImage } from '../helpers/chunk-disk.ts'
import type { OpenedDisk } from '../helpers/chunk-disk.ts'
import { DeviceError } from '../helpers/device-client.ts'
import type { DeviceClient } from '../helpers/device-client.ts'
import { Random, seedFor } from '../helpers/random.ts'
import { TestFiles } from '../helpers/test-files.ts'

const CHUNK = 65_536
const PAGE = 4096
const SIZE = 4 * CHUNK + 2 * PAGE
const EIO = 5
const ENOSPC = 28
const TAKES_SPACE = /^(create|write|truncate \S+ 65536|zeroRange|rename)/

interface Scenario {
  /** Bytes of this value fill the parent, and the disk itself, before; 0: nothing is there. */
  readonly parent: number
  readonly own: number
  readonly options?: Partial<DiskOptions>
  readonly abilities?: object
  /** One after the other: `METHOD PAGE PAGES [FLAG]`, several at once with `&` between them. */
  readonly steps: readonly string[]
}

const SCENARIOS: Readonly<Record<string, Scenario>> = {
  'writes to new chunks': {
    parent: 0,
    own: 0,
    steps: ['write 3 30', 'write 0 2 & write 2 1', 'read 0 66', 'flush'],
  },
  'writes that copy from the parent': {
    parent: 7,
    own: 0,
    steps: ['write 14 4', 'write 33 1 & write 40 2 & read 32 16 & trim 64 1', 'flush'],
  },
  'writes with FUA': {
    parent: 7,
    own: 0,
    steps: ['write 1 1 FUA', 'write 15 2 FUA & write 48 1', 'flush'],
  },
  'trims of own chunks': {
    parent: 7,
    own: 5,
    steps: ['trim 8 40', 'trim 0 4 & trim 4 4 & read 0 16', 'write 0 1', 'flush'],
  },
  "trims of the parent's chunks": {
    parent: 7,
    own: 0,
    steps: ['trim 8 40', 'zero 0 4 & trim 4 4', 'trim 64 2', 'flush'],
  },
  allocations: {
    parent: 0,
    own: 0,
    steps: ['zero 3 20 NO_HOLE', 'zero 0 3 NO_HOLE & trim 40 8', 'flush'],
  },
  'zeros that are written': {
    parent: 0,
    own: 5,
    abilities: { punchHole: false, zeroRange: false },
    steps: ['zero 3 40', 'zero 0 1 NO_HOLE & trim 60 2', 'flush'],
  },
  'one open file': {
    parent: 7,
    own: 0,
    options: { openFilesMax: 1 },
    steps: ['write 0 1 & write 16 1', 'write 1 1 & trim 32 2', 'read 0 66', 'flush'],
  },
  writethrough: {
    parent: 0,
    own: 5,
    options: { cacheMode: CacheMode.WRITETHROUGH },
    steps: ['write 14 4', 'trim 0 2 & zero 4 2', 'trim 16 16'],
  },
}

for (const [title, scenario] of Object.entries(SCENARIOS)) {
  test(`any call may fail: ${title}`, async (t) => {
    const random = new Random(seedFor(t))
    const isFull = { match: TAKES_SPACE, stays: true, errno: ENOSPC }
    let n = 1
    while (await new Trial(t, scenario, { n, ...isFull }).run()) n++
    n = 1
    const pick = () => ({ match: /./, stays: false, errno: random.pick([EIO, ENOSPC]) })
    while (await new Trial(t, scenario, { n, ...pick() }).run()) n++
    t.true(n > 10, `only ${n} calls`)
  })
}

/** The n-th call that matches fails with `errno`; if it stays, all that match from then on. */
interface Fault {
  /** Counted from 1. */
  readonly n: number
  readonly match: RegExp
  readonly stays: boolean
  readonly errno: number
}

/** What a sync does is not seen here, only whether it is said to have failed. */
function unsynced(): TestFiles {
  return Object.assign(new TestFiles(nodeFiles()), { syncs: false })
}

class Trial {
  readonly #folder: DiskFolder
  readonly #files = unsynced()
  readonly #scenario: Scenario
  readonly #fault: Fault
  readonly #image = new Uint8Array(SIZE)
  /** The call that failed, or ''. */
  #failed = ''
  #lastValue = 100

  constructor(t: ExecutionContext, scenario: Scenario, fault: Fault) {
    this.#folder = new DiskFolder(t)
    this.#scenario = scenario
    this.#fault = fault
  }

  /** @returns false: there were fewer than n calls */
  async run(): Promise<boolean> {
    await this.#prepare()
    const parentBefore = this.#folder.fingerprint('base')
    const opened = await this.#folder.open('a', this.#scenario.options, this.#files)
    this.#arm()
    const failures: string[] = []
    for (const steps of this.#scenario.steps) {
      failures.push(...(await this.#runSteps(opened.client, steps.split(' & '))))
      if (this.#isSyncFailure()) break
    }
    this.#files.fault = () => 0
    await (this.#isSyncFailure() ? this.#isRefusing(opened) : this.#goesOn(opened, failures))
    assert.deepEqual(this.#folder.openDescriptors(), [])
    assert.equal(this.#files.openNames.size, 0)
    for (const line of this.#folder.list('a')) assert.match(line, /^chunk\d+ (0|65536)$/)
    assert.deepEqual(this.#folder.fingerprint('base'), parentBefore)
    const again = await this.#folder.open('a', {}, unsynced())
    await sameAsImage(again.client, this.#image)
    await again.disk.close()
    return this.#failed !== ''
  }

  async #prepare(): Promise<void> {
    this.#folder.make('base', { size: SIZE })
    this.#folder.make('a', { size: SIZE, parent: 'base' })
    for (const [name, value] of [
      ['base', this.#scenario.parent],
      ['a', this.#scenario.own],
    ] as const) {
      if (value === 0) continue
      const { client, disk } = await this.#folder.open(name, {}, unsynced())
      await client.write(0, this.#image.fill(value))
      await disk.close()
    }
    this.#files.fixedAbilities = this.#scenario.abilities ?? {}
  }

  #arm(): void {
    const { n, match, stays, errno } = this.#fault
    let count = 0
    this.#files.fault = (call) => {
      if (!match.test(call)) return 0
      count++
      if (count !== n && !(stays && count > n)) return 0
      this.#failed ||= call
      return errno
    }
  }

  /** A sync of a temporary file only fails the request that needed it. */
  #isSyncFailure(): boolean {
    return /^(sync chunk|syncDirectory)/.test(this.#failed)
  }

  /** @returns the steps that failed */
  async #runSteps(client: DeviceClient, steps: readonly string[]): Promise<string[]> {
    const failures: string[] = []
    const mayBe = this.#image.slice()
    const run = async (step: string): Promise<void> => {
      const { method, start, length, flags } = parse(step)
      const changes = method !== 'read' && method !== 'flush'
      const value = method === 'write' ? this.#lastValue++ : 0
      if (changes) mayBe.fill(value, start, start + length)
      let done = start + length
      try {
        await perform[method](client, start, length, flags, value)
      } catch (error) {
        assert(error instanceof DeviceError, `${this.#failed}: ${String(error)}`)
        this.#checkError(error, step)
        failures.push(step)
        // After a failed sync all of it is in the files, though perhaps not on the disk.
        if (changes && !this.#isSyncFailure()) done = error.offset
      }
      assert(done % PAGE === 0 && done >= start && done <= start + length)
      if (changes) this.#image.fill(value, start, done)
    }
    await Promise.all(steps.map(run))
    await this.#isEither(client, mayBe)
    return failures
  }

  #checkError({ errno }: DeviceError, step: string): void {
    const call = this.#failed
    assert.notEqual(call, '', `${step} fails with ${errno} without a reason`)
    assert.doesNotMatch(call, /^(close|remove)/, 'nothing was lost')
    // Opening a file that is there needs no space: whatever the reason, it is an I/O error.
    const either = /^(open|status|statusOf|read) /.test(call)
    const injected = this.#isSyncFailure() ? EIO : this.#fault.errno
    const expected = either ? [injected, EIO] : [injected]
    assert(expected.includes(errno), `errno ${errno} for ${call}`)
  }

  /** Every page is what it must be, or, where something failed, what it would have become. */
  async #isEither(client: DeviceClient, mayBe: Uint8Array): Promise<void> {
    const { fault } = this.#files
    this.#files.fault = () => 0
    const bytes = await client.read(0, SIZE)
    this.#files.fault = fault
    for (let at = 0; at < SIZE; at += PAGE) {
      const page = bytes.subarray(at, at + PAGE)
      if (difference(page, this.#image.subarray(at, at + PAGE)) === '') continue
      const problem = difference(page, mayBe.subarray(at, at + PAGE))
      assert.equal(problem, '', `page ${at / PAGE} after ${this.#failed} failed`)
      this.#image.set(page, at)
    }
  }

  async #goesOn({ client, disk }: OpenedDisk, failures: readonly string[]): Promise<void> {
    for (const step of failures) assert.deepEqual(await this.#runSteps(client, [step]), [])
    await sameAsImage(client, this.#image)
    await client.flush()
    await disk.close()
  }

  async #isRefusing({ client, disk }: OpenedDisk): Promise<void> {
    await assert.rejects(client.flush(), { errno: EIO })
    await assert.rejects(client.write(0, new Uint8Array(PAGE)), { errno: EIO, offset: 0 })
    await assert.rejects(disk.close(), { code: 'ESYNC' })
  }
}

type Method = 'read' | 'write' | 'trim' | 'zero' | 'flush'
type Perform = (
  client: DeviceClient,
  start: number,
  length: number,
  flags: number,
  value: number,
) => Promise<unknown>

const perform: Readonly<Record<Method, Perform>> = {
  read: (client, start, length) => client.read(start, length),
  write: (client, start, length, flags, value) =>
    client.write(start, new Uint8Array(length).fill(value), flags),
  trim: (client, start, length, flags) => client.trim(start, length, flags),
  zero: (client, start, length, flags) => client.zero(start, length, flags),
  flush: (client) => client.flush(),
}

function parse(step: string) {
  const [method, page = '0', pages = '0', flag] = step.split(' ')
  const flags = flag === 'FUA' ? RequestFlag.FUA : flag === 'NO_HOLE' ? RequestFlag.NO_HOLE : 0
  const start = Number(page) * PAGE
  return { method: method as Method, start, length: Number(pages) * PAGE, flags }
}
