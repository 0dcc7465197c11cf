/**
 * A directory of the simulated machine: its names as programs see them, as the disk has them for
 * sure, and the changes in between, of which a power loss keeps or loses each on its own.
 */
import type { SimulatedFile } from './file.ts'

export type SimulatedNode = SimulatedFile | SimulatedDirectory

interface NameChange {
  readonly sequence: number
  readonly node: SimulatedNode
  /** The name that goes, or null. */
  readonly from: string | null
  /** The name that comes, or null. With both, one is there at every moment. */
  readonly to: string | null
  /** The directory with the other half, which has the same number: they happen together. */
  readonly partner: SimulatedDirectory | null
}

export class SimulatedDirectory {
  /** What an inode number is for. */
  readonly id: number
  /** The file system it is in. */
  device = ''
  readonly names = new Map<string, SimulatedNode>()
  readonly #durable = new Map<string, SimulatedNode>()
  #unsynced: NameChange[] = []

  constructor(id: number) {
    this.id = id
  }

  change(change: NameChange): void {
    apply(this.names, change)
    this.#unsynced.push(change)
  }

  /** The names as they were at `sequence` are durable. */
  sync(sequence: number): void {
    const first = this.#unsynced.findIndex((change) => change.sequence > sequence)
    const count = first < 0 ? this.#unsynced.length : first
    for (const change of this.#unsynced.splice(0, count)) {
      apply(this.#durable, change)
      // One transaction of the journal, with what is before it there.
      change.partner?.sync(change.sequence)
    }
  }

  /**
   * @param keeps whether the change with this number survives
   * @param copyOf what becomes of a file or directory in it
   * @returns the directory as a machine finds it that lost its power now
   */
  afterPowerLoss(
    keeps: (sequence: number) => boolean,
    copyOf: (node: SimulatedNode) => SimulatedNode,
  ): SimulatedDirectory {
    const names = new Map(this.#durable)
    for (const change of this.#unsynced) {
      if (keeps(change.sequence)) apply(names, change)
    }
    const found = new SimulatedDirectory(this.id)
    for (const [name, node] of names) {
      const copy = copyOf(node)
      found.names.set(name, copy)
      found.#durable.set(name, copy)
    }
    return found
  }
}

function apply(names: Map<string, SimulatedNode>, { node, from, to }: NameChange): void {
  if (from !== null && names.get(from) === node) names.delete(from)
  if (to !== null) names.set(to, node)
}
