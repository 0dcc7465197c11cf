/**
 * Programs from outside: the real clients and peers that tests talk to.
 *
 *   if (!requireTool(t, 'nbdinfo', 'nbdcopy')) return
 *   const { stdout } = await run(t, 'nbdinfo', ['--json', uri])
 *
 * A missing tool skips the test, loudly; where CI is set it fails it. No program outlives its
 * test or its time limit.
 */
import { spawn } from 'node:child_process'
import { accessSync, constants, readFileSync } from 'node:fs'
import { delimiter, join } from 'node:path'
import type { ExecutionContext } from 'ava'

/** The runner counts the log lines that begin with this (scripts/ava-output.ts). */
const SKIPPED = 'SKIPPED:'

/** sbin is not in every user's PATH, and Debian's libnbd binding belongs to /usr/bin/python3. */
const TOOL_PATH = ['/usr/bin', '/bin', process.env.PATH ?? '', '/usr/sbin', '/sbin'].join(delimiter)

const TIME_LIMIT_MS = 60_000

export interface RunOptions {
  readonly cwd?: string
  /** Added to the environment. */
  readonly env?: Readonly<Record<string, string>>
  /** Written to standard input, which is closed afterwards; without it, it is empty. */
  readonly input?: string | Uint8Array
  /** The program is killed then, and the call throws. */
  readonly timeLimitMs?: number
}

export interface RunResult {
  /** Exit status, or null if a signal ended the program. */
  readonly status: number | null
  readonly signal: NodeJS.Signals | null
  readonly stdout: string
  readonly stderr: string
}

/** @returns false if one is missing: the test must return at once, the rest is done. */
export function requireTool(t: ExecutionContext, ...names: readonly string[]): boolean {
  const missing = names.filter((name) => findTool(name) === null)
  if (missing.length === 0) return true
  const reason = `no ${missing.map(describeTool).join(', ')}`
  if (isContinuousIntegration()) {
    t.fail(reason)
  } else {
    t.log(`${SKIPPED} ${reason}`)
    t.pass()
  }
  return false
}

/** Runs a program to its end. Throws unless its exit status is 0. */
export async function run(
  t: ExecutionContext,
  command: string,
  args: readonly string[],
  options: RunOptions = {},
): Promise<RunResult> {
  const result = await attempt(t, command, args, options)
  if (result.status !== 0) throw new Error(describeRun(command, args, result))
  return result
}

/** Runs a program to its end, whatever its exit status. Throws if it cannot be started. */
export function attempt(
  t: ExecutionContext,
  command: string,
  args: readonly string[],
  options: RunOptions = {},
): Promise<RunResult> {
  const child = spawn(command, args, {
    cwd: options.cwd,
    env: { ...process.env, PATH: TOOL_PATH, ...options.env },
  })
  t.teardown(() => child.kill('SIGKILL'))
  const stdout: Buffer[] = []
  const stderr: Buffer[] = []
  child.stdout.on('data', (chunk: Buffer) => stdout.push(chunk))
  child.stderr.on('data', (chunk: Buffer) => stderr.push(chunk))
  // A program that ends without reading its input is judged by its exit status.
  child.stdin.on('error', () => {})
  child.stdin.end(options.input)

  const timeLimitMs = options.timeLimitMs ?? TIME_LIMIT_MS
  let timedOut = false
  const timer = setTimeout(() => {
    timedOut = true
    child.kill('SIGKILL')
  }, timeLimitMs)
  return new Promise((resolve, reject) => {
    child.once('error', reject)
    child.once('close', (status, signal) => {
      clearTimeout(timer)
      const text = {
        stdout: Buffer.concat(stdout).toString(),
        stderr: Buffer.concat(stderr).toString(),
      }
      const result = { status, signal, ...text }
      if (timedOut)
        reject(new Error(`${timeLimitMs} ms passed: ${describeRun(command, args, result)}`))
      else resolve(result)
    })
  })
}

export function isContinuousIntegration(): boolean {
  return !['', 'false', '0'].includes(process.env.CI ?? '')
}

/** @returns the path of an executable file, or null */
export function findTool(name: string): string | null {
  for (const directory of TOOL_PATH.split(delimiter)) {
    const path = join(directory, name)
    try {
      accessSync(path, constants.X_OK)
      return path
    } catch {
      continue
    }
  }
  return null
}

function describeTool(name: string): string {
  const list = readFileSync(join(import.meta.dirname, '../../scripts/debian-packages.txt'), 'utf8')
  const row = list.split('\n').find((line) => line.split(/\s+/)[1] === name)
  return row === undefined ? name : `${name} (Debian package ${row.split(/\s+/)[0]})`
}

function describeRun(command: string, args: readonly string[], result: RunResult): string {
  const end = result.signal ?? `exit status ${result.status}`
  return `${[command, ...args].join(' ')}: ${end}\n${result.stderr}${result.stdout}`
}
