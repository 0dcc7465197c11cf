/**
 * `Files` of one process on a simulated machine. Calls are done when `step` is called, a stage of
 * one of them at a time, in an order that the machine's chance decides; some are done at once.
 * How calls fail is in `faults.ts`, what survives the process in `machine.ts`.
 */
import fs from 'node:fs'
import path from 'node:path'
import type {
  DirectoryAbilities,
  FileOperation,
  Files,
  FileStatus,
  LockKind,
  MachineIdentity,
} from '../io.ts'
import { Seek, type SeekKind } from '../io.ts'
import { ControlCalls } from './control-calls.ts'
import { DataCalls } from './data-calls.ts'
import { type Descriptors, OpenFile } from './descriptors.ts'
import { SimulatedDirectory, type SimulatedNode } from './directory.ts'
import { CallKind, type Faults } from './faults.ts'
import { SimulatedFile } from './file.ts'
import { BLOCK_SIZE } from './file-image.ts'
import type { SimulatedMachine } from './machine.ts'
import { ProcessState } from './process-state.ts'
import { systemError } from './system-error.ts'

const ENXIO = 6
const EBADF = 9
const EOPNOTSUPP = 95
const { O_CREAT, O_DIRECT, O_DIRECTORY, O_EXCL, O_RDONLY, O_TRUNC } = fs.constants
const O_ACCMODE = 3

export class SimulatedFiles implements Files {
  readonly faults: Faults
  readonly #machine: SimulatedMachine
  /** Its number. */
  readonly #process: number
  readonly #state: ProcessState
  readonly #descriptors: Descriptors
  readonly #data: DataCalls
  readonly #control: ControlCalls

  /** @param isImmediate every call is done at once, as for somebody who just looks on */
  constructor(machine: SimulatedMachine, isImmediate = false) {
    this.#machine = machine
    this.#process = machine.tree.newId()
    this.#state = new ProcessState(machine, isImmediate)
    this.faults = this.#state.faults
    this.#descriptors = this.#state.descriptors
    this.#data = new DataCalls(this.#state)
    this.#control = new ControlCalls(this.#state)
    machine.attach(this)
  }

  set isImmediate(isImmediate: boolean) {
    this.#state.isImmediate = isImmediate
  }

  /** Calls under way. */
  get pendingCount(): number {
    return this.#state.pending.length
  }

  /** Names of the descriptors that are open. */
  openNames(): string[] {
    return this.#descriptors.list().map((file) => file.name)
  }

  /** One of the calls under way goes on. @returns false: there is none */
  step(): boolean {
    const { pending } = this.#state
    if (pending.length === 0) return false
    const index = this.#machine.chance.between(0, pending.length - 1)
    const call = pending[index]
    // Out of the list first: its end may begin other calls.
    pending[index] = pending[pending.length - 1]
    pending.pop()
    if (!call.advance()) pending.push(call)
    return true
  }

  /** For the machine: the process is gone, nothing that it began is ever told to anybody. */
  kill(): void {
    this.#state.isDead = true
    for (const call of this.#state.pending.splice(0)) call.abandon(this.#machine.chance)
    for (const file of this.#descriptors.list()) this.#machine.locks.drop(file.node.id, file)
  }

  read = (operation: FileOperation): boolean => this.#data.read(operation)
  write = (operation: FileOperation): boolean => this.#data.write(operation)
  sync = (operation: FileOperation): boolean => this.#data.sync(operation)
  syncDirectory = (operation: FileOperation): boolean => this.#data.syncDirectory(operation)
  punchHole = (operation: FileOperation): boolean => this.#data.fallocate(operation, 'hole')
  zeroRange = (operation: FileOperation): boolean => this.#data.fallocate(operation, 'zeros')
  allocate = (operation: FileOperation): boolean => this.#data.fallocate(operation, 'allocate')
  truncate = (operation: FileOperation): boolean => this.#data.truncate(operation)

  seek(operation: FileOperation, kind: SeekKind): boolean {
    const node = this.#descriptors.get(operation.fd)?.node
    if (!(node instanceof SimulatedFile)) operation.result = -EBADF
    else if (!this.#machine.traits.holes) operation.result = -EOPNOTSUPP
    else {
      const found = node.cache.seek(operation.position, kind === Seek.DATA)
      operation.result = found < 0 ? -ENXIO : found
    }
    return true
  }

  allocated(operation: FileOperation): boolean {
    const node = this.#descriptors.get(operation.fd)?.node
    operation.result = node instanceof SimulatedFile ? node.cache.allocated : -EBADF
    return true
  }

  submit(): void {}

  memory(bytes: number): Uint8Array {
    return new Uint8Array(bytes)
  }

  open(file: string, flags: number, _mode?: number): Promise<number> {
    return this.#control.run(CallKind.OPEN, 'open', file, () => {
      const node = this.#nodeFor(file, flags)
      const isDirectory = node instanceof SimulatedDirectory
      if ((flags & O_DIRECTORY) !== 0 && !isDirectory) throw systemError('ENOTDIR', 'open', file)
      const writable = (flags & O_ACCMODE) !== O_RDONLY
      if (writable && isDirectory) throw systemError('EISDIR', 'open', file)
      if ((flags & O_TRUNC) !== 0 && node instanceof SimulatedFile && node.cache.size > 0) {
        node.change({ kind: 'truncate', sequence: ++this.#machine.tree.sequence, size: 0 })
      }
      const direct = (flags & O_DIRECT) !== 0
      return this.#descriptors.add(new OpenFile(node, path.basename(file), writable, direct))
    })
  }

  #nodeFor(file: string, flags: number): SimulatedNode {
    const { tree } = this.#machine
    const found = tree.find(file)
    if (found !== null) {
      if ((flags & O_EXCL) !== 0) throw systemError('EEXIST', 'open', file)
      return found
    }
    if ((flags & O_CREAT) === 0) throw systemError('ENOENT', 'open', file)
    const node = new SimulatedFile(tree.newId())
    tree.link(file, node)
    return node
  }

  /** As in the kernel, the descriptor is gone even if this fails. */
  close(fd: number): Promise<void> {
    const file = this.#descriptors.remove(fd)
    if (file === undefined) this.#machine.violations.push(`close of descriptor ${fd}: not open`)
    else this.#closed(file)
    return this.#control.run(CallKind.CLOSE, 'close', file?.name ?? String(fd), () => {})
  }

  #closed(file: OpenFile): void {
    const { locks, onCloseUnsynced } = this.#machine
    locks.drop(file.node.id, file)
    const isFile = file.node instanceof SimulatedFile
    if (isFile && file.writable && file.node.isUnsynced) onCloseUnsynced(file.name)
  }

  status(file: string): Promise<FileStatus> {
    return this.#control.run(CallKind.STATUS, 'status', file, () => {
      const node = this.#machine.tree.find(file)
      if (node === null) throw systemError('ENOENT', 'stat', file)
      return statusOf(node)
    })
  }

  statusOf(fd: number): Promise<FileStatus> {
    const file = this.#descriptors.get(fd)
    return this.#control.run(CallKind.STATUS, 'statusOf', file?.name ?? String(fd), () => {
      if (file === undefined) throw systemError('EBADF', 'fstat', String(fd))
      return statusOf(file.node)
    })
  }

  /** The order of names is nobody's promise. */
  list(directory: string): Promise<string[]> {
    return this.#control.run(CallKind.LIST, 'list', directory, () => {
      const names = [...this.#machine.tree.directory(directory, 'readdir').names.keys()]
      for (let at = names.length - 1; at > 0; at--) {
        const other = this.#machine.chance.between(0, at)
        ;[names[at], names[other]] = [names[other], names[at]]
      }
      return names
    })
  }

  makeDirectory(directory: string): Promise<void> {
    const make = (): void => this.#machine.tree.makeDirectory(directory)
    return this.#control.run(CallKind.CONTROL, 'makeDirectory', directory, make)
  }

  rename(from: string, to: string): Promise<void> {
    const words = `${from} to ${path.basename(to)}`
    const rename = (): void => {
      this.#descriptors.renamed(this.#machine.tree.rename(from, to), path.basename(to))
    }
    return this.#control.run(CallKind.RENAME, 'rename', words, rename, true)
  }

  remove(file: string): Promise<void> {
    const remove = (): void => this.#machine.tree.remove(file)
    return this.#control.run(CallKind.REMOVE, 'remove', file, remove, true)
  }

  readText(file: string, bytesMax: number): Promise<string> {
    return this.#control.run(CallKind.CONTROL, 'readText', file, () => {
      const node = this.#machine.tree.find(file)
      if (!(node instanceof SimulatedFile)) throw systemError('ENOENT', 'open', file)
      if (node.cache.size > bytesMax) throw systemError('EFBIG', 'open', file)
      return Buffer.from(node.cache.bytes).toString('utf8')
    })
  }

  createText(file: string, text: string): Promise<void> {
    return this.#control.run(CallKind.CONTROL, 'createText', file, () => {
      if (this.#machine.tree.find(file) !== null) throw systemError('EEXIST', 'link', file)
      this.#machine.tree.putText(file, text)
    })
  }

  replaceText(file: string, text: string): Promise<void> {
    const put = (): void => this.#machine.tree.putText(file, text)
    return this.#control.run(CallKind.CONTROL, 'replaceText', file, put)
  }

  lock(fd: number, kind: LockKind): Promise<boolean> {
    const file = this.#descriptors.get(fd)
    return this.#control.run(CallKind.CONTROL, 'lock', file?.name ?? String(fd), () => {
      if (file === undefined) throw systemError('EBADF', 'flock', String(fd))
      return this.#machine.locks.take(file.node.id, file, kind, this.#process)
    })
  }

  async lockHolder(fd: number): Promise<string> {
    const file = this.#descriptors.get(fd)
    if (file === undefined) return ''
    const holders = this.#machine.locks.holders(file.node.id)
    return holders.map((process) => `process ${process}`).join(', ')
  }

  async machineIdentity(): Promise<MachineIdentity> {
    return this.#machine.identity
  }

  abilities(directory: string): Promise<DirectoryAbilities> {
    return this.#control.run(CallKind.OPEN, 'abilities', directory, () => {
      const { holes } = this.#machine.traits
      const direct = { direct: true, directRefusal: '' }
      return { punchHole: holes, zeroRange: holes, allocate: holes, ...direct }
    })
  }
}

function statusOf(node: SimulatedNode): FileStatus {
  const isFile = node instanceof SimulatedFile
  return {
    size: isFile ? node.cache.size : BLOCK_SIZE,
    allocated: isFile ? node.cache.allocated : BLOCK_SIZE,
    links: 1,
    isFile,
    isDirectory: !isFile,
    identity: `${node.device}:${node.id}`,
    mtimeMs: 0,
  }
}
