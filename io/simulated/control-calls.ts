/** The control path of a simulated process: each call takes effect some time before it resolves. */
import type { CallKind, Faults } from './faults.ts'
import type { SimulatedMachine } from './machine.ts'
import { PendingCall } from './pending-call.ts'
import { codeOf, systemError } from './system-error.ts'

const NEVER = (): void => {}

export class ControlCalls {
  isDead = false
  readonly #machine: SimulatedMachine
  readonly #faults: Faults
  readonly #pending: PendingCall[]

  constructor(machine: SimulatedMachine, faults: Faults, pending: PendingCall[]) {
    this.#machine = machine
    this.#faults = faults
    this.#pending = pending
  }

  /** @param mayReach with a fault that reaches through, the effect takes place all the same */
  run<Result>(
    kind: CallKind,
    call: string,
    file: string,
    effect: () => Result,
    mayReach = false,
  ): Promise<Result> {
    if (this.isDead) return new Promise(NEVER)
    const fault = this.#faults.strike(kind)
    return new Promise((resolve, reject) => {
      let settle = NEVER
      const stage = (): void => {
        this.#machine.onCall?.(`${call} ${file}${fault === null ? '' : ` fails: ${fault.errno}`}`)
        try {
          const result = fault === null || (mayReach && fault.reach === 1) ? effect() : null
          if (fault !== null) throw systemError(codeOf(fault.errno), call, file)
          settle = () => resolve(result as Result)
        } catch (error) {
          settle = () => reject(error as Error)
        }
      }
      this.#pending.push(new PendingCall([stage], () => settle()))
    })
  }
}
