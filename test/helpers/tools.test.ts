import test, { type ExecutionContext } from 'ava'
import { attempt, requireTool, run } from './tools.ts'

interface Record {
  passed: number
  readonly failed: string[]
  readonly logged: string[]
}

/** Stands for the context of a test whose fate is looked at. */
function recordingContext(): { context: ExecutionContext; record: Record } {
  const record: Record = { passed: 0, failed: [], logged: [] }
  const context = {
    pass: () => record.passed++,
    fail: (message: string) => record.failed.push(message),
    log: (message: string) => record.logged.push(message),
  }
  return { context: context as unknown as ExecutionContext, record }
}

test.serial('a tool that is there lets the test go on', (t) => {
  const { context, record } = recordingContext()
  t.true(requireTool(context, 'sh', 'cat'))
  t.deepEqual(record, { passed: 0, failed: [], logged: [] })
})

test.serial('a missing tool skips the test and says so', (t) => {
  const { context, record } = recordingContext()
  withContinuousIntegration(t, '', () => t.false(requireTool(context, 'sh', 'no-such-tool')))
  t.deepEqual(record, { passed: 1, failed: [], logged: ['SKIPPED: no no-such-tool'] })
})

test.serial('a missing tool fails the test where CI is set', (t) => {
  const { context, record } = recordingContext()
  withContinuousIntegration(t, 'true', () => t.false(requireTool(context, 'no-such-tool')))
  t.deepEqual(record, { passed: 0, failed: ['no no-such-tool'], logged: [] })
})

function withContinuousIntegration(t: ExecutionContext, value: string, body: () => void): void {
  const before = process.env.CI
  process.env.CI = value
  t.teardown(() => {
    if (before === undefined) delete process.env.CI
    else process.env.CI = before
  })
  body()
}

test('run gives both outputs of a program and feeds its input', async (t) => {
  const result = await run(t, 'sh', ['-c', 'cat; echo problem >&2'], { input: 'text' })
  t.deepEqual(result, { status: 0, signal: null, stdout: 'text', stderr: 'problem\n' })
})

test('run throws what the program said if its exit status is not 0', async (t) => {
  await t.throwsAsync(run(t, 'sh', ['-c', 'echo because >&2; exit 3']), {
    message: /exit status 3\nbecause/,
  })
})

test('attempt gives the exit status, whatever it is', async (t) => {
  const result = await attempt(t, 'sh', ['-c', 'exit 7'])
  t.is(result.status, 7)
})

test('a program that does not end is killed at its time limit', async (t) => {
  await t.throwsAsync(attempt(t, 'sleep', ['1000'], { timeLimitMs: 50 }), {
    message: /^50 ms passed: sleep 1000: SIGKILL/,
  })
})
