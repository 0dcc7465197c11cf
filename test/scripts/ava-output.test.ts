import { symlinkSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import test, { type ExecutionContext } from 'ava'
import { AvaOutput } from '../../scripts/ava-output.ts'
import { tempDirectory } from '../helpers/temp.ts'
import { attempt } from '../helpers/tools.ts'

const REPOSITORY = join(import.meta.dirname, '../..')

/** What a run of ava over test files with these bodies is counted as. */
async function count(
  t: ExecutionContext,
  bodies: readonly string[],
  timeout = '1m',
): Promise<object> {
  const directory = tempDirectory(t)
  symlinkSync(join(REPOSITORY, 'node_modules'), join(directory, 'node_modules'))
  writeFileSync(join(directory, 'package.json'), '{"type":"module"}')
  bodies.forEach((body, index) => {
    writeFileSync(join(directory, `${index}.test.js`), `import test from 'ava'\n${body}`)
  })
  const ava = join(REPOSITORY, 'node_modules/ava/entrypoints/cli.mjs')
  const result = await attempt(t, process.execPath, [ava, '--timeout', timeout], {
    cwd: directory,
    env: { FORCE_COLOR: '1' },
  })
  const output = new AvaOutput()
  for (const line of result.stdout.split('\n')) output.line(line)
  output.finish(result.status)
  return { ...output }
}

// A run of ava costs a second of processor time, so each run holds several cases.
const PASSES = "test('passes', (t) => t.pass())\n"

test.serial('only what has really passed is counted as passed', async (t) => {
  const bodies = [
    PASSES,
    `${PASSES}test('prints', (t) => { console.log('✔ a'); console.log('ok 1 - a'); t.pass() })\n`,
    `${PASSES}test.skip('skipped', (t) => t.pass())\n`,
    `${PASSES}test('no tool', (t) => { t.log('SKIPPED: no tool'); t.pass() })\n`,
  ]
  t.deepEqual(await count(t, bodies), { passed: 5, failed: 0, skipped: 2 })
})

test.serial('a failed test, a crash, an exit and an empty file are failures', async (t) => {
  const bodies = [
    // One, and the other test of the file counts as well.
    `${PASSES}test('fails', (t) => t.is(1, 2))\n`,
    // Two: the exception and the exit status it leads to.
    "test('late', () => new Promise(() => setTimeout(() => { throw new Error('late') }, 50)))\n",
    // Two: the call and the exit status.
    "test('exits', () => process.exit(3))\n",
    // Two: Node cannot read it.
    '(',
    // One: no tests.
    '',
  ]
  t.deepEqual(await count(t, bodies), { passed: 1, failed: 8, skipped: 0 })
})

test.serial('a test that never ends is a failure', async (t) => {
  const body = `${PASSES}test('hangs', () => new Promise(() => { setInterval(() => {}, 100) }))\n`
  t.deepEqual(await count(t, [body], '3s'), { passed: 1, failed: 1, skipped: 0 })
})

test('a run that failed without a word has one failure', (t) => {
  const output = new AvaOutput()
  output.line('  ✔ a')
  output.finish(1)
  t.deepEqual({ ...output }, { passed: 1, failed: 1, skipped: 0 })
})

test('a run of nothing is a failure', (t) => {
  const output = new AvaOutput()
  output.finish(0)
  t.is(output.failed, 1)
})
