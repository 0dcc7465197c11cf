/** What a simulation did, in numbers: what it found is worth as much as it did. */
export interface Counts {
  steps: number
  /** Events: a stage of a call, a message, a turn of the loop. */
  turns: number
  /** Servers that were started. */
  lives: number
  /** Ends of a server without a power loss, by a signal it heeds or one it does not. */
  kills: number
  powerLosses: number
  /** States of the disk that were looked at after crashes. */
  states: number
  /** Calls that failed because they had to. */
  faults: number
}

export function noCounts(): Counts {
  return { steps: 0, turns: 0, lives: 0, kills: 0, powerLosses: 0, states: 0, faults: 0 }
}

export function addCounts(total: Counts, counts: Counts): void {
  for (const name of Object.keys(total) as (keyof Counts)[]) total[name] += counts[name]
}

export function describeCounts(counts: Counts): string {
  const { steps, turns, lives, kills, powerLosses, states, faults } = counts
  return (
    `${steps} steps, ${turns} events, ${lives} servers, ${kills} ends of a process, ` +
    `${powerLosses} power losses, ${states} states checked, ${faults} failed calls`
  )
}
