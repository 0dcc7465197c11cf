/**
 * npm run fuzz -- [--seed S] [--streams N] [--replay FILE]: hostile client streams against the
 * server, in one process (see test/fuzz). Exit status 1 if one shows something wrong; it is then
 * written to a file that --replay takes.
 */
import { readFileSync, writeFileSync } from 'node:fs'
import { parseArgs } from 'node:util'
import { campaign, replay } from '../test/fuzz/campaign.ts'

const PROGRESS_STREAMS = 10_000

async function main(): Promise<void> {
  const { values } = parseArgs({
    options: {
      seed: { type: 'string', default: String(Math.floor(Math.random() * 2 ** 31)) },
      streams: { type: 'string', default: '20000' },
      replay: { type: 'string' },
    },
  })
  if (values.replay !== undefined) return again(values.replay)
  const [seed, streams] = [Number(values.seed), Number(values.streams)]
  if (!Number.isSafeInteger(seed) || !Number.isSafeInteger(streams) || streams < 1)
    throw new Error('--seed and --streams take whole numbers')
  console.log(`seed ${seed}, ${streams} streams`)
  const progress = (done: number, features: number): void => {
    const { rss } = process.memoryUsage()
    if (done % PROGRESS_STREAMS === 0)
      console.log(`${done} streams, ${features} things seen, ${rss >> 20} MiB`)
  }
  const report = await campaign(seed, streams, { progress })
  const { found, features } = report
  console.log(`${report.streams} streams, ${features} different things seen`)
  if (found === null) return
  const file = `fuzz-${seed}-${found.index}.txt`
  writeFileSync(file, found.text)
  fail(`stream ${found.index}: again with: npm run fuzz -- --replay ${file}`, found.error)
}

async function again(file: string): Promise<void> {
  const error = await replay(readFileSync(file, 'utf8'))
  if (error === null) console.log('nothing is wrong with it')
  else fail(file, error)
}

function fail(what: string, error: Error): void {
  console.error(`${what}\n${error.stack ?? error.message}`)
  process.exitCode = 1
}

await main()
// Timers of connections that were left in the middle.
process.exit()
