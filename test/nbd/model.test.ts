/**
 * Random requests of several connections against a model, on a device that finishes late, in
 * random order and with errors. Every byte a READ brings must be one it may be.
 */
import test from 'ava'
import type { ExecutionContext } from 'ava'
import { constants } from 'node:os'
import { FaultDevice } from '../../device/fault-device.ts'
import { MemoryDevice } from '../../device/memory.ts'
import { Command, Flag, MemorySession } from '../helpers/memory-session.ts'
import type { MemoryClient } from '../helpers/memory-session.ts'
import { Random, seedFor } from '../helpers/random.ts'
import type { Answer } from '../helpers/reply-checker.ts'

const SIZE = 6 * 1024 * 1024 + 77
/** BLOCK_STATUS wants chunks: the simple client is answered with an error. */
const STYLES = ['structured', 'extended', 'simple', 'extended'] as const
const IN_FLIGHT = 12
const OPERATIONS = 2500

/** A request under way, as the model sees it. */
interface Operation {
  readonly id: number
  readonly isRead: boolean
  readonly start: number
  readonly end: number
  /** Mutations that were or came in flight at the same time, where a read may see either. */
  readonly rivals: Operation[]
}

/** Contents by order of arrival; a byte that a failed mutation may have changed is unknown. */
class Model {
  readonly bytes = new Uint8Array(SIZE)
  readonly isUnknown = new Uint8Array(SIZE)
  /** Who wrote a byte last. */
  readonly #writer = new Int32Array(SIZE)
  readonly inFlight = new Set<Operation>()

  begin(operation: Operation): void {
    for (const other of this.inFlight) {
      if (operation.isRead === other.isRead) continue
      const [read, mutation] = operation.isRead ? [operation, other] : [other, operation]
      read.rivals.push(mutation)
    }
    this.inFlight.add(operation)
  }

  mutate({ id, start, end }: Operation, data: Uint8Array | null): void {
    if (data === null) this.bytes.fill(0, start, end)
    else this.bytes.set(data, start)
    this.isUnknown.fill(0, start, end)
    this.#writer.fill(id, start, end)
  }

  failed({ id, start, end }: Operation): void {
    for (let at = start; at < end; at++) if (this.#writer[at] === id) this.isUnknown[at] = 1
  }

  /** @returns the first byte that is wrong, or -1 */
  check(read: Operation, from: number, to: number, data: Uint8Array): number {
    for (let at = from; at < to; at++) {
      if (this.isUnknown[at] === 1 || data[at - read.start] === this.bytes[at]) continue
      if (!read.rivals.some(({ start, end }) => at >= start && at < end)) return at
    }
    return -1
  }
}

class Run {
  readonly model = new Model()
  readonly #t: ExecutionContext
  readonly #random: Random
  readonly #session: MemorySession
  readonly #operations = new Map<MemoryClient, Map<bigint, Operation>>()
  #nextId = 1
  failures = 0

  constructor(t: ExecutionContext, random: Random, session: MemorySession) {
    this.#t = t
    this.#random = random
    this.#session = session
  }

  submit(client: MemoryClient): void {
    const random = this.#random
    const offset = random.between(0, SIZE - 1)
    const lengthMax = random.chance(0.02) ? SIZE : 300 * 1024
    const length = Math.min(SIZE - offset, random.logarithmic(1, lengthMax))
    const kind = random.next()
    if (kind < 0.45) this.#read(client, offset, length)
    else if (kind < 0.5) client.send({ command: Command.FLUSH })
    else if (kind < 0.55) client.send({ command: Command.BLOCK_STATUS, offset, length })
    else this.#mutate(client, kind, offset, length)
  }

  #read(client: MemoryClient, start: number, length: number): void {
    const flags = this.#random.chance(0.2) && client === this.#session.clients[0] ? Flag.DF : 0
    this.#begin(client, true, start, length, client.read(start, length, flags))
  }

  #mutate(client: MemoryClient, kind: number, start: number, length: number): void {
    // The order of arrival is known within a connection only.
    for (const [other, operations] of this.#operations)
      for (const { isRead, start: from, end } of operations.values())
        if (other !== client && !isRead && from < start + length && start < end) return
    const flags = this.#random.chance(0.1) ? Flag.FUA : 0
    const isWrite = kind < 0.85
    const data = isWrite ? this.#random.bytes(length) : null
    const command = isWrite ? 1 : kind < 0.93 ? Command.TRIM : Command.WRITE_ZEROES
    const fields = { command, offset: start, length, flags }
    const cookie = client.send(fields, data ?? undefined)
    this.model.mutate(this.#begin(client, false, start, length, cookie), data)
  }

  #begin(
    client: MemoryClient,
    isRead: boolean,
    start: number,
    length: number,
    cookie: bigint,
  ): Operation {
    const operation = { id: this.#nextId++, isRead, start, end: start + length, rivals: [] }
    const operations = this.#operations.get(client) ?? new Map<bigint, Operation>()
    operations.set(cookie, operation)
    this.#operations.set(client, operations)
    this.model.begin(operation)
    return operation
  }

  collect(): void {
    for (const client of this.#session.clients) {
      for (const answer of client.answers.splice(0)) {
        const operations = this.#operations.get(client)
        const operation = operations?.get(answer.request.cookie)
        if (answer.error !== 0) this.failures++
        if (operation === undefined) continue
        operations?.delete(answer.request.cookie)
        this.model.inFlight.delete(operation)
        if (operation.isRead) this.#check(operation, answer)
        else if (answer.error !== 0) this.model.failed(operation)
      }
    }
  }

  #check(read: Operation, answer: Answer): void {
    const chunks = answer.simple
      ? [{ offset: read.start, length: answer.data.length }]
      : answer.content()
    for (const { offset, length } of chunks) {
      const wrong = this.model.check(read, offset, offset + length, answer.data)
      if (wrong >= 0)
        this.#t.fail(`READ ${read.start}+${read.end - read.start}: byte ${wrong} is wrong`)
    }
  }
}

async function play(t: ExecutionContext, late: number, errors: number): Promise<void> {
  const random = new Random(seedFor(t))
  const options = { random: random.next, late, errors, errnos: [constants.errno.EIO] }
  const device = new FaultDevice(new MemoryDevice(SIZE), options)
  const session = await MemorySession.start(device)
  const run = new Run(t, random, session)
  for (const [count, style] of STYLES.entries()) {
    const client = await session.connect(SIZE, style)
    if (count === 1) client.stream.pieceBytes = 5000
  }
  for (let operations = 0; operations < OPERATIONS;) {
    const client = random.pick(session.clients)
    client.stream.isImmediate = random.chance(0.5)
    if (client.outstanding < IN_FLIGHT) {
      run.submit(client)
      operations++
    }
    while (random.chance(0.6)) device.run()
    if (random.chance(0.3)) await session.step()
    run.collect()
  }
  await session.until(() => {
    while (device.run());
    run.collect()
    return session.clients.every((client) => client.outstanding === 0)
  })
  t.true(errors === 0 || run.failures > 0)
  t.is(session.server.statistics().requestsInFlight, 0)
  t.is(session.server.statistics().memoryBytes, 0)
}

test('a device that is never late', (t) => play(t, 0, 0))
test('a device that is late now and then', (t) => play(t, 0.3, 0))
test('a device that is always late and fails at times', (t) => play(t, 1, 0.05))
