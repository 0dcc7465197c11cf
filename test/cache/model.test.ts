/**
 * Virtual clients send random requests of any alignment through a cache to a device which answers
 * late, in random order, and sometimes not at all well. As the frontend does, mutations that
 * overlap are not under way together; reads overlap anything.
 */
import assert from 'node:assert/strict'
import { constants } from 'node:os'
import test from 'ava'
import type { CachedDevice } from '../../cache/cached-device.ts'
import { PAGE_SIZE } from '../../cache/limits.ts'
import { DONE, RequestFlag } from '../../device/device.ts'
import { FaultDevice } from '../../device/fault-device.ts'
import { difference, sameBytes } from '../helpers/bytes.ts'
import { cacheOver } from '../helpers/cached.ts'
import { ModelDevice } from '../helpers/model-device.ts'
import { Random, seedFor } from '../helpers/random.ts'
import { TestDevice, TestRequest } from '../helpers/test-device.ts'
import type { Method } from '../helpers/test-device.ts'

const { EIO, ENOSPC } = constants.errno
const { FUA, NO_HOLE, FAST_ZERO } = RequestFlag
const SIZE = 512 * PAGE_SIZE
const LENGTH_MAX = 300 * 1024
const MUTATIONS: readonly Method[] = ['write', 'trim', 'zero']

/** Bytes to write are taken from here, at a random place. */
const POOL = new Random(1).bytes(LENGTH_MAX + 65536)

interface Scenario {
  readonly pages: number
  readonly retain: boolean
  readonly alignment: number
  readonly clients: number
  readonly late: number
  readonly errors: number
  /** All requests lie in the first bytes of the device: many meet in a page. */
  readonly span: number
  readonly lengthMax: number
  readonly operations: number
}

/** What all clients share. */
class World {
  readonly random: Random
  readonly scenario: Scenario
  readonly below: ModelDevice
  readonly faults: FaultDevice
  readonly device: CachedDevice
  /** What the device must hold; of a range under mutation, what it held before. */
  readonly image = new Uint8Array(SIZE)
  readonly clients: Client[]
  failures = 0

  constructor(scenario: Scenario, random: Random) {
    this.random = random
    this.scenario = scenario
    this.below = new ModelDevice(SIZE, scenario.alignment)
    const { late, errors } = scenario
    const errnos = [EIO, ENOSPC]
    this.faults = new FaultDevice(this.below, { random: random.next, late, errors, errnos })
    this.device = cacheOver(this.faults, scenario.pages, scenario.retain)
    this.clients = Array.from({ length: scenario.clients }, () => new Client(this))
  }

  run(): void {
    let started = 0
    while (started < this.scenario.operations) {
      for (const client of this.clients) {
        if (client.request.idle && this.random.chance(0.8) && client.start()) started++
      }
      this.device.submit()
      for (let count = this.random.between(1, 12); count > 0 && this.faults.run(); count--);
    }
    while (this.faults.run());
  }
}

/** A mutation that was under way while a read was. */
interface Rival {
  readonly offset: number
  readonly end: number
  /** What is written from `offset` on; null for zeros. */
  readonly data: Uint8Array | null
}

class Client {
  readonly request = new TestRequest()
  readonly #world: World
  #data: Uint8Array | null = null
  /** For a read: what the range held when it began. */
  #before = new Uint8Array(0)
  readonly #rivals: Rival[] = []

  constructor(world: World) {
    this.#world = world
    this.request.finished = () => this.#finished()
  }

  /** @returns false: the drawn mutation would overlap another one */
  start(): boolean {
    const { random, scenario, device, clients, image } = this.#world
    const { span, lengthMax } = scenario
    const length = random.logarithmic(1, Math.min(span, lengthMax))
    const start = random.between(0, span - length)
    const method = random.chance(0.5) ? 'read' : random.pick(MUTATIONS)
    // A third on page borders, to mix aligned requests and parts with the others.
    const offset = random.chance(0.33) ? start - (start % PAGE_SIZE) : start
    const others = clients.filter((client) => client.#overlaps(offset, length))
    const rivals = others.filter((client) => client.request.method !== 'read')
    if (method === 'read') {
      this.#before = image.slice(offset, offset + length)
      this.#rivals.length = 0
      for (const rival of rivals) this.#rivals.push(rival.#asRival())
      this.request.start(device, method, offset, length)
      return true
    }
    if (rivals.length > 0) return false
    this.#startMutation(method, offset, length, others)
    return true
  }

  #startMutation(method: Method, offset: number, length: number, readers: Client[]): void {
    const { random, device } = this.#world
    const from = random.between(0, 65535)
    this.#data = method === 'write' ? POOL.subarray(from, from + length) : null
    const flag = random.pick([0, 0, FUA, FUA | NO_HOLE, NO_HOLE, FAST_ZERO])
    const flags = method === 'zero' ? flag : flag & FUA
    const rival = { offset, end: offset + length, data: this.#data }
    for (const reader of readers) reader.#rivals.push(rival)
    this.request.start(device, method, offset, length, {
      flags,
      ...(this.#data === null ? {} : { data: this.#data }),
    })
  }

  #overlaps(offset: number, length: number): boolean {
    const { request } = this
    if (request.idle) return false
    return request.offset < offset + length && offset < request.offset + request.length
  }

  #asRival(): Rival {
    const { offset, length } = this.request
    return { offset, end: offset + length, data: this.#data }
  }

  #finished(): void {
    const { request } = this
    if (request.status !== DONE) this.#world.failures++
    if (request.method === 'read') this.#checkRead()
    else this.#applyMutation()
  }

  #applyMutation(): void {
    const { image, below } = this.#world
    const { offset, length, status, flags } = this.request
    const end = offset + length
    if (status !== DONE) {
      // Every byte is as before or as it was to be: which one, the device below decides.
      const held = below.image.subarray(offset, end)
      this.#explain(held, image.slice(offset, end), [this.#asRival()])
      image.set(held, offset)
      return
    }
    if (this.#data === null) image.fill(0, offset, end)
    else image.set(this.#data, offset)
    const expected = image.subarray(offset, end)
    assert.equal(difference(below.image.subarray(offset, end), expected), '', 'acknowledged, lost')
    if ((flags & FUA) === 0) return
    assert.equal(difference(below.durable.subarray(offset, end), expected), '', 'FUA, not durable')
  }

  #checkRead(): void {
    const { content, status, offset, errorOffset } = this.request
    const good = status === DONE ? content : content.subarray(0, errorOffset - offset)
    this.#explain(good, this.#before, this.#rivals)
  }

  /** Each byte is what it was `before`, or what one of the rivals makes it. */
  #explain(seen: Uint8Array, before: Uint8Array, rivals: readonly Rival[]): void {
    const { offset } = this.request
    if (Buffer.compare(seen, before.subarray(0, seen.length)) === 0) return
    for (let index = 0; index < seen.length; index++) {
      if (seen[index] === before[index]) continue
      const at = offset + index
      const explained = rivals.some((rival) => {
        if (at < rival.offset || at >= rival.end) return false
        return seen[index] === (rival.data === null ? 0 : rival.data[at - rival.offset])
      })
      assert(explained, `byte ${at} is ${seen[index]}, was ${before[index]}; nobody wrote that`)
    }
  }
}

const USUAL: Scenario = {
  pages: 64,
  retain: true,
  alignment: PAGE_SIZE,
  clients: 8,
  late: 0.8,
  errors: 0.01,
  span: SIZE,
  lengthMax: LENGTH_MAX,
  operations: 20_000,
}

const SCENARIOS: Readonly<Record<string, Partial<Scenario>>> = {
  'all over the device': {},
  'without errors': { errors: 0, operations: 10_000 },
  'in few pages': { span: 5 * PAGE_SIZE, lengthMax: 3 * PAGE_SIZE, clients: 24, pages: 16 },
  'inside one page': { span: PAGE_SIZE, lengthMax: 200, clients: 30, errors: 0.1 },
  'with two pages of memory': { pages: 2, clients: 24, span: 64 * PAGE_SIZE, lengthMax: 9000 },
  'keeping nothing': { retain: false, span: 20 * PAGE_SIZE, lengthMax: 4 * PAGE_SIZE },
  'over sectors': { alignment: 512, span: 30 * PAGE_SIZE, lengthMax: 20_000 },
  'with the whole device cached': { pages: 512, lengthMax: 20_000, errors: 0.003 },
  'on a device that mostly answers at once': { late: 0.1, lengthMax: 40_000 },
}

for (const [name, changes] of Object.entries(SCENARIOS)) {
  test(`concurrent requests agree with a model ${name}`, async (t) => {
    const scenario = { ...USUAL, ...changes }
    const world = new World(scenario, new Random(seedFor(t)))
    world.run()
    t.true(
      world.clients.every((client) => client.request.idle),
      'requests never answered',
    )
    t.is(world.failures > 0, scenario.errors > 0)
    sameBytes(t, world.below.image, world.image)
    // Through the cache too, with reads that must look into every cached page.
    const clean = cleanReader(world)
    for (let offset = 0; offset < SIZE; offset += PAGE_SIZE) {
      const seen = await clean.read(offset, PAGE_SIZE - 1)
      assert.equal(difference(seen, world.image.subarray(offset, offset + PAGE_SIZE - 1)), '')
    }
  })
}

/** Tries again where an injected error strikes. */
function cleanReader({ device, faults }: World) {
  const subject = new TestDevice({ device, run: () => faults.run() })
  return {
    async read(offset: number, length: number): Promise<Uint8Array> {
      for (;;) {
        const request = await subject.perform('read', offset, length)
        if (request.status === DONE) return request.content
      }
    },
  }
}
