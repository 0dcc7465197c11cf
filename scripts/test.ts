/**
 * npm test, second half (scripts/test.sh is the first): runs every check, one after the other,
 * all of them even if one fails. Arguments are passed on to ava, and then nothing else runs.
 * The last line on stdout is `N passed, N failed`; a check counts as one, ava's tests each.
 */
import { spawn, spawnSync } from 'node:child_process'
import { createInterface } from 'node:readline'
import { AvaOutput } from './ava-output.ts'

interface Outcome {
  readonly name: string
  readonly passed: number
  readonly failed: number
  readonly skipped: number
  readonly seconds: number
}

const CHECKS = ['build', 'types', 'lint', 'format:check', 'tidy']

/** One socket, then several; then the server is killed, each time at another moment. */
const MACHINES = [
  ['--fs', 'ext4', '--connections', '1'],
  ['--fs', 'xfs', '--connections', '4'],
  ['--phase', 'crash', '--fs', 'both', '--connections', '2', '--seed', someSeed()],
]

/** Exit status of scripts/vm.sh: a tool or the kernel is missing, nothing was tested. */
const SET_UP_FAILED = 2

const isContinuousIntegration = !['', 'false', '0'].includes(process.env.CI ?? '')

async function main(args: readonly string[]): Promise<void> {
  const withMachines = !args.includes('--no-vm')
  const selection = args.filter((argument) => argument !== '--no-vm')
  const outcomes: Outcome[] = []
  if (selection.length === 0) outcomes.push(...CHECKS.map(runCheck))
  outcomes.push(await runAva(selection))
  if (selection.length === 0 && withMachines) {
    outcomes.push(...(await Promise.all(MACHINES.map(runMachine))))
  }
  report(outcomes)
}

function runCheck(script: string): Outcome {
  announce(script)
  const start = performance.now()
  const { status } = spawnSync('npm', ['run', '--silent', script], {
    stdio: ['ignore', 'inherit', 'inherit'],
  })
  return outcome(script, status === 0 ? 'passed' : 'failed', start)
}

async function runAva(selection: readonly string[]): Promise<Outcome> {
  announce('ava')
  const start = performance.now()
  // Everything was just built: the servers that tests start need not be compiled each time.
  const built = selection.length === 0 ? { CHUNKNBD_BUILT: '1' } : {}
  const child = spawn(process.execPath, ['node_modules/ava/entrypoints/cli.mjs', ...selection], {
    stdio: ['ignore', 'pipe', 'inherit'],
    env: { ...process.env, ...built },
  })
  const closed = exitStatus(child)
  const output = new AvaOutput()
  for await (const line of createInterface({ input: child.stdout })) {
    console.log(line)
    output.line(line)
  }
  output.finish(await closed)
  const { passed, failed, skipped } = output
  return { name: 'ava', passed, failed, skipped, seconds: secondsSince(start) }
}

/** The machines run side by side, so their output is shown when they have ended. */
async function runMachine(options: readonly string[]): Promise<Outcome> {
  const name = `vm ${options.join(' ')}`
  const start = performance.now()
  const child = spawn('sh', ['scripts/vm.sh', ...options], { stdio: ['ignore', 'pipe', 'pipe'] })
  const output: Buffer[] = []
  child.stdout.on('data', (chunk: Buffer) => output.push(chunk))
  child.stderr.on('data', (chunk: Buffer) => output.push(chunk))
  const status = await exitStatus(child)
  announce(name)
  process.stdout.write(Buffer.concat(output))
  if (status === 0) return outcome(name, 'passed', start)
  if (status !== SET_UP_FAILED || isContinuousIntegration) return outcome(name, 'failed', start)
  console.log(`SKIPPED: ${name}: the machine could not be set up`)
  return outcome(name, 'skipped', start)
}

function someSeed(): string {
  return String(Math.floor(Math.random() * 1_000_000))
}

function exitStatus(child: ReturnType<typeof spawn>): Promise<number | null> {
  return new Promise((resolve, reject) => {
    child.once('error', reject)
    child.once('close', resolve)
  })
}

function announce(name: string): void {
  console.log(`\n== ${name}`)
}

function outcome(name: string, kind: 'passed' | 'failed' | 'skipped', start: number): Outcome {
  const counts = { passed: 0, failed: 0, skipped: 0, [kind]: 1 }
  return { name, ...counts, seconds: secondsSince(start) }
}

function secondsSince(start: number): number {
  return (performance.now() - start) / 1000
}

function report(outcomes: readonly Outcome[]): void {
  const sum = (pick: (outcome: Outcome) => number): number =>
    outcomes.reduce((total, each) => total + pick(each), 0)
  console.log('\n== summary')
  for (const { name, passed, failed, skipped, seconds } of outcomes) {
    const mark = failed > 0 ? 'FAILED' : passed > 0 ? 'passed' : 'SKIPPED'
    const counts = `${passed} passed, ${failed} failed, ${skipped} skipped`
    console.log(`${mark.padEnd(8)} ${name} (${counts}; ${seconds.toFixed(1)} s)`)
  }
  const skipped = sum((each) => each.skipped)
  if (skipped > 0) console.log(`${skipped} SKIPPED: search the output for this word to see why`)
  const failed = sum((each) => each.failed)
  process.exitCode = failed > 0 ? 1 : 0
  console.log(`${sum((each) => each.passed)} passed, ${failed} failed`)
}

await main(process.argv.slice(2))
