/**
 * `Files` that watch what they are asked, over the real ones:
 *
 *   log      every call, as `write chunk3 0+4096`, `rename .tmp-chunk3 chunk3`, `sync chunk3`
 *   fault    decides for each call whether it fails, and with which errno
 *   hold     makes calls wait until the test releases them
 *   late     data operations are carried out and completed some turns later, in random order
 */
import fs from 'node:fs'
import os from 'node:os'
import path from 'node:path'
import {
  type DirectoryAbilities,
  FileOperation,
  type FileStatus,
  type Files,
  type LockKind,
  type MachineIdentity,
  type SeekKind,
} from '../../io/io.ts'
import type { Random } from './random.ts'

type Start = (operation: FileOperation) => boolean

const { O_CREAT } = fs.constants
const TURNS_LATE_MAX = 4
const NO_ERROR = (): number => 0

export class TestFiles implements Files {
  readonly log: string[] = []
  /** @returns 0, or the errno the call fails with instead of being carried out */
  fault: (call: string) => number = NO_ERROR
  late: Random | null = null
  /** False: syncs take a turn but do nothing, for tests that do not care. */
  syncs = true
  /** What `abilities` finds, where it is not asked of the directory. */
  fixedAbilities: Partial<DirectoryAbilities> = {}
  /** Open descriptors, and the names they were opened by. */
  readonly openNames = new Map<number, string>()
  readonly #real: Files
  readonly #holds: Hold[] = []

  constructor(real: Files) {
    this.#real = real
  }

  /** Waits until a call that matches has been made. */
  async made(pattern: RegExp): Promise<void> {
    while (!this.log.some((call) => pattern.test(call))) {
      await new Promise((go) => setImmediate(go))
    }
  }

  /** The calls since the last time; those that match only. */
  take(pattern = /./): string[] {
    return this.log.splice(0).filter((call) => pattern.test(call))
  }

  /** Calls that match wait, before they are carried out, until they are released. */
  hold(pattern: RegExp): Hold {
    const hold = new Hold(pattern, () => this.#holds.splice(this.#holds.indexOf(hold), 1))
    this.#holds.push(hold)
    return hold
  }

  read = (operation: FileOperation): boolean =>
    this.#start('read', place(operation), operation, (each) => this.#real.read(each))

  write = (operation: FileOperation): boolean =>
    this.#start('write', place(operation), operation, (each) => this.#real.write(each))

  sync = (operation: FileOperation): boolean =>
    this.#start('sync', '', operation, (each) =>
      this.syncs ? this.#real.sync(each) : afterTurn(each),
    )

  syncDirectory = (operation: FileOperation): boolean =>
    this.#start('syncDirectory', '', operation, (each) =>
      this.syncs ? this.#real.syncDirectory(each) : afterTurn(each),
    )

  punchHole = (operation: FileOperation): boolean =>
    this.#start('punchHole', place(operation), operation, (each) => this.#real.punchHole(each))

  zeroRange = (operation: FileOperation): boolean =>
    this.#start('zeroRange', place(operation), operation, (each) => this.#real.zeroRange(each))

  allocate = (operation: FileOperation): boolean =>
    this.#start('allocate', place(operation), operation, (each) => this.#real.allocate(each))

  truncate = (operation: FileOperation): boolean =>
    this.#start('truncate', ` ${operation.length}`, operation, (each) => this.#real.truncate(each))

  // These two end at once, always.
  seek(operation: FileOperation, kind: SeekKind): boolean {
    return this.#real.seek(operation, kind)
  }

  allocated(operation: FileOperation): boolean {
    return this.#real.allocated(operation)
  }

  submit(): void {
    this.#real.submit()
  }

  memory(bytes: number): Uint8Array {
    return this.#real.memory(bytes)
  }

  async open(file: string, flags: number, mode?: number): Promise<number> {
    await this.#call((flags & O_CREAT) === 0 ? 'open' : 'create', file)
    const fd = await this.#real.open(file, flags, mode)
    this.openNames.set(fd, path.basename(file))
    return fd
  }

  /** As in the kernel, the descriptor is gone even if this fails. */
  async close(fd: number): Promise<void> {
    const name = this.openNames.get(fd) ?? 'unknown'
    this.openNames.delete(fd)
    const [, called] = await Promise.allSettled([this.#real.close(fd), this.#call('close', name)])
    if (called.status === 'rejected') throw called.reason
  }

  async status(file: string): Promise<FileStatus> {
    await this.#call('status', file)
    return this.#real.status(file)
  }

  async statusOf(fd: number): Promise<FileStatus> {
    await this.#call('statusOf', this.openNames.get(fd) ?? 'unknown')
    return this.#real.statusOf(fd)
  }

  async list(directory: string): Promise<string[]> {
    await this.#call('list', directory)
    return this.#real.list(directory)
  }

  async makeDirectory(file: string): Promise<void> {
    await this.#call('makeDirectory', file)
    await this.#real.makeDirectory(file)
  }

  async rename(from: string, to: string): Promise<void> {
    await this.#call('rename', from, ` ${path.basename(to)}`)
    await this.#real.rename(from, to)
    for (const [fd, name] of this.openNames) {
      if (name === path.basename(from)) this.openNames.set(fd, path.basename(to))
    }
  }

  async remove(file: string): Promise<void> {
    await this.#call('remove', file)
    await this.#real.remove(file)
  }

  async readText(file: string, bytesMax: number): Promise<string> {
    await this.#call('readText', file)
    return this.#real.readText(file, bytesMax)
  }

  async createText(file: string, text: string, mode?: number): Promise<void> {
    await this.#call('createText', file)
    await this.#real.createText(file, text, mode)
  }

  async replaceText(file: string, text: string): Promise<void> {
    await this.#call('replaceText', file)
    await this.#real.replaceText(file, text)
  }

  async lock(fd: number, kind: LockKind): Promise<boolean> {
    await this.#call('lock', this.openNames.get(fd) ?? 'unknown')
    return this.#real.lock(fd, kind)
  }

  lockHolder(fd: number): Promise<string> {
    return this.#real.lockHolder(fd)
  }

  machineIdentity = (): Promise<MachineIdentity> => this.#real.machineIdentity()

  async abilities(directory: string): Promise<DirectoryAbilities> {
    await this.#call('abilities', directory)
    return { ...(await this.#real.abilities(directory)), ...this.fixedAbilities }
  }

  async #call(what: string, file: string, rest = ''): Promise<void> {
    const call = `${what} ${path.basename(file)}${rest}`
    this.log.push(call)
    const errno = this.fault(call)
    await this.#holdFor(call)?.wait()
    if (errno === 0) return
    const code = nameOf(errno)
    throw Object.assign(new Error(`${code}: injected, ${call}`), { errno: -errno, code })
  }

  #start(what: string, rest: string, operation: FileOperation, start: Start): boolean {
    const call = `${what} ${this.openNames.get(operation.fd) ?? 'unknown'}${rest}`
    this.log.push(call)
    const errno = this.fault(call)
    const hold = this.#holdFor(call)
    if (hold !== undefined || this.late !== null) {
      void this.#startLater(operation, start, errno, hold)
      return false
    }
    if (errno === 0) return start(operation)
    operation.result = -errno
    return true
  }

  async #startLater(
    operation: FileOperation,
    start: Start,
    errno: number,
    hold: Hold | undefined,
  ): Promise<void> {
    await hold?.wait()
    await this.#turns()
    operation.result = errno === 0 ? await new InnerOperation(operation).run(start) : -errno
    await this.#turns()
    operation.complete()
  }

  #holdFor(call: string): Hold | undefined {
    return this.#holds.find((hold) => hold.pattern.test(call))
  }

  async #turns(): Promise<void> {
    const turns = this.late?.between(0, TURNS_LATE_MAX) ?? 0
    for (let turn = 0; turn <= turns; turn++) await new Promise((go) => setImmediate(go))
  }
}

export class Hold {
  readonly pattern: RegExp
  /** Resolves when the first call has come to wait here. */
  readonly reached: Promise<void>
  readonly #released: Promise<void>
  readonly #forget: () => void
  #reach = (): void => {}
  #release = (): void => {}

  constructor(pattern: RegExp, forget: () => void) {
    this.pattern = pattern
    this.#forget = forget
    this.reached = new Promise((resolve) => (this.#reach = resolve))
    this.#released = new Promise((resolve) => (this.#release = resolve))
  }

  wait(): Promise<void> {
    this.#reach()
    return this.#released
  }

  /** Lets those that wait go on; later calls do not wait. */
  release(): void {
    this.#forget()
    this.#release()
  }
}

/** Carries an operation out on behalf of another, which is completed later. */
class InnerOperation extends FileOperation {
  #resolve: (result: number) => void = () => {}

  constructor({ fd, buffer, bufferOffset, length, position }: FileOperation) {
    super()
    Object.assign(this, { fd, buffer, bufferOffset, length, position })
  }

  run(start: Start): Promise<number> {
    return new Promise((resolve) => {
      this.#resolve = resolve
      if (start(this)) resolve(this.result)
    })
  }

  override complete(): void {
    this.#resolve(this.result)
  }
}

function afterTurn(operation: FileOperation): boolean {
  operation.result = 0
  setImmediate(() => operation.complete())
  return false
}

function place({ position, length }: FileOperation): string {
  return ` ${position}+${length}`
}

function nameOf(errno: number): string {
  const found = Object.entries(os.constants.errno).find(([, value]) => value === errno)
  return found?.[0] ?? 'EIO'
}
