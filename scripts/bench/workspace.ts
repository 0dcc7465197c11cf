/**
 * The temporary directory of a run and every process started for it. Whatever way the run ends, by
 * its own or by a signal, the processes end and the directory goes: `remove` may be called twice.
 */
import { spawn, type ChildProcess } from 'node:child_process'
import { mkdirSync, mkdtempSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { delimiter, join, resolve } from 'node:path'

/** sbin, where some distributions have nbd-server, is not in everyone's PATH. */
const PATH = [process.env.PATH ?? '', '/usr/sbin', '/sbin'].join(delimiter)

/** The path of a unix socket has at most 107 bytes; the rest is for names inside. */
const PREFIX_CHARACTERS_MAX = 60

const STDERR_CHARACTERS_MAX = 2000

export interface Output {
  readonly status: number | null
  readonly stdout: string
  readonly stderr: string
}

export class Workspace {
  readonly directory: string
  readonly #processes = new Set<number>()

  /** @param parent default: that of the system */
  constructor(parent = tmpdir()) {
    const prefix = join(resolve(parent), 'chunknbd-bench-')
    if (prefix.length > PREFIX_CHARACTERS_MAX) {
      throw new Error(`${prefix}: too long for sockets in it; use a shorter --directory`)
    }
    mkdirSync(parent, { recursive: true })
    this.directory = mkdtempSync(prefix)
  }

  path(name: string): string {
    return join(this.directory, name)
  }

  /** Standard input and output are pipes, which the caller must use. */
  spawn(command: string, args: readonly string[]): ChildProcess {
    const child = spawn(command, args, {
      cwd: this.directory,
      env: { ...process.env, PATH },
      stdio: ['pipe', 'pipe', 'pipe'],
    })
    const { pid } = child
    if (pid !== undefined) {
      this.adopt(pid)
      child.once('exit', () => this.release(pid))
    }
    // A program that has ended is judged by its exit status.
    child.stdin?.on('error', () => {})
    return child
  }

  /** A process that made itself a daemon: it is ours to end. */
  adopt(pid: number): void {
    this.#processes.add(pid)
  }

  release(pid: number): void {
    this.#processes.delete(pid)
  }

  /** Runs a program to its end. Throws only if it cannot be started. */
  attempt(command: string, args: readonly string[]): Promise<Output> {
    const child = this.spawn(command, args)
    child.stdin?.end()
    let stdout = ''
    child.stdout?.setEncoding('utf8').on('data', (text: string) => (stdout += text))
    const stderr = keepTail(child)
    return new Promise((resolve, reject) => {
      child.once('error', reject)
      child.once('close', (status) => resolve({ status, stdout, stderr: stderr() }))
    })
  }

  /** Runs a program to its end. @returns its standard output; throws unless its status is 0 */
  async run(command: string, args: readonly string[]): Promise<string> {
    const { status, stdout, stderr } = await this.attempt(command, args)
    if (status !== 0) throw new Error(`${command}: exit status ${status}: ${stderr.trim()}`)
    return stdout
  }

  /** At once, for signals: nobody is asked to end. */
  remove(): void {
    for (const pid of this.#processes) {
      try {
        process.kill(pid, 'SIGKILL')
      } catch {
        continue
      }
    }
    this.#processes.clear()
    rmSync(this.directory, { recursive: true, force: true, maxRetries: 20, retryDelay: 50 })
  }
}

/** @returns a function that gives the end of what the child has written to its standard error */
export function keepTail(child: ChildProcess): () => string {
  let tail = ''
  child.stderr?.setEncoding('utf8').on('data', (text: string) => {
    tail = (tail + text).slice(-STDERR_CHARACTERS_MAX)
  })
  return () => tail
}
