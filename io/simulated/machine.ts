/**
 * A simulated machine: a tree of files, the processes that use it, and its end. Nothing here
 * happens by itself and nothing is left to real chance: the same calls with the same seed give
 * the same bytes.
 *
 *   new SimulatedFiles(machine): a process ── kill() ─▶ its locks and descriptors are gone, the
 *                                                       page cache stays; start another process
 *   afterPowerLoss() ─▶ another machine, as the disk may be found. Ask as often as you like.
 */
import type { MachineIdentity } from '../io.ts'
import type { Chance } from './chance.ts'
import type { Fate } from './file.ts'
import { Locks } from './locks.ts'
import { SimulatedTree } from './tree.ts'

/** What its file system can do. */
export interface MachineTraits {
  /** Holes can be punched, ranges zeroed and allocated, data and holes searched. */
  readonly holes: boolean
  /** Probability that a call on the data path is done at once. */
  readonly atOnce: number
}

/** A power loss that keeps nothing but what was synced. */
export const NOTHING_KEPT: Fate = { names: 0, sizes: 0, data: 0 }

/** Of a machine in its first start. */
const IDENTITY: MachineIdentity = { host: 'simulated', machine: 'simulated', boot: '1' }

const LIKELIHOODS = [0, 0.5, 1]

/** Probability for each file that a killed machine has forgotten its clean pages. */
const EVICTION = 0.2

export class SimulatedMachine {
  readonly chance: Chance
  readonly traits: MachineTraits
  readonly locks = new Locks()
  readonly tree: SimulatedTree
  readonly identity: MachineIdentity
  /** Told of every call that has its effect, in words. Null: nobody listens, no words are made. */
  onCall: ((words: string) => void) | null = null
  /** Data was lost for good by a failed sync. */
  onLost: () => void = () => {}
  /** A descriptor for writing is closed, and the file has changes that nobody has synced. */
  onCloseUnsynced: (name: string) => void = () => {}
  /** What no program may do (use a closed descriptor, for one), in words. */
  readonly violations: string[] = []
  readonly #processes = new Set<{ kill(): void }>()

  /** Machines with the same tree share a disk, but not their kernel locks. */
  constructor(
    chance: Chance,
    traits: MachineTraits,
    tree = new SimulatedTree(),
    identity = IDENTITY,
  ) {
    this.chance = chance
    this.traits = traits
    this.tree = tree
    this.identity = identity
  }

  /** For processes. */
  attach(process: { kill(): void }): void {
    this.#processes.add(process)
  }

  /** Kills all processes. Calls under way have had their effect, a part of it, or none. */
  kill(): void {
    for (const each of this.#processes) each.kill()
    this.#processes.clear()
    for (const file of this.tree.files()) {
      if (this.chance.chance(EVICTION)) file.evict(this.chance)
    }
  }

  /**
   * What is found on the disk when the power comes back: one of many possibilities. All processes
   * must be dead. This machine stays as it is.
   */
  afterPowerLoss(chance: Chance, fate = someFate(chance)): SimulatedMachine {
    const tree = this.tree.afterPowerLoss(chance, fate)
    const identity = { ...this.identity, boot: `${Number(this.identity.boot) + 1}` }
    return new SimulatedMachine(this.chance, this.traits, tree, identity)
  }
}

function someFate(chance: Chance): Fate {
  return {
    names: chance.pick(LIKELIHOODS),
    sizes: chance.pick(LIKELIHOODS),
    data: chance.pick(LIKELIHOODS),
  }
}
