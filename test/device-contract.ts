/**
 * What every device must do, whatever it stores its data in: one suite, run on each of them.
 *
 *   deviceContract(test, 'memory', { make: () => ({ device: new MemoryDevice(2 ** 20) }) })
 *
 * `make` gives a new device that reads as zeros, of 256 KiB to 16 MiB, for each test; it is closed
 * when the test ends. What a device cannot do is listed under `deviations`, title and reason.
 */
import assert from 'node:assert/strict'
import type { ExecutionContext, TestFn } from 'ava'
import { dataCases } from './device/contract-data.ts'
import { extentCases } from './device/contract-extents.ts'
import { placeCases } from './device/contract-places.ts'
import { randomCases } from './device/contract-random.ts'
import { rulesCases } from './device/contract-rules.ts'
import { zeroCases } from './device/contract-zero.ts'
import { TestDevice } from './helpers/test-device.ts'
import type { Subject } from './helpers/test-device.ts'

export interface ContractCase {
  readonly title: string
  run(t: ExecutionContext, subject: TestDevice): Promise<void>
}

export interface ContractOptions {
  make(t: ExecutionContext): Subject | Promise<Subject>
  /** Title of a case, and why this device is excused. */
  readonly deviations?: Readonly<Record<string, string>>
}

const CASES: readonly ContractCase[] = [
  ...dataCases,
  ...zeroCases,
  ...extentCases,
  ...placeCases,
  ...rulesCases,
  ...randomCases,
]

export function deviceContract(test: TestFn, name: string, options: ContractOptions): void {
  const deviations = { ...options.deviations }
  for (const { title, run } of CASES) {
    const reason = deviations[title]
    delete deviations[title]
    if (reason !== undefined) {
      test(`${name} deviates: ${title} (${reason})`, (t) => t.pass())
      continue
    }
    test(`${name}: ${title}`, async (t) => {
      const made = await options.make(t)
      const subject = new TestDevice(made)
      await run(t, subject)
      await subject.device.close()
    })
  }
  assert.deepEqual(Object.keys(deviations), [], 'deviations from cases that do not exist')
}
