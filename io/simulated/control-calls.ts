/** The control path of a simulated process: each call takes effect some time before it resolves. */
import { type CallKind, type Fault, failureOf } from './faults.ts'
import { PendingCall } from './pending-call.ts'
import type { ProcessState } from './process-state.ts'
import { codeOf, systemError } from './system-error.ts'

const NEVER = (): void => {}

export class ControlCalls {
  readonly #process: ProcessState

  constructor(process: ProcessState) {
    this.#process = process
  }

  /** @param mayReach with a fault that reaches through, the effect takes place all the same */
  run<Result>(
    kind: CallKind,
    call: string,
    file: string,
    effect: () => Result,
    mayReach = false,
  ): Promise<Result> {
    const { faults, isDead, isImmediate, machine, pending } = this.#process
    if (isDead) return new Promise(NEVER)
    const fault = faults.strike(kind)
    const act = (): Result => {
      machine.onCall?.(`${call} ${file}${failureOf(fault)}`)
      return perform(call, file, effect, fault, mayReach)
    }
    return new Promise((resolve, reject) => {
      // Throwing in here rejects.
      if (isImmediate) return resolve(act())
      let settle = NEVER
      const stage = (): void => {
        try {
          const result = act()
          settle = () => resolve(result)
        } catch (error) {
          settle = () => reject(error as Error)
        }
      }
      pending.push(new PendingCall([stage], () => settle()))
    })
  }
}

function perform<Result>(
  call: string,
  file: string,
  effect: () => Result,
  fault: Fault | null,
  mayReach: boolean,
): Result {
  if (fault === null) return effect()
  if (mayReach && fault.reach === 1) effect()
  throw systemError(codeOf(fault.errno), call, file)
}
