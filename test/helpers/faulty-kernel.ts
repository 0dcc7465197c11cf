/**
 * Both engines' files on a kernel that misbehaves as real ones may: transfers come up short, are
 * interrupted, refused for the moment (EAGAIN), fail (EIO, ENOSPC), and what is not done at once
 * ends late and in random order. Faults strike below the engines, so that what an engine has to
 * make good is made good by it, and what it has to report is reported.
 */
import fs from 'node:fs'
import type { Files } from '../../io/io.ts'
import { NodeFiles } from '../../io/node-files.ts'
import { loadRingCalls } from '../../io/ring-calls.ts'
import { loadFfi, SystemCalls } from '../../io/syscalls.ts'
import { Opcode } from '../../io/uring-abi.ts'
import type { Entry, RingUser } from '../../io/uring-entry.ts'
import { UringFiles } from '../../io/uring-files.ts'
import { Ring } from '../../io/uring-ring.ts'
import { setUpRing } from '../../io/uring-setup.ts'
import type { Random } from './random.ts'

const [EINTR, EIO, EAGAIN, ENOSPC] = [4, 5, 11, 28]
const TURNS_LATE_MAX = 4
/** Transfers past the page cache end at a block, if not at their end. */
const BLOCK = 4096

type Koffi = ConstructorParameters<typeof SystemCalls>[0]
type Func = ((...args: number[]) => number) & { async: (...args: unknown[]) => void }
type Callback = (error: Error | null, count: number) => void

export class FaultyKernel {
  /** Nothing goes wrong while this is false; late completions stay late. */
  isFaulty = false
  /** What went wrong so far, by kind. */
  readonly struck = new Map<string, number>()
  readonly #random: Random
  readonly #late: (() => void)[] = []
  #isArmed = false

  constructor(random: Random) {
    this.#random = random
  }

  /** @returns the files of an engine on this kernel, or in words why there are none here */
  files(engine: 'node' | 'uring'): Files | string {
    const koffi = this.#koffi()
    if (typeof koffi === 'string') return koffi
    const calls = new SystemCalls(koffi)
    if (engine === 'node') return new NodeFiles(calls)
    const ringCalls = loadRingCalls()
    if (typeof ringCalls === 'string') return ringCalls
    const memory = setUpRing(ringCalls)
    if (typeof memory === 'string') return memory
    const { hasTruncate } = memory
    return new UringFiles(new FaultyRing(ringCalls, memory, this), calls, { hasTruncate })
  }

  /** Lets Node's own reads and writes, on threads, fail too. @returns undoes it */
  seizeThreads(): () => void {
    const { read, write } = fs
    const seize = (name: 'read' | 'write', real: unknown): void => {
      const start = real as (...args: unknown[]) => void
      Reflect.set(fs, name, (...args: unknown[]) => {
        const done = args.at(-1) as Callback
        const errno = this.chance(0.03) ? this.#error(name) : 0
        if (errno > 0) return this.later(() => done(systemError(errno), 0))
        const length = args[3] as number
        args[3] = this.shorter(length)
        args[args.length - 1] = (error: Error | null, count: number) =>
          this.later(() => done(error, count))
        start(...args)
      })
    }
    seize('read', read)
    seize('write', write)
    return () => {
      Reflect.set(fs, 'read', read)
      Reflect.set(fs, 'write', write)
    }
  }

  chance(probability: number): boolean {
    return this.isFaulty && this.#random.chance(probability)
  }

  /** @returns `bytes`, or a part of it */
  shorter(bytes: number): number {
    if (bytes <= BLOCK || !this.chance(0.2)) return bytes
    this.#note('short')
    return BLOCK * this.#random.between(1, Math.ceil(bytes / BLOCK) - 1)
  }

  /** @returns what the kernel answers instead of `result`, which it has carried out */
  ringResult(opcode: number, result: number): number {
    const isTransfer = opcode === Opcode.READ || opcode === Opcode.WRITE
    if (this.chance(0.05)) return -this.#noted(this.#random.pick([EINTR, EAGAIN]))
    if (isTransfer && this.chance(0.03)) return -this.#error(opcode === Opcode.READ ? 'read' : '')
    return result
  }

  /** Calls back some turns later, not in the order of the calls. */
  later(callback: () => void): void {
    const turns = this.#random.between(0, TURNS_LATE_MAX)
    for (let turn = 0; turn < turns; turn++) this.#late.push(() => {})
    this.#late.splice(this.#random.between(0, this.#late.length), 0, callback)
    if (this.#isArmed) return
    this.#isArmed = true
    setImmediate(this.#runLate)
  }

  readonly #runLate = (): void => {
    const callback = this.#late.shift()
    this.#isArmed = this.#late.length > 0
    if (this.#isArmed) setImmediate(this.#runLate)
    callback?.()
  }

  #error(name: string): number {
    return this.#noted(name === 'read' ? EIO : this.#random.pick([EIO, ENOSPC]))
  }

  #noted(errno: number): number {
    this.#note(String(errno))
    return errno
  }

  #note(kind: string): void {
    this.struck.set(kind, (this.struck.get(kind) ?? 0) + 1)
  }

  /** The FFI, with what it calls struck by faults. */
  #koffi(): Koffi | string {
    const koffi = loadFfi()
    if (typeof koffi === 'string') return koffi
    let injected = 0
    const fail = (errno: number): number => {
      injected = this.#noted(errno)
      return -1
    }
    const faulty: Record<string, (real: Func) => (...args: number[]) => number> = {
      preadv2: (real) => (fd, vector, count, at, flags) => {
        if (this.chance(0.3)) return fail(EAGAIN)
        if (this.chance(0.02)) return fail(EIO)
        const result = real(fd, vector, count, at, flags)
        return result > 0 ? this.shorter(result) : result
      },
      pwritev: (real) => (fd, vector, count, at) => {
        if (this.chance(0.05)) return fail(EINTR)
        if (this.chance(0.03)) return fail(this.#error(''))
        const result = real(fd, vector, count, at)
        return result > 0 ? this.shorter(result) : result
      },
      pwrite: (real) => (fd, data, count, at) => {
        if (this.chance(0.05)) return fail(EINTR)
        if (this.chance(0.03)) return fail(this.#error(''))
        return real(fd, data, this.shorter(count), at)
      },
    }
    const func = (real: (signature: string) => Func) => (signature: string) => {
      const original = real(signature)
      const wrap = faulty[/(\w+)\(/.exec(signature)?.[1] ?? '']
      if (wrap === undefined) return original
      return Object.assign(wrap(original), { async: original.async })
    }
    return {
      ...koffi,
      load: (name: string) => {
        const library = koffi.load(name)
        return { func: func((signature) => library.func(signature) as unknown as Func) }
      },
      errno: () => {
        const errno = injected === 0 ? koffi.errno() : injected
        injected = 0
        return errno
      },
    } as unknown as Koffi
  }
}

class FaultyRing extends Ring {
  readonly #kernel: FaultyKernel

  constructor(
    calls: ConstructorParameters<typeof Ring>[0],
    memory: ConstructorParameters<typeof Ring>[1],
    kernel: FaultyKernel,
  ) {
    super(calls, memory)
    this.#kernel = kernel
  }

  override start(user: RingUser): void {
    super.start(new FaultyUser(user, this.#kernel))
  }
}

/** Stands between an operation and the ring. */
class FaultyUser implements RingUser {
  readonly #user: RingUser
  readonly #kernel: FaultyKernel
  #opcode = 0

  constructor(user: RingUser, kernel: FaultyKernel) {
    this.#user = user
    this.#kernel = kernel
  }

  prepare(entry: Entry): void {
    this.#user.prepare({
      set: (...fields: Parameters<Entry['set']>) => {
        this.#opcode = fields[0]
        const isTransfer = this.#opcode === Opcode.READ || this.#opcode === Opcode.WRITE
        if (isTransfer) fields[3] = this.#kernel.shorter(fields[3])
        entry.set(...fields)
      },
    } as unknown as Entry)
  }

  completed(result: number): void {
    // A failed sync is final: what comes after it has tests of its own.
    const isSync = this.#opcode === Opcode.FSYNC
    const told = isSync ? result : this.#kernel.ringResult(this.#opcode, result)
    this.#kernel.later(() => this.#user.completed(told))
  }
}

function systemError(errno: number): Error {
  return Object.assign(new Error(`errno ${errno}`), { errno: -errno })
}
