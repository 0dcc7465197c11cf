/** What the calls of one simulated process share. */
import { Descriptors } from './descriptors.ts'
import { Faults } from './faults.ts'
import type { SimulatedMachine } from './machine.ts'
import type { PendingCall } from './pending-call.ts'

export class ProcessState {
  readonly machine: SimulatedMachine
  readonly faults = new Faults()
  readonly descriptors = new Descriptors()
  /** Calls under way. */
  readonly pending: PendingCall[] = []
  /** Nothing that it began is ever told to anybody. */
  isDead = false
  /** Every call is done at once. */
  isImmediate: boolean

  constructor(machine: SimulatedMachine, isImmediate: boolean) {
    this.machine = machine
    this.isImmediate = isImmediate
  }
}
