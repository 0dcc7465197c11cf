/** The limits of connections: who is refused, who makes room, and what the log says of it. */
import test from 'ava'
import { MemoryDevice } from '../../device/memory.ts'
import type { Log } from '../../nbd/log.ts'
import { Server } from '../../nbd/server.ts'
import type { ServerLimits } from '../../nbd/server-limits.ts'
import { FakeIo, type FakeStream } from '../helpers/fake-stream.ts'
import { silentLog } from '../helpers/memory-session.ts'
import { infoData, option, parseOptionReplies, u32 } from '../helpers/naive-codec.ts'
import { Random, seedFor } from '../helpers/random.ts'

const GO = 7
const ERR_POLICY = 2 ** 31 + 2

interface Warning {
  readonly remote: string
  readonly moreBefore: number
  readonly message: string
}

class Scene {
  readonly server: Server
  readonly warnings: Warning[] = []
  readonly #io = new FakeIo()
  readonly #streams: FakeStream[] = []

  private constructor(limits: Partial<ServerLimits>) {
    const warn = (fields: object, message: string): void => {
      this.warnings.push({ ...(fields as Omit<Warning, 'message'>), message })
    }
    const log: Log = { ...silentLog, warn }
    const entries = ['a', 'b'].map((name) => ({
      name,
      description: '',
      device: new MemoryDevice(4096),
    }))
    const find = (name: string) => entries.find((each) => each.name === name) ?? null
    const exports = { find, list: () => entries }
    this.server = new Server({ io: this.#io.io, exports, log, limits })
  }

  static async start(limits: Partial<ServerLimits>): Promise<Scene> {
    const scene = new Scene(limits)
    await scene.server.listen({ kind: 'unix', path: 'fake' })
    return scene
  }

  /** A client that says nothing. */
  connect(host = '10.0.0.1'): FakeStream {
    const stream = this.#io.connect(`${host}:4711`)
    this.#streams.push(stream)
    run(stream)
    return stream
  }

  attach(host = '10.0.0.1', name = 'a'): FakeStream {
    const stream = this.connect(host)
    if (!stream.isDestroyed) go(stream, name)
    return stream
  }

  /** Until those that were cut off, or have left, are gone. */
  async settle(): Promise<void> {
    for (let turn = 0; turn < 2; turn++) {
      this.#streams.forEach(run)
      await new Promise((resolve) => setImmediate(resolve))
    }
  }

  get connections(): number {
    return this.server.statistics().connections
  }
}

function run(stream: FakeStream): void {
  while (stream.step());
}

/** @returns the type of the last reply */
function go(stream: FakeStream, name: string): number {
  stream.take()
  stream.push(Buffer.concat([u32(3), option(GO, infoData(name))]))
  run(stream)
  const replies = stream.take()
  return replies.length === 0 ? 0 : (parseOptionReplies(replies).at(-1)?.type ?? 0)
}

function leave(stream: FakeStream): void {
  stream.break(null)
}

test('over the limit of all, the oldest that has not finished its handshake goes', async (t) => {
  const scene = await Scene.start({ connections: 3 })
  const attached = scene.attach()
  const [old, young] = [scene.connect(), scene.connect('10.0.0.2')]
  const newcomer = scene.attach('10.0.0.3')
  t.deepEqual(
    [attached, old, young, newcomer].map((each) => each.isDestroyed),
    [false, true, false, false],
  )
  await scene.settle()
  t.is(scene.connections, 3)
  t.is(scene.server.statistics().refused, 1)
  t.like(scene.warnings, [{ remote: '10.0.0.1:4711', moreBefore: 0 }])
  t.regex(scene.warnings[0].message, /--max-connections/)
})

test('over the limit of all, nobody who is attached goes: the newcomer is refused', async (t) => {
  const scene = await Scene.start({ connections: 2 })
  const attached = [scene.attach(), scene.attach('10.0.0.2')]
  const newcomer = scene.connect('10.0.0.3')
  t.true(newcomer.isDestroyed)
  t.is(newcomer.take().length, 0)
  t.true(attached.every((each) => !each.isDestroyed))
  leave(attached[0])
  await scene.settle()
  t.false(scene.attach('10.0.0.3').isDestroyed)
  t.like(scene.warnings, [{ remote: '10.0.0.3:4711' }])
})

test('over the limit of an address only that one is concerned', async (t) => {
  const scene = await Scene.start({ connectionsPerAddress: 2 })
  const other = scene.connect('10.0.0.2')
  const [first, second] = [scene.connect(), scene.connect()]
  t.false(scene.attach().isDestroyed)
  t.true(first.isDestroyed)
  t.false(scene.attach().isDestroyed)
  t.true(second.isDestroyed)
  t.true(scene.connect().isDestroyed)
  t.false(other.isDestroyed)
  t.false(scene.attach('10.0.0.2').isDestroyed)
  t.regex(scene.warnings.at(-1)?.message ?? '', /--max-connections-per-address/)
})

test('the addresses of an IPv6 network count as one, unix sockets as none', async (t) => {
  const scene = await Scene.start({ connectionsPerAddress: 1 })
  t.false(scene.attach('[2001:db8::1]').isDestroyed)
  t.true(scene.connect('[2001:db8::2]').isDestroyed)
  t.false(scene.attach('[2001:db8:0:1::1]').isDestroyed)
  for (let count = 0; count < 3; count++) t.false(scene.attach('unix:/s').isDestroyed)
})

test('over the limit of an export GO says so, and another export can be had', async (t) => {
  const scene = await Scene.start({ connectionsPerExport: 2 })
  const [first] = [scene.attach(), scene.attach()]
  const third = scene.connect()
  t.is(go(third, 'a'), ERR_POLICY)
  t.false(third.isDestroyed)
  third.push(option(GO, infoData('b')))
  run(third)
  t.is(parseOptionReplies(third.take()).at(-1)?.type, 1)
  const fourth = scene.connect()
  t.is(go(fourth, 'a'), ERR_POLICY)
  leave(first)
  await scene.settle()
  fourth.push(option(GO, infoData('a')))
  run(fourth)
  t.is(parseOptionReplies(fourth.take()).at(-1)?.type, 1)
  t.regex(scene.warnings[0].message, /--max-connections-per-export/)
})

test('over the limit of an export EXPORT_NAME, which knows no errors, is cut off', async (t) => {
  const scene = await Scene.start({ connectionsPerExport: 1 })
  scene.attach()
  const stream = scene.connect()
  stream.push(Buffer.concat([u32(3), option(1, Buffer.from('a'))]))
  run(stream)
  t.true(stream.isDestroyed)
})

test('the log tells of the first, the rest is counted', async (t) => {
  const scene = await Scene.start({ connections: 1 })
  scene.attach()
  for (let count = 0; count < 1000; count++) scene.connect()
  t.is(scene.warnings.length, 1)
  t.is(scene.server.statistics().refused, 1000)
  t.is(scene.connections, 1)
})

test('limits that make no sense are refused', (t) => {
  const exports = { find: () => null, list: () => [] }
  const { io } = new FakeIo()
  for (const limits of [{ connections: 0 }, { connectionsPerExport: 0 }, { handshakeMs: 0 }]) {
    t.throws(() => new Server({ io, exports, limits }))
  }
})

test('whatever comes and goes, the limits hold and all is counted back', async (t) => {
  const random = new Random(seedFor(t))
  const limits = { connections: 12, connectionsPerAddress: 5, connectionsPerExport: 4 }
  const scene = await Scene.start(limits)
  const all: { stream: FakeStream; host: string; isAttached: boolean }[] = []
  const alive = () => all.filter(({ stream }) => !stream.isDestroyed && !stream.isClosed)
  for (let step = 0; step < 1000; step++) {
    const host = `10.0.0.${random.between(1, 4)}`
    const living = alive()
    const chosen = living[random.between(0, living.length)]
    if (random.chance(0.5) || chosen === undefined) {
      all.push({ stream: scene.connect(host), host, isAttached: false })
    } else if (random.chance(0.4)) {
      leave(chosen.stream)
    } else if (!chosen.isAttached) {
      const inExport = living.filter((each) => each.isAttached).length
      chosen.isAttached = go(chosen.stream, 'a') === 1
      t.is(chosen.isAttached, inExport < limits.connectionsPerExport)
      if (!chosen.isAttached) leave(chosen.stream)
    }
    await scene.settle()
    const now = alive()
    t.is(scene.connections, now.length)
    t.true(now.length <= limits.connections)
    for (let at = 1; at <= 4; at++) {
      t.true(now.filter((each) => each.host === `10.0.0.${at}`).length <= 5)
    }
  }
  for (const { stream } of alive()) leave(stream)
  await scene.settle()
  t.is(scene.connections, 0)
  // Nothing of the past counts.
  for (let count = 0; count < 4; count++) t.is(go(scene.connect('10.0.0.9'), 'a'), 1)
})
