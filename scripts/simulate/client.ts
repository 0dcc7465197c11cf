/** A client on its connection: sends requests, and holds the answers to what the model allows. */
import { Command, MemoryClient } from '../../test/helpers/memory-session.ts'
import type { FakeStream } from '../../test/helpers/fake-stream.ts'
import type { Answer } from '../../test/helpers/reply-checker.ts'
import type { Style } from '../../test/helpers/wire-style.ts'
import { contentsOf } from './contents.ts'
import { BrokenPromise, type DiskModel, type Reading } from './disk-model.ts'
import type { Verb } from './plan.ts'
import { type Change, SECTOR } from './sector.ts'

const FUA = 1
const ENOTSUP = 95
const EXTENT_ZERO = 2

/** Changes of one sector that may be under way at once. */
const CROWD_MAX = 3

export interface Judge {
  readonly model: DiskModel
  /** A fault has struck since the disk was opened: requests may fail. */
  readonly mayFail: () => boolean
  /** The server has been told to stop: it answers only what it has received. */
  readonly isStopping: () => boolean
  /** A number for a change, and what it is for the trace. */
  readonly nextNumber: () => number
  readonly note: (words: string) => void
  /** Nobody will ever answer these. */
  readonly orphaned: (changes: readonly Change[]) => void
  /** Something was promised to be durable. */
  readonly promised: () => void
}

interface Outstanding {
  readonly change: Change | null
  readonly reading: Reading | null
  readonly flags: number
  readonly sentAt: number
  /** Flushes sent before it; -1: one of them was not answered yet. */
  readonly epoch: number
}

export class SimulatedClient {
  readonly number: number
  readonly #judge: Judge
  readonly #client: MemoryClient
  readonly #isSimple: boolean
  readonly #outstanding = new Map<bigint, Outstanding>()
  /** Since the last flush a change was sent and answered: the server knows that, too. */
  #isDirty = false
  /** Reads after which it flushes. */
  readonly #looks = new Set<Reading>()
  #flushesSent = 0
  #flushesOpen = 0
  /** When it took its leave, or -1. */
  #leftAt = -1
  #isOver = false

  constructor(number: number, stream: FakeStream, style: Style, judge: Judge) {
    this.number = number
    this.#judge = judge
    this.#isSimple = style === 'simple'
    const contexts = this.#isSimple ? [] : ['base:allocation']
    this.#client = new MemoryClient(stream, judge.model.size, style, contexts)
    this.#client.handshake()
    judge.note(`connection ${number}: ${style} replies`)
  }

  get isAttached(): boolean {
    return this.#client.isAttached
  }

  get outstandingCount(): number {
    return this.#outstanding.size
  }

  /** It may send no more. */
  get isLeaving(): boolean {
    return this.#leftAt >= 0 || this.#isOver
  }

  get isOver(): boolean {
    return this.#isOver
  }

  /** @returns false: it was left out, for too much is under way there */
  send(verb: Verb, offset: number, length: number, flags: number): boolean {
    const { model } = this.#judge
    const epoch = this.#flushesOpen === 0 ? this.#flushesSent : -1
    if (verb === 'status' && this.#isSimple) return false
    if (verb === 'read' || verb === 'status') {
      this.#read(verb, offset, length)
      return true
    }
    if (model.crowd(offset, length) >= CROWD_MAX) return false
    const number = this.#judge.nextNumber()
    const data = verb === 'write' ? contentsOf(number, offset, length) : null
    const sentAt = ++model.time
    const change = { number, connection: this.number, offset, length, data, sentAt }
    const command = verb === 'trim' ? Command.TRIM : Command.WRITE_ZEROES
    const cookie =
      data === null
        ? this.#client.send({ command, offset, length, flags })
        : this.#client.write(offset, data, flags)
    model.begin(change)
    this.#outstanding.set(cookie, { change, reading: null, flags, sentAt, epoch })
    return true
  }

  #read(verb: 'read' | 'status', offset: number, length: number): Reading {
    const { model } = this.#judge
    const command = verb === 'read' ? Command.READ : Command.BLOCK_STATUS
    const cookie = this.#client.send({ command, offset, length })
    const reading = model.beginRead(offset, length)
    const all = { change: null, reading, flags: 0, sentAt: model.time, epoch: -1 }
    this.#outstanding.set(cookie, all)
    return reading
  }

  flush(): void {
    const cookie = this.#client.send({ command: Command.FLUSH })
    const sentAt = ++this.#judge.model.time
    this.#outstanding.set(cookie, { change: null, reading: null, flags: 0, sentAt, epoch: -1 })
    this.#isDirty = false
    this.#flushesSent++
    this.#flushesOpen++
  }

  leave(how: 'say' | 'end' | 'break'): void {
    this.#leftAt = this.#judge.model.time
    if (how === 'say') this.#client.send({ command: Command.DISC })
    else if (how === 'end') this.#client.stream.end()
    else {
      this.#client.stream.break()
      this.#end()
    }
  }

  /** One event of its connection. */
  step(): boolean {
    if (this.#isOver) return false
    const { stream } = this.#client
    const progress = this.#client.step()
    for (const answer of this.#client.answers.splice(0)) this.#take(answer)
    if (stream.isDestroyed && !stream.isFinished) {
      throw new BrokenPromise(`connection ${this.number}: the server cuts the connection`)
    }
    if (stream.isFinished && !stream.isClosed && stream.sendingBytes === 0) {
      this.#checkLeave()
      stream.break(null)
    }
    if (stream.isClosed) this.#end()
    return progress
  }

  #take(answer: Answer): void {
    const { cookie } = answer.request
    const outstanding = this.#outstanding.get(cookie)
    this.#outstanding.delete(cookie)
    if (outstanding === undefined) throw new BrokenPromise(`an answer to nothing: ${cookie}`)
    const { change, reading, flags, epoch } = outstanding
    if (answer.error !== 0) this.#checkError(answer, flags)
    if (change !== null) this.#changeAnswered(change, flags, answer.error, epoch)
    else if (reading !== null) this.#readAnswered(reading, answer)
    else {
      this.#flushesOpen--
      this.#judge.note(`connection ${this.number}: the flush is answered, ${answer.error}`)
      if (answer.error !== 0) return
      this.#judge.model.flushed(outstanding.sentAt)
      this.#judge.promised()
    }
  }

  #checkError({ error, request }: Answer, flags: number): void {
    const isRefusal = error === ENOTSUP && (flags & 16) !== 0
    if (isRefusal || this.#judge.mayFail()) return
    const { command, offset, length } = request
    const what = `command ${command} at ${offset}+${length}`
    throw new BrokenPromise(`connection ${this.number}: ${what} fails with ${error} for no reason`)
  }

  #changeAnswered(change: Change, flags: number, error: number, epoch: number): void {
    const { model, note } = this.#judge
    const result = error === 0 ? 'answered' : `answered with error ${error}`
    note(`connection ${this.number}: change ${change.number} is ${result}`)
    if (error !== 0) {
      model.fail(change, error === ENOTSUP)
      return this.#lookAt(change)
    }
    model.succeed(change, (flags & FUA) !== 0)
    if (model.promises.through || (flags & FUA) !== 0) this.#judge.promised()
    if (epoch === this.#flushesSent) this.#isDirty = true
  }

  /** After an error: whoever reads what there is, and flushes, may rely on it. */
  #lookAt({ offset, length }: Change): void {
    if (this.isLeaving) return
    const start = offset - (offset % SECTOR)
    const end = Math.ceil((offset + length) / SECTOR) * SECTOR
    this.#looks.add(this.#read('read', start, end - start))
  }

  #readAnswered(reading: Reading, answer: Answer): void {
    const { model, note } = this.#judge
    note(`connection ${this.number}: ${reading.offset}+${reading.length} is read, ${answer.error}`)
    const isRead = answer.request.command === Command.READ
    model.endRead(reading, isRead && answer.error === 0 ? answer.data : null)
    if (this.#looks.delete(reading) && answer.error === 0 && !this.isLeaving) this.flush()
    let at = reading.offset
    for (const { length, flags } of [...answer.extents.values()].flat()) {
      const end = Math.min(at + length, reading.offset + reading.length)
      if ((flags & EXTENT_ZERO) !== 0) model.checkZeros(reading, at, end - at)
      at = end
    }
  }

  /** The server has said all it has to say, and has flushed what this connection had changed. */
  #checkLeave(): void {
    const { isStopping, mayFail, model } = this.#judge
    if (this.#leftAt < 0 || mayFail()) return
    if (this.#outstanding.size > 0 && !isStopping()) {
      throw new BrokenPromise(`connection ${this.number}: ${this.#outstanding.size} never answered`)
    }
    if (this.#isDirty) model.flushed(this.#leftAt)
  }

  #end(): void {
    this.#isOver = true
    const left = [...this.#outstanding.values()]
    this.#outstanding.clear()
    for (const { reading } of left) if (reading !== null) this.#judge.model.endRead(reading, null)
    this.#judge.orphaned(left.flatMap(({ change }) => (change === null ? [] : [change])))
  }
}
