/**
 * One io_uring on Node's loop: takes operations, enters the kernel, tells completions.
 *
 *   start(user) ─▶ queue ─▶ entries ─▶ io_uring_enter ─▶ completions ─▶ user.completed()
 *                    ▲                     a turn                           │
 *                    └──────────────────────────────────────────────────────┘
 *
 * An eventfd in Node's loop says that there is something to tell; that begins a turn, as does work
 * queued elsewhere in the program. A turn goes round until nothing is left or its share of the loop
 * is used up; within it the eventfd is switched off. Invariant: a user is referenced from its slot until its last completion, and
 * with it the memory that was lent to the kernel.
 */
import {
  Completed,
  CQ_EVENTFD_DISABLED,
  CQE_WORDS,
  Enter,
  SQ_TASKRUN,
  SQE_WORDS,
} from './uring-abi.ts'
import type { RingMemory } from './uring-setup.ts'
import type { LoopHandle, RingCalls } from './syscalls.ts'

/** One operation on the ring: at most one under way at a time, reusable when it is completed. */
export interface RingUser {
  /** Most likely completed when the kernel has taken it, as a send is. */
  readonly isPrompt: boolean
  /** Describes the operation to the kernel with one call of `entry.set`. */
  prepare(entry: Entry): void
  /** @param result of the kernel: >= 0, or -errno */
  completed(result: number): void
}

const EINTR = 4
const EAGAIN = 11
const EBUSY = 16
const ETIME = 62

/** A turn ends after so many rounds, or so much time, to let timers and Node's sockets in. */
const TURN_ROUNDS_MAX = 16
const TURN_MS_MAX = 2

/** How long a turn that has sent something waits for what the peers say to it. */
const WAIT_NS = 100_000
/** After waits in vain so many chances at most are let go by. */
const SKIPPED_WAITS_MAX = 64
/** To try again when the kernel has no memory for us. */
const RETRY_MS = 5

/** Position of the time limit behind `io_uring_getevents_arg`, in words. */
const LIMIT_WORD = 8
const ARGUMENT_BYTES = 24

/** The place of one entry in the submission ring. */
export class Entry {
  readonly #words: Int32Array
  at = 0

  constructor(words: Int32Array) {
    this.#words = words
  }

  /** @param rest the operation's own flags, last in `io_uring_sqe` */
  set(
    opcode: number,
    fd: number,
    address: number,
    length: number,
    offset: number,
    rest: number,
    ioprio = 0,
  ): void {
    const words = this.#words
    const at = this.at
    words[at] = opcode | (ioprio << 16)
    words[at + 1] = fd
    words[at + 2] = (offset % 4294967296) | 0
    words[at + 3] = offset / 4294967296
    words[at + 4] = (address % 4294967296) | 0
    words[at + 5] = address / 4294967296
    words[at + 6] = length
    words[at + 7] = rest
  }
}

export class Ring {
  readonly #calls: RingCalls
  readonly #memory: RingMemory
  readonly #rings: Int32Array
  readonly #entry: Entry
  readonly #argument: number
  readonly #argumentMemory = new Int32Array(new ArrayBuffer(64))
  readonly #handle: LoopHandle
  #sqTail: number
  #cqHead: number
  /** Operations the kernel has not seen; those before `#queueStart` it has. */
  readonly #queue: RingUser[] = []
  #queueStart = 0
  readonly #users: (RingUser | null)[] = []
  readonly #generations: number[] = []
  readonly #freeSlots: number[] = []
  #inFlight = 0
  #soon: (() => void)[] = []
  #soonNow: (() => void)[] = []
  #isTurning = false
  #isArmed = false
  #isReferenced = true
  /** Somebody's promise may have been kept: it goes on when Node has the loop again. */
  #mustReturn = false
  #promptCount = 0
  #waitsToSkip = 0
  #skipNext = 1
  readonly #onTick = (): void => {
    this.#isArmed = false
    this.#turn()
  }
  readonly #onReadable = (): void => {
    this.#calls.clearEvent(this.#memory.eventFd)
    this.#turn()
  }

  constructor(calls: RingCalls, memory: RingMemory) {
    this.#calls = calls
    this.#memory = memory
    this.#rings = memory.rings
    this.#entry = new Entry(memory.entries)
    this.#sqTail = memory.rings[memory.sqTail]
    this.#cqHead = memory.rings[memory.cqHead]
    this.#argument = calls.addressOf(this.#argumentMemory)
    const limit = this.#argument + LIMIT_WORD * 4
    this.#argumentMemory[4] = (limit % 4294967296) | 0
    this.#argumentMemory[5] = limit / 4294967296
    this.#argumentMemory[LIMIT_WORD + 2] = WAIT_NS
    this.#handle = calls.watch(memory.eventFd, this.#onReadable)
    this.#updateReference()
  }

  /** Operations whose completion is not told yet. */
  get inFlight(): number {
    return this.#inFlight + this.#queue.length - this.#queueStart
  }

  /** Hands an operation to the kernel at the end of the batch. */
  start(user: RingUser): void {
    this.#queue.push(user)
    if (!this.#isTurning) this.#arm()
  }

  /** Calls back from the ring's turn: after the calls now under way, before waiting. */
  soon(callback: () => void): void {
    this.#soon.push(callback)
    if (!this.#isTurning) this.#arm()
  }

  /** The turn ends with this round: a promise may have been kept. */
  returnToLoop(): void {
    this.#mustReturn = true
  }

  /** @returns the two words that name a running operation of this user, or null */
  nameOf(user: RingUser): readonly [number, number] | null {
    const slot = this.#users.indexOf(user)
    return slot < 0 ? null : [slot, this.#generations[slot]]
  }

  #arm(): void {
    if (this.#isArmed) return
    this.#isArmed = true
    process.nextTick(this.#onTick)
  }

  #turn(): void {
    if (this.#isTurning) return
    this.#isTurning = true
    this.#mustReturn = false
    Atomics.store(this.#rings, this.#memory.cqFlags, CQ_EVENTFD_DISABLED)
    try {
      this.#rounds()
    } finally {
      this.#isTurning = false
      Atomics.store(this.#rings, this.#memory.cqFlags, 0)
      if (this.#hasWork) this.#armLater()
      this.#updateReference()
    }
  }

  /** To be asked after the eventfd is switched on again: what comes later is signalled. */
  get #hasWork(): boolean {
    if (this.#soon.length > 0 || this.#queue.length > this.#queueStart) return true
    const { sqFlags, cqTail } = this.#memory
    if ((Atomics.load(this.#rings, sqFlags) & SQ_TASKRUN) !== 0) return true
    return Atomics.load(this.#rings, cqTail) !== this.#cqHead
  }

  #rounds(): void {
    const end = performance.now() + TURN_MS_MAX
    for (let round = 0; round < TURN_ROUNDS_MAX; round++) {
      if (this.#soon.length > 0) this.#callSoon()
      const filled = this.#fill()
      if (filled === 0 && round > 0) return
      const told = this.#enter(filled)
      if (told < 0) return
      const isIdle = this.#soon.length === 0 && this.#queue.length === this.#queueStart
      if (isIdle && told === 0) return
      if (performance.now() > end) return
    }
  }

  /** Lets Node have a round of its loop first: what is left was more than our share. */
  #armLater(): void {
    if (this.#isArmed) return
    this.#isArmed = true
    setImmediate(this.#onTick)
  }

  #callSoon(): void {
    const callbacks = this.#soon
    this.#soon = this.#soonNow
    this.#soonNow = callbacks
    for (const callback of callbacks) callback()
    callbacks.length = 0
  }

  /** @returns how many entries wait for the kernel */
  #fill(): number {
    const { sqEntries, sqHead, entries } = this.#memory
    const queue = this.#queue
    const head = Atomics.load(this.#rings, sqHead)
    const mask = sqEntries - 1
    const entry = this.#entry
    let tail = this.#sqTail
    while (this.#queueStart < queue.length && ((tail - head) | 0) < sqEntries) {
      const user = queue[this.#queueStart++]
      const at = (tail & mask) * SQE_WORDS
      entry.at = at
      user.prepare(entry)
      const slot = this.#takeSlot(user)
      entries[at + 8] = slot
      entries[at + 9] = this.#generations[slot]
      entries[at + 10] = 0
      entries[at + 11] = 0
      entries[at + 12] = 0
      entries[at + 13] = 0
      if (user.isPrompt) this.#promptCount++
      tail = (tail + 1) | 0
    }
    if (this.#queueStart === queue.length) this.#queueStart = queue.length = 0
    this.#sqTail = tail
    Atomics.store(this.#rings, this.#memory.sqTail, tail)
    return (tail - head) | 0
  }

  #takeSlot(user: RingUser): number {
    this.#inFlight++
    const slot = this.#freeSlots.pop()
    if (slot !== undefined) {
      this.#users[slot] = user
      return slot
    }
    this.#generations.push(0)
    return this.#users.push(user) - 1
  }

  /** Enters the kernel and tells what is completed. @returns how many, or -1 to give up the turn */
  #enter(submit: number): number {
    const prompt = this.#promptCount
    this.#promptCount = 0
    const wait = prompt > 0 && this.#mayWait() ? prompt + 1 : 0
    const { fd } = this.#memory
    const flags = wait > 0 ? Enter.GETEVENTS | Enter.EXT_ARG : Enter.GETEVENTS
    const argument = wait > 0 ? this.#argument : 0
    const bytes = wait > 0 ? ARGUMENT_BYTES : 0
    const result = this.#calls.enter(fd, submit, wait, flags, argument, bytes)
    const told = this.#reap()
    if (wait > 0) this.#judgeWait(told >= wait)
    // ETIME and EINTR come from waiting; EAGAIN and EBUSY want room first.
    if (result === -EAGAIN || result === -EBUSY) {
      if (told > 0) return told
      setTimeout(this.#onReadable, RETRY_MS)
      return -1
    }
    if (result < 0 && result !== -EINTR && result !== -ETIME) {
      throw new Error(`io_uring_enter fails with errno ${-result}`)
    }
    return told
  }

  #mayWait(): boolean {
    if (!this.#memory.hasTimeouts || this.#mustReturn) return false
    if (this.#waitsToSkip === 0) return true
    this.#waitsToSkip--
    return false
  }

  #judgeWait(isWorthwhile: boolean): void {
    if (isWorthwhile) {
      this.#skipNext = 1
    } else {
      this.#waitsToSkip = this.#skipNext
      this.#skipNext = Math.min(2 * this.#skipNext, SKIPPED_WAITS_MAX)
    }
  }

  #reap(): number {
    const rings = this.#rings
    const { cqTail, cqHead, cqes, cqEntries } = this.#memory
    const mask = cqEntries - 1
    const tail = Atomics.load(rings, cqTail)
    let told = 0
    while (this.#cqHead !== tail) {
      const at = cqes + (this.#cqHead & mask) * CQE_WORDS
      this.#cqHead = (this.#cqHead + 1) | 0
      const slot = rings[at]
      const result = rings[at + 2]
      const user = this.#users[slot]
      if (user === null || user === undefined || this.#generations[slot] !== rings[at + 1]) {
        throw new Error(`io_uring completed what was not started: ${slot}`)
      }
      if ((rings[at + 3] & Completed.MORE) === 0) this.#freeSlot(slot)
      // Before the call: an exception must not make it come twice.
      Atomics.store(rings, cqHead, this.#cqHead)
      told++
      user.completed(result)
    }
    return told
  }

  #freeSlot(slot: number): void {
    this.#users[slot] = null
    this.#generations[slot] = (this.#generations[slot] + 1) & 0x3fffffff
    this.#freeSlots.push(slot)
    this.#inFlight--
  }

  /** The process lives as long as something is under way. */
  #updateReference(): void {
    const isBusy = this.inFlight > 0
    if (isBusy === this.#isReferenced) return
    this.#isReferenced = isBusy
    if (isBusy) this.#handle.ref()
    else this.#handle.unref()
  }
}
