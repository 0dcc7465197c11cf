/**
 * npm run mutate: takes the safeguards of crash safety out of the source text, one at a time, in a
 * copy of the repository, and runs the simulation on it: it must fail. Exit status 1 if it does
 * not; 2 if a mutation does not fit the source any more.
 *
 *   npm run mutate                      all of them, at most 1,000 seeds each
 *   npm run mutate -- copy-sync rename  some of them, by name
 */
import { spawnSync } from 'node:child_process'
import { cpSync, mkdtempSync, readFileSync, rmSync, symlinkSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { fileURLToPath } from 'node:url'
import { type Mutation, MUTATIONS, mutate } from './simulate/mutations.ts'

const SEEDS = 1000
const ROOT = fileURLToPath(new URL('..', import.meta.url))
const COPIED = ['package.json', 'cache', 'chunkstore', 'cli', 'device', 'io', 'nbd', 'scripts']

const names = process.argv.slice(2)
const unknown = names.find((name) => !(name in MUTATIONS))
if (unknown !== undefined) {
  console.error(`error: ${unknown}: choose of ${Object.keys(MUTATIONS).join(', ')}`)
  process.exit(2)
}

const copy = mkdtempSync(join(tmpdir(), 'mutate-'))
process.on('exit', () => rmSync(copy, { recursive: true, force: true }))
for (const each of [...COPIED, 'test/helpers']) {
  cpSync(join(ROOT, each), join(copy, each), { recursive: true })
}
symlinkSync(join(ROOT, 'node_modules'), join(copy, 'node_modules'))

for (const [name, mutation] of Object.entries(MUTATIONS)) {
  if (names.length > 0 && !names.includes(name)) continue
  const found = simulate(mutation)
  console.log(`${name}: ${mutation.what}: ${found ?? `NOT NOTICED with ${SEEDS} seeds`}`)
  if (found === null) process.exitCode = 1
}

/** @returns what the simulation says of it, or null: nothing */
function simulate(mutation: Mutation): string | null {
  const file = join(copy, mutation.file)
  const source = readFileSync(file, 'utf8')
  writeFileSync(file, mutate(source, mutation))
  const args = ['--import', 'tsx', 'scripts/simulate.ts', '--seeds', String(SEEDS), '--no-shrink']
  const { status, stdout } = spawnSync(process.execPath, args, { cwd: copy, encoding: 'utf8' })
  writeFileSync(file, source)
  if (status === 0) return null
  const line = stdout.split('\n').find((each) => each.startsWith('BROKEN'))
  if (status === 1 && line !== undefined) return line
  throw new Error(`the simulation itself fails with status ${status}: ${stdout}`)
}
