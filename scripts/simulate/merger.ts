/**
 * `commit` and `flatten` of a disk that nobody serves, to their end or cut off anywhere. At every
 * moment, also across a crash, the disk reads the same; what is cut off is finished by the next.
 */
import { commitDisk } from '../../chunkstore/commit.ts'
import { flattenDisk } from '../../chunkstore/flatten.ts'
import type { Fault } from '../../io/simulated/faults.ts'
import { SimulatedFiles } from '../../io/simulated/files.ts'
import { NOTHING_KEPT, type SimulatedMachine } from '../../io/simulated/machine.ts'
import { BrokenPromise, type DiskModel, Unjudgeable } from './disk-model.ts'
import { readByFormat } from './reference-reader.ts'
import type { Setting } from './setting.ts'
import type { World } from './world.ts'

export type Merge = 'commit' | 'flatten'

export interface MergeRun {
  readonly merge: Merge
  /** Events after which it is cut off; Infinity: never. */
  readonly turns: number
  /** What fails on the way, or null. */
  readonly fault: Fault | null
}

interface Merged {
  readonly isDone: boolean
  readonly struck: number
}

export class Merger {
  readonly #world: World
  readonly #setting: Setting
  readonly #model: DiskModel
  readonly #note: (words: string) => void

  constructor(world: World, setting: Setting, model: DiskModel, note: (words: string) => void) {
    this.#world = world
    this.#setting = setting
    this.#model = model
    this.#note = note
  }

  /**
   * All processes of the machine are dead before and after.
   * @returns whether it was done, and calls that failed
   * @throws BrokenPromise, Unjudgeable
   */
  async run(machine: SimulatedMachine, { merge, turns, fault }: MergeRun): Promise<Merged> {
    // What a failed sync lost is still read from memory: a parent that gets it may differ later.
    if (merge === 'commit' && this.#model.hasLost) throw new Unjudgeable()
    const files = new SimulatedFiles(machine)
    if (fault !== null) files.faults.arm(fault)
    this.#world.processes = [files]
    const state: { end: unknown } = { end: null }
    const { file } = this.#setting.layers[0]
    const merging = merge === 'commit' ? commitDisk(files, file) : flattenDisk(files, file)
    merging.then(
      () => (state.end = 'done'),
      (error: unknown) => (state.end = error),
    )
    await this.#world.clock.settle()
    await this.#world.untilOrLess(() => state.end !== null, merge, turns)
    const open = files.openNames()
    machine.kill()
    this.#world.clock.clear()
    this.#world.processes = []
    const { struck } = files.faults
    this.#judge(machine, merge, state.end, struck)
    if (state.end !== null && struck === 0 && open.length > 0) {
      throw new BrokenPromise(`${merge} leaves ${open.join(', ')} open`)
    }
    return { isDone: state.end === 'done', struck }
  }

  #judge(machine: SimulatedMachine, merge: Merge, end: unknown, struck: number): void {
    if (end === 'done') {
      this.#note(`${merge} is done`)
      return this.#checkDone(machine, merge)
    }
    this.#note(`${merge} ${end === null ? 'is cut off' : `fails: ${(end as Error).message}`}`)
    // It may have been made independent of its parents before.
    const isRefused = (end as NodeJS.ErrnoException | null)?.code === 'ECHAIN'
    if (end !== null && struck === 0 && !isRefused) throw end
  }

  /** It is done for good: nothing of it is lost with the power. */
  #checkDone(machine: SimulatedMachine, merge: Merge): void {
    const { layers } = this.#setting
    const { tree } = machine.afterPowerLoss(this.#world.schedule, NOTHING_KEPT)
    const rest = merge === 'commit' ? layers.slice(1) : layers.slice(0, 1)
    this.#model.checkAfterPowerLoss(readByFormat(tree, { ...this.#setting, layers: rest }))
    if (merge === 'flatten') return
    for (const { directory } of layers[0].parts) {
      const names = [...tree.directory(directory, 'look').names.keys()]
      const left = names.find((name) => name.startsWith('chunk'))
      if (left !== undefined) throw new BrokenPromise(`after commit ${directory} has ${left}`)
    }
  }
}
