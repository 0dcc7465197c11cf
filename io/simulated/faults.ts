/** Calls of a simulated process that are to fail, chosen by whoever runs it. */
import { codeOf } from './system-error.ts'

export const CallKind = {
  READ: 'read',
  WRITE: 'write',
  SYNC: 'sync',
  SYNC_DIRECTORY: 'syncDirectory',
  /** Punching holes, zeroing ranges, allocating. */
  FALLOCATE: 'fallocate',
  TRUNCATE: 'truncate',
  OPEN: 'open',
  CLOSE: 'close',
  /** Size and kind of a file, by name or descriptor. */
  STATUS: 'status',
  LIST: 'list',
  RENAME: 'rename',
  REMOVE: 'remove',
  /** Making directories, reading and creating small files, locking: what opens a disk. */
  CONTROL: 'control',
} as const
export type CallKind = (typeof CallKind)[keyof typeof CallKind]

export interface Fault {
  readonly kinds: readonly CallKind[]
  /** A positive number, as in `os.constants.errno`. */
  readonly errno: number
  /** Calls of these kinds that succeed before. */
  readonly after: number
  /** Calls that fail. */
  readonly count: number
  /** Part of the effect that takes place all the same, from 0 to 1. */
  readonly reach: number
}

/** @returns for a line about a call: how it fails, or '' */
export function failureOf(fault: Fault | null): string {
  return fault === null ? '' : ` fails with ${codeOf(fault.errno)}`
}

interface Armed {
  readonly fault: Fault
  passed: number
  struck: number
}

export class Faults {
  #armed: Armed[] = []
  /** Calls that failed so far. */
  struck = 0

  arm(fault: Fault): void {
    this.#armed.push({ fault, passed: 0, struck: 0 })
  }

  disarm(): void {
    this.#armed = []
  }

  /** @returns the fault this call fails with, or null */
  strike(kind: CallKind): Fault | null {
    for (const each of this.#armed) {
      const { fault } = each
      if (!fault.kinds.includes(kind) || each.passed++ < fault.after) continue
      if (++each.struck >= fault.count) this.#armed.splice(this.#armed.indexOf(each), 1)
      this.struck++
      return fault
    }
    return null
  }
}
