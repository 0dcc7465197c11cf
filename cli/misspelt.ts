/** Variables of the environment that are nearly those of an option: they count for nothing. */
import type { Command } from 'commander'
import { distance, nearest } from './config-error.ts'
import { environmentName } from './flag-value.ts'

/** Letters that are wrong, missing or too many. Other variables may well be somebody else's. */
const TYPOS_MAX = 2

/** @returns a sentence for each */
export function misspeltVariables(command: Command, environment: NodeJS.ProcessEnv): string[] {
  const known = command.options.map((option) => environmentName(option.long ?? ''))
  const sentences: string[] = []
  for (const name of Object.keys(environment).sort()) {
    if (!name.startsWith('CHUNKNBD_') || known.includes(name)) continue
    const meant = nearest(name, known)
    if (distance(name, meant) > TYPOS_MAX) continue
    sentences.push(`variable ${name} of the environment counts for nothing; is it ${meant}?`)
  }
  return sentences
}
