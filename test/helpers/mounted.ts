/**
 * A file system for one test, in a mount namespace of its own: nobody else sees it, and it is gone
 * when the test ends. Needs root, or a kernel that lets a user mount in a namespace of theirs.
 *
 *   const mounted = await mount(t, 'mount -t tmpfs -o size=8m none "$1"')
 *   const server = await serve(t, [...], { launcher: mounted.launcher })
 */
import { spawn } from 'node:child_process'
import { mkdirSync } from 'node:fs'
import { join } from 'node:path'
import type { ExecutionContext } from 'ava'
import { tempDirectory } from './temp.ts'
import { run, type RunResult } from './tools.ts'

export interface Mounted {
  /** Where it is mounted, as programs inside see it. */
  readonly directory: string
  /** A program with its arguments that begins another inside. */
  readonly launcher: readonly string[]
  /** The path of a file in it, as this process sees it. */
  outside(...names: readonly string[]): string
  /** Runs a script inside; `$1` is the directory. */
  run(script: string): Promise<RunResult>
}

const NAMESPACES = [
  { unshare: ['-m'], enter: ['-m'] },
  { unshare: ['-r', '-m'], enter: ['-U', '-m', '--preserve-credentials'] },
]

/** @param script mounts something on the directory `$1`. @returns null: that cannot be done here */
export async function mount(t: ExecutionContext, script: string): Promise<Mounted | null> {
  const directory = join(tempDirectory(t), 'mount')
  mkdirSync(directory)
  for (const { unshare, enter } of NAMESPACES) {
    const pid = await hold(t, [...unshare, 'sh', '-ec', `${script}\n${HOLD}`, 'sh', directory])
    if (pid === null) continue
    const launcher = ['nsenter', ...enter, '-t', `${pid}`, '--']
    return {
      directory,
      launcher,
      outside: (...names) => join(`/proc/${pid}/root`, directory, ...names),
      run: (text) =>
        run(t, launcher[0], [...launcher.slice(1), 'sh', '-ec', text, 'sh', directory]),
    }
  }
  t.log(`no file system can be mounted here: ${script}`)
  return null
}

/** The namespace lives as long as this. */
const HOLD = 'echo mounted\nexec sleep 3600'

/** @returns the process, or null: it has ended */
function hold(t: ExecutionContext, args: readonly string[]): Promise<number | null> {
  const child = spawn('unshare', args, { stdio: ['ignore', 'pipe', 'ignore'] })
  t.teardown(() => child.kill('SIGKILL'))
  return new Promise((resolve) => {
    child.once('error', () => resolve(null))
    child.once('close', () => resolve(null))
    child.stdout.once('data', () => resolve(child.pid ?? null))
  })
}
