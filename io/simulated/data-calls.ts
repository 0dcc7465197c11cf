/**
 * The data path of a simulated process. A write takes effect in one or two parts, at any time
 * between its start and its completion, from the memory as it is then. A call that fails may have
 * had a part of its effect.
 */
import type { FileOperation } from '../io.ts'
import type { OpenFile } from './descriptors.ts'
import { SimulatedDirectory, type SimulatedNode } from './directory.ts'
import { CallKind, type Fault, failureOf } from './faults.ts'
import { SimulatedFile } from './file.ts'
import { BLOCK_SIZE, SECTOR_SIZE } from './file-image.ts'
import type { SimulatedMachine } from './machine.ts'
import { PendingCall } from './pending-call.ts'
import type { ProcessState } from './process-state.ts'

const EBADF = 9
const EOPNOTSUPP = 95

type Stages = (() => void)[]

const CHANGES: readonly CallKind[] = [CallKind.WRITE, CallKind.FALLOCATE, CallKind.TRUNCATE]

export class DataCalls {
  readonly #process: ProcessState
  readonly #machine: SimulatedMachine

  constructor(process: ProcessState) {
    this.#process = process
    this.#machine = process.machine
  }

  read(operation: FileOperation): boolean {
    const { buffer, bufferOffset, length, position } = operation
    // Whoever looks before it is complete shall see it.
    buffer.fill(0xee, bufferOffset, bufferOffset + length)
    return this.#begin(CallKind.READ, 'read', operation, (file) => [
      () => {
        operation.result = file.cache.read(position, buffer, bufferOffset, length)
      },
    ])
  }

  write(operation: FileOperation): boolean {
    const { buffer, bufferOffset, length, position } = operation
    return this.#begin(CallKind.WRITE, 'write', operation, (file, fault) => {
      const part = (from: number, to: number) => (): void => {
        // A copy, also of a Buffer, whose own `slice` makes none.
        const data = new Uint8Array(buffer.subarray(bufferOffset + from, bufferOffset + to))
        const isLonger = position + to > file.cache.size
        const at = position + from
        file.change({
          kind: 'write',
          sequence: this.#next(),
          position: at,
          data,
          extends: isLonger,
        })
        operation.result = to
      }
      const reach = fault === null ? length : roundDown(length * fault.reach, SECTOR_SIZE)
      const split = roundDown(this.#machine.chance.between(0, reach), SECTOR_SIZE)
      const isSplit = split > 0 && split < reach && this.#machine.chance.chance(0.25)
      if (isSplit) return [part(0, split), part(split, reach)]
      return reach === 0 ? [] : [part(0, reach)]
    })
  }

  /** What was changed before it started is durable when it ends. */
  sync(operation: FileOperation): boolean {
    const { chance, tree } = this.#machine
    const { sequence } = tree
    return this.#begin(CallKind.SYNC, 'sync', operation, (file, fault) => [
      () => {
        if (fault === null) file.sync(sequence)
        else if (file.failSync(sequence, chance)) this.#machine.onLost()
      },
    ])
  }

  /** As `sync`. One that failed leaves the names as they were: in doubt. */
  syncDirectory(operation: FileOperation): boolean {
    const { sequence } = this.#machine.tree
    return this.#beginOn(CallKind.SYNC_DIRECTORY, 'syncDirectory', operation, (node, fault) => [
      () => {
        if (fault === null && node instanceof SimulatedDirectory) node.sync(sequence)
      },
    ])
  }

  fallocate(operation: FileOperation, kind: 'hole' | 'zeros' | 'allocate'): boolean {
    const { position, length } = operation
    return this.#begin(CallKind.FALLOCATE, kind, operation, (file, fault) => {
      if (!this.#machine.traits.holes) return [() => (operation.result = -EOPNOTSUPP)]
      const reach = fault === null ? length : roundDown(length * fault.reach, BLOCK_SIZE)
      return [() => file.change({ kind, sequence: this.#next(), position, length: reach })]
    })
  }

  /** One that fails may have changed the size (ext4 gives up after that). */
  truncate(operation: FileOperation): boolean {
    const size = operation.length
    return this.#begin(CallKind.TRUNCATE, 'truncate', operation, (file, fault) => {
      if (fault !== null && fault.reach < 1) return []
      return [() => file.change({ kind: 'truncate', sequence: this.#next(), size })]
    })
  }

  #next(): number {
    return ++this.#machine.tree.sequence
  }

  #begin(
    kind: CallKind,
    call: string,
    operation: FileOperation,
    stagesOf: (file: SimulatedFile, fault: Fault | null) => Stages,
  ): boolean {
    return this.#beginOn(kind, call, operation, (node, fault) => {
      return node instanceof SimulatedFile ? stagesOf(node, fault) : []
    })
  }

  #beginOn(
    kind: CallKind,
    call: string,
    operation: FileOperation,
    stagesOf: (node: SimulatedNode, fault: Fault | null) => Stages,
  ): boolean {
    const { descriptors, faults, isDead, isImmediate, pending } = this.#process
    if (isDead) return false
    const { fd, position, length } = operation
    const open = descriptors.get(fd)
    operation.result = 0
    if (open === undefined) {
      this.#machine.violations.push(`${call} on descriptor ${fd}: not open`)
      operation.result = -EBADF
      return true
    }
    this.#check(kind, call, open, operation)
    const fault = faults.strike(kind)
    const stages = stagesOf(open.node, fault).map((stage) => () => {
      if (descriptors.get(fd) !== open) {
        this.#machine.violations.push(`${call} of ${open.name}: closed before it was done`)
      }
      const place = kind === CallKind.TRUNCATE ? ` ${length}` : ` ${position}+${length}`
      const where = length + position === 0 && kind !== CallKind.TRUNCATE ? '' : place
      this.#machine.onCall?.(`${call} ${open.name}${where}${failureOf(fault)}`)
      stage()
    })
    const finish = (): void => {
      if (fault !== null) operation.result = -fault.errno
    }
    if (isImmediate || this.#machine.chance.chance(this.#machine.traits.atOnce)) {
      for (const stage of stages) stage()
      finish()
      return true
    }
    const end = (): void => {
      finish()
      operation.complete()
    }
    pending.push(new PendingCall(stages, end))
    return false
  }

  #check(kind: CallKind, call: string, open: OpenFile, operation: FileOperation): void {
    const { violations } = this.#machine
    if (CHANGES.includes(kind) && !open.writable) {
      violations.push(`${call} of ${open.name}: opened for reading only`)
    }
    const isTransfer = kind === CallKind.READ || kind === CallKind.WRITE
    const odd = (operation.position % BLOCK_SIZE) + (operation.length % BLOCK_SIZE)
    if (isTransfer && open.direct && odd > 0) {
      violations.push(`${call} of ${open.name}: not aligned as O_DIRECT wants it`)
    }
  }
}

function roundDown(value: number, unit: number): number {
  return Math.floor(value / unit) * unit
}
