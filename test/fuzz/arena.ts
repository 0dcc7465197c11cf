/**
 * A server over streams in memory, with a good client on the same disk, into which hostile streams
 * are let one after the other. Everything happens in one thread at the word of one seed: how bytes
 * are cut, when sends leave, when the device finishes, when the connection breaks.
 */
import assert from 'node:assert/strict'
import { DONE } from '../../device/device.ts'
import { ReadOnlyDevice } from '../../device/read-only-device.ts'
import type { TlsContext } from '../../io/tls-context.ts'
import { Server } from '../../nbd/server.ts'
import { STRANGER } from '../helpers/conversation.ts'
import { FakeIo, type FakeStream } from '../helpers/fake-stream.ts'
import type { Random } from '../helpers/random.ts'
import { TestRequest } from '../helpers/test-device.ts'
import type { Spoken } from './client-stream.ts'
import { type Expectation, expectationOf } from './expectation.ts'
import { GoodClient } from './good-client.ts'
import { Image, touches } from './image.ts'
import { LateDevice } from './late-device.ts'
import type { NaiveExport, Settings } from './naive-handshake.ts'
import type { ExpectedAnswer } from './naive-transmission.ts'
import { DISK_BYTES } from './random-message.ts'
import { Verdict } from './verdict.ts'

const SECTORS_BYTES = 131_072
const SECTOR = 512
/** Of one connection that is at its limits, and of the good client. */
const MEMORY_BYTES_MAX = 160 << 20
const STEPS_MAX = 200_000

interface Heard {
  readonly plain: Buffer[]
  readonly secure: Buffer[]
}

export class Arena {
  readonly settings: Settings
  readonly #io = new FakeIo()
  readonly #soon: (() => void)[] = []
  readonly #server: Server
  readonly #disk = new LateDevice(DISK_BYTES, 1)
  readonly #sectors = new LateDevice(SECTORS_BYTES, SECTOR)
  readonly #image = new Image(DISK_BYTES)
  readonly #sectorsImage = new Image(SECTORS_BYTES)
  #good: GoodClient | null = null
  readonly #request = new TestRequest()
  #slabsAtRest = -1

  private constructor(tls: Settings['tls']) {
    const disks = [
      { name: 'd', description: '', device: this.#disk },
      { name: 'ro', description: 'nobody may write', device: new ReadOnlyDevice(this.#disk) },
      { name: 'sectors', description: '', device: this.#sectors },
    ]
    this.settings = { tls, exports: disks.map(({ device, ...entry }) => told(entry, device)) }
    const find = (name: string) => disks.find((entry) => entry.name === (name || 'd')) ?? null
    const exports = { find, list: () => disks }
    const context = {} as TlsContext
    const io = { ...this.#io.io, soon: (callback: () => void) => void this.#soon.push(callback) }
    this.#server = new Server({
      io,
      exports,
      ...(tls === 'off' ? {} : { tls: { mode: tls, context } }),
    })
  }

  /** @param isFaulty the disk changes a byte now and then */
  static async open(tls: Settings['tls'], isFaulty = false): Promise<Arena> {
    const arena = new Arena(tls)
    arena.#disk.isFaulty = isFaulty
    await arena.#server.listen({ kind: 'unix', path: 'fake' })
    arena.#good = new GoodClient(arena.#io.connect(), DISK_BYTES, tls === 'require')
    arena.#settleGood()
    return arena
  }

  /** Nothing of it stays. */
  close(): void {
    void this.#server.stop()
    this.#good?.leave()
    this.#turn()
  }

  /** @returns what was seen, as short words. Throws where something is wrong */
  run(spoken: Spoken, random: Random): string[] {
    const expected = expectationOf(this.settings, spoken)
    numberCookies(expected)
    const lateness = random.chance(0.2) ? random.next() : 0
    this.#setLateness(lateness, random)
    const heard: Heard = { plain: [], secure: [] }
    const isBroken = this.#converse(spoken, expected, random, heard)
    this.#setLateness(0, random)
    const verdict = new Verdict(expected, Buffer.concat(heard.plain), Buffer.concat(heard.secure))
    const isSectors = expected.agreed.export?.name === 'sectors'
    const [device, image] = isSectors
      ? [this.#sectors, this.#sectorsImage]
      : [this.#disk, this.#image]
    const seen = verdict.check(isBroken, lateness > 0, image)
    const answers = expected.transmission?.answers ?? []
    this.#compare(device, image, answers, isBroken, lateness > 0)
    this.#checkRest()
    return seen
  }

  /** @returns the connection was broken before its end */
  #converse(spoken: Spoken, expected: Expectation, random: Random, heard: Heard): boolean {
    const stream = this.#io.connect()
    stream.push(spoken.plain)
    const breakAt = random.chance(0.15) ? random.logarithmic(1, 300) : -1
    let secure: FakeStream | null = null
    let quiet = 0
    for (let steps = 0; quiet < 3; steps++) {
      assert(steps < STEPS_MAX, 'the conversation does not end')
      const current = secure ?? stream
      current.pieceBytes = random.chance(0.5) ? random.logarithmic(1, 5000) : Infinity
      current.isHolding = quiet === 0 && random.chance(0.2)
      if (steps === breakAt && !current.isClosed) {
        current.break()
        this.#settle(random)
        return true
      }
      const hadHeld = current.isHolding
      const isAlive = current.step()
      heard.plain.push(stream.take())
      if (secure !== null) heard.secure.push(secure.take())
      if (secure === null && stream.successor !== null) {
        secure = stream.successor
        secure.shakeHands(STRANGER)
        secure.push(spoken.secure)
      }
      if (random.chance(0.05)) this.#disturb(expected, random)
      quiet = this.#turn() || isAlive || hadHeld ? 0 : quiet + 1
    }
    this.#leave(
      secure ?? stream,
      expected.end,
      random,
      secure === null ? heard.plain : heard.secure,
    )
    return false
  }

  /** All was said: the connection stands as it should, and ends in good order. */
  #leave(stream: FakeStream, end: Expectation['end'], random: Random, heard: Buffer[]): void {
    if (end === 'closed') assert(stream.isClosed, 'the connection should be closed')
    else {
      assert(!stream.isClosed && !stream.isDestroyed, 'the connection should not be closed')
      assert.equal(stream.isFinished, end === 'finished', 'whether our direction has ended')
      stream.end()
      while (this.#turn() || stream.step());
      heard.push(stream.take())
      assert(stream.isFinished, 'the client has ended, we have not')
      stream.break(null)
    }
    this.#settle(random)
  }

  /** The good client does something; what it reads is known unless the stream changes it. */
  #disturb({ transmission, agreed }: Expectation, random: Random): void {
    const length = random.logarithmic(1, 8192)
    const offset = random.between(0, DISK_BYTES - length)
    const isOther = agreed.export?.name === 'sectors'
    const changes = isOther ? [] : (transmission?.answers ?? [])
    const isChanged = changes.some((answer) => touches(answer, offset, length))
    const present = this.#image.slice(offset, length)
    if (!isChanged && random.chance(0.3)) this.#good?.write(offset, present)
    else this.#good?.read(offset, length, isChanged ? null : present)
  }

  /** What must hold on the disk and, for the good client, over the wire. */
  #compare(
    device: LateDevice,
    image: Image,
    answers: readonly ExpectedAnswer[],
    isBroken: boolean,
    isLate: boolean,
  ): void {
    const present = this.#contents(device)
    const changes = answers.filter(({ data }) => data !== null)
    if (isBroken)
      assert(isPrefix(present, image, changes, isLate), 'a broken stream left wrong bytes')
    else for (const change of changes) image.apply(change)
    assert(present.equals(image.bytes), 'the disk holds wrong bytes')
  }

  #contents(device: LateDevice): Buffer {
    const request = this.#request
    assert.equal(request.start(device, 'read', 0, device.size), DONE)
    return Buffer.from(request.content)
  }

  #checkRest(): void {
    this.#settleGood()
    const { connections, requestsInFlight, memoryBytes, slabsInUse } = this.#server.statistics()
    assert.deepEqual([connections, requestsInFlight, memoryBytes], [1, 0, 0], 'something is left')
    if (this.#slabsAtRest < 0) this.#slabsAtRest = slabsInUse + 2
    assert(slabsInUse <= this.#slabsAtRest, `${slabsInUse} slabs in use`)
  }

  /** One round of everything but the hostile stream. @returns false: nothing happened */
  #turn(): boolean {
    const callbacks = this.#soon.splice(0)
    for (const callback of callbacks) callback()
    const isLate = this.#disk.finishSome() || this.#sectors.finishSome()
    assert(this.#server.statistics().memoryBytes <= MEMORY_BYTES_MAX, 'too much memory')
    return (this.#good?.step() ?? false) || callbacks.length > 0 || isLate
  }

  #settle(random: Random): void {
    this.#setLateness(0, random)
    for (let quiet = 0; quiet < 3;) quiet = this.#turn() ? 0 : quiet + 1
  }

  #settleGood(): void {
    this.#good?.read(0, 1, null)
    for (let steps = 0; this.#good?.outstanding !== 0; steps++) {
      assert(steps < 1000, 'the good client gets no answer')
      this.#turn()
    }
  }

  #setLateness(lateness: number, random: Random): void {
    for (const device of [this.#disk, this.#sectors]) {
      device.lateness = lateness
      device.random = random
    }
  }
}

/** The server looks at no cookie, so that each may be the number of its request. */
function numberCookies({ transmission, agreed }: Expectation): void {
  for (const [index, { position }] of (transmission?.answers ?? []).entries())
    agreed.rest.writeBigUInt64BE(BigInt(index), position + 8)
}

/**
 * What a broken stream may leave: its changes up to some point, in their order. Where requests
 * finish late, any of them; then the image follows the disk, which must be unchanged elsewhere.
 */
function isPrefix(
  present: Buffer,
  image: Image,
  changes: readonly ExpectedAnswer[],
  isLate: boolean,
): boolean {
  if (isLate) {
    for (const { offset, data } of changes) {
      const [from, to] = [Number(offset), Number(offset) + (data?.length ?? 0)]
      image.bytes.set(present.subarray(from, to), from)
    }
    return present.equals(image.bytes)
  }
  for (const change of changes) {
    if (present.equals(image.bytes)) return true
    image.apply(change)
  }
  return present.equals(image.bytes)
}

function told(
  entry: { readonly name: string; readonly description: string },
  { size, alignment, features }: LateDevice | ReadOnlyDevice,
): NaiveExport {
  return { ...entry, size, alignment, isReadOnly: features.readOnly }
}
