/**
 * Who waits for which completion. A slot is the kernel's name for an operation under way, with a
 * generation that changes at each use. The table keeps the users, and what they refer to, alive.
 */
import type { RingUser } from './uring-entry.ts'

const GENERATION_MASK = 0x3fffffff

export class Slots {
  /** Operations under way. */
  count = 0
  readonly #users: (RingUser | null)[] = []
  readonly #generations: number[] = []
  readonly #free: number[] = []

  /** @returns the slot in which the user is now; its generation is `generationOf(slot)` */
  take(user: RingUser): number {
    this.count++
    const slot = this.#free.pop()
    if (slot !== undefined) {
      this.#users[slot] = user
      return slot
    }
    this.#generations.push(0)
    return this.#users.push(user) - 1
  }

  generationOf(slot: number): number {
    return this.#generations[slot]
  }

  /** Empties the slot. @returns who was in it. Throws if the kernel names what is not under way */
  give(slot: number, generation: number): RingUser {
    const user = this.#users[slot] ?? null
    if (user === null || this.#generations[slot] !== generation) {
      throw new Error(`io_uring completed what was not started: ${slot}, ${generation}`)
    }
    this.#users[slot] = null
    this.#generations[slot] = (generation + 1) & GENERATION_MASK
    this.#free.push(slot)
    this.count--
    return user
  }

  /** @returns the slot of a user, -1 if it is in none */
  find(user: RingUser): number {
    return this.#users.indexOf(user)
  }
}
