/** Who holds which kernel lock (flock). A lock belongs to an open file, and goes with it. */
import { LockKind } from '../io.ts'

interface Holder {
  readonly kind: LockKind
  /** For messages. */
  readonly process: number
}

export class Locks {
  /** By node, then by open file. */
  readonly #held = new Map<number, Map<object, Holder>>()

  /** @returns false: somebody else's lock is in the way */
  take(node: number, owner: object, kind: LockKind, process: number): boolean {
    const held = this.#held.get(node) ?? new Map<object, Holder>()
    for (const [other, holder] of held) {
      if (other === owner) continue
      if (kind === LockKind.EXCLUSIVE || holder.kind === LockKind.EXCLUSIVE) return false
    }
    held.set(owner, { kind, process })
    this.#held.set(node, held)
    return true
  }

  drop(node: number, owner: object): void {
    this.#held.get(node)?.delete(owner)
  }

  /** @returns process numbers */
  holders(node: number): number[] {
    return [...(this.#held.get(node)?.values() ?? [])].map((holder) => holder.process)
  }
}
