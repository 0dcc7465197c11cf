/**
 * One io_uring on Node's loop: takes operations, enters the kernel, tells completions.
 *
 *   start(user) ─▶ queue ─▶ entries ─▶ io_uring_enter ─▶ completions ─▶ user.completed()
 *                    ▲                     a turn                           │
 *                    └──────────────────────────────────────────────────────┘
 *
 * An eventfd in Node's loop says that there is something to tell; that begins a turn, as does work
 * queued elsewhere in the program. A turn goes round until nothing is left or its share of the loop
 * is used up; within it the eventfd is switched off. Invariant: who has been handed to the kernel
 * stays in its slot, with the memory lent, until its completion.
 */
import {
  CQ_EVENTFD_DISABLED,
  CQE_WORDS,
  Enter,
  SQ_CQ_OVERFLOW,
  SQ_TASKRUN,
  SQE_WORDS,
} from './uring-abi.ts'
import { Entry, type RingUser } from './uring-entry.ts'
import type { RingMemory } from './uring-setup.ts'
import { Slots } from './uring-slots.ts'
import type { LoopHandle, RingCalls } from './ring-calls.ts'

const EINTR = 4
const EAGAIN = 11
const EBUSY = 16

/** A turn ends after so many rounds, or so much time, to let timers and Node's sockets in. */
const TURN_ROUNDS_MAX = 32
const TURN_MS_MAX = 2

/** So many entries that should begin soon are worth a system call of their own. */
const EARLY_COUNT = 4

/**
 * The kernel says that it has work, then looks whether to signal it; we switch signals on, then
 * look whether it has work. Only x86 keeps that order without a barrier in the kernel: elsewhere
 * we look from inside the kernel.
 */
const MUST_LOOK_AGAIN = process.arch !== 'x64'

export class Ring {
  readonly #calls: RingCalls
  readonly #memory: RingMemory
  readonly #rings: Int32Array
  readonly #entry: Entry
  readonly #handle: LoopHandle
  #sqTail: number
  #cqHead: number
  /** Operations the kernel has not seen; those before `#queueStart` it has. */
  readonly #queue: RingUser[] = []
  #queueStart = 0
  readonly #slots = new Slots()
  #soon: (() => void)[] = []
  /** The other array: the callbacks of the round that is going on. */
  #soonNow: (() => void)[] = []
  #isTurning = false
  #isArmed = false
  #isReferenced = true
  readonly #onArmed = (): void => {
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
    this.#handle = calls.watch(memory.eventFd, this.#onReadable)
    this.#updateReference()
  }

  /** Hands an operation to the kernel at the end of the batch. */
  start(user: RingUser): void {
    this.#queue.push(user)
    if (!this.#isTurning) this.#arm()
  }

  /**
   * As `start`, for what a disk should begin soon: every few of these are handed to the kernel
   * while the batch goes on. Measured with O_DIRECT at depth 32: a sixth more, for a disk idled
   * while the rest of a batch was parsed.
   */
  startEarly(user: RingUser): void {
    this.start(user)
    if (this.#queue.length - this.#queueStart < EARLY_COUNT) return
    // What the kernel does not take now a turn hands to it again.
    this.#calls.enter(this.#memory.fd, this.#fill(), 0)
  }

  /** Calls back once from the ring's turn: soon, never from inside this call. */
  soon(callback: () => void): void {
    this.#soon.push(callback)
    if (!this.#isTurning) this.#arm()
  }

  /** @returns the name of an operation under way, as the kernel knows it, or -1 */
  nameOf(user: RingUser): number {
    const slot = this.#slots.find(user)
    return slot < 0 ? -1 : this.#slots.generationOf(slot) * 4294967296 + slot
  }

  /** After what Node is doing now: by then the batch is complete. */
  #arm(): void {
    if (this.#isArmed) return
    this.#isArmed = true
    process.nextTick(this.#onArmed)
  }

  /** Node's loop goes round first: what is left was more than our share. */
  #armLater(): void {
    if (this.#isArmed) return
    this.#isArmed = true
    setImmediate(this.#onArmed)
  }

  #turn(): void {
    if (this.#isTurning) return
    const { cqFlags } = this.#memory
    this.#isTurning = true
    Atomics.store(this.#rings, cqFlags, CQ_EVENTFD_DISABLED)
    try {
      this.#goRound()
    } finally {
      this.#isTurning = false
      Atomics.store(this.#rings, cqFlags, 0)
      if (MUST_LOOK_AGAIN) this.#calls.enter(this.#memory.fd, 0, Enter.GETEVENTS)
      // What the kernel has to tell from here on is signalled.
      if (this.#hasWork) this.#armLater()
      this.#updateReference()
    }
  }

  #goRound(): void {
    const end = performance.now() + TURN_MS_MAX
    for (let round = 0; round < TURN_ROUNDS_MAX; round++) {
      if (this.#soon.length > 0) this.#callSoon()
      if (!this.#enter(this.#fill())) return
      this.#tell()
      if (!this.#hasWork || performance.now() > end) return
    }
  }

  get #hasWork(): boolean {
    if (this.#soon.length > 0 || this.#queue.length > this.#queueStart) return true
    const { sqFlags, sqHead, cqTail } = this.#memory
    if (Atomics.load(this.#rings, cqTail) !== this.#cqHead) return true
    if (Atomics.load(this.#rings, sqHead) !== this.#sqTail) return true
    return (Atomics.load(this.#rings, sqFlags) & (SQ_TASKRUN | SQ_CQ_OVERFLOW)) !== 0
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
    const { sqEntries, sqHead, sqTail } = this.#memory
    const queue = this.#queue
    const entry = this.#entry
    const head = Atomics.load(this.#rings, sqHead)
    let tail = this.#sqTail
    while (this.#queueStart < queue.length && ((tail - head) | 0) < sqEntries) {
      const user = queue[this.#queueStart++]
      entry.at = (tail & (sqEntries - 1)) * SQE_WORDS
      user.prepare(entry)
      const slot = this.#slots.take(user)
      entry.setName(slot, this.#slots.generationOf(slot))
      tail = (tail + 1) | 0
    }
    if (this.#queueStart === queue.length) this.#queueStart = queue.length = 0
    this.#sqTail = tail
    Atomics.store(this.#rings, sqTail, tail)
    return (tail - head) | 0
  }

  /** @returns false: the kernel can take nothing now, another turn will try */
  #enter(submit: number): boolean {
    const result = this.#calls.enter(this.#memory.fd, submit, Enter.GETEVENTS)
    if (result >= 0 || result === -EINTR) return true
    if (result !== -EAGAIN && result !== -EBUSY) {
      throw new Error(`io_uring_enter fails with errno ${-result}`)
    }
    // Out of memory, or of room for completions: those at hand are told, then it is tried again.
    this.#tell()
    return false
  }

  #tell(): void {
    const rings = this.#rings
    const { cqTail, cqHead, cqes, cqEntries } = this.#memory
    const tail = Atomics.load(rings, cqTail)
    while (this.#cqHead !== tail) {
      const at = cqes + (this.#cqHead & (cqEntries - 1)) * CQE_WORDS
      const user = this.#slots.give(rings[at], rings[at + 1])
      const result = rings[at + 2]
      this.#cqHead = (this.#cqHead + 1) | 0
      // Before the call: an exception must not make it come twice.
      Atomics.store(rings, cqHead, this.#cqHead)
      user.completed(result)
    }
  }

  /** The process lives as long as something is under way. */
  #updateReference(): void {
    const isBusy = this.#slots.count > 0 || this.#queue.length > 0
    if (isBusy === this.#isReferenced) return
    this.#isReferenced = isBusy
    if (isBusy) this.#handle.ref()
    else this.#handle.unref()
  }
}
