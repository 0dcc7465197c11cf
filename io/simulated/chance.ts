/** Where all chance of a simulation comes from: seeded by whoever runs it. */
export interface Chance {
  /** An integer from `min` to `max`, both included. */
  between(min: number, max: number): number
  chance(probability: number): boolean
  pick<Item>(items: readonly Item[]): Item
}
