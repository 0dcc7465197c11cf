/**
 * The real server as a process of its own, for one test.
 * Ready when it has printed its URIs; killed at the end of the test if it still runs.
 *
 *   const server = await serve(t, ['disk.chunkdisk'], { cwd: directory })
 *   await run(t, 'nbdinfo', [server.uri])
 *   t.is(await server.stop(), 0)
 */
import { spawn, type ChildProcessByStdio } from 'node:child_process'
import { once } from 'node:events'
import { join } from 'node:path'
import type { Readable } from 'node:stream'
import type { ExecutionContext } from 'ava'
import { tempDirectory } from './temp.ts'

const START_LIMIT_MS = 30_000
const STOP_LIMIT_MS = 30_000
const REPOSITORY = join(import.meta.dirname, '../..')

/** Node's arguments that run the command line: from its sources, or as built (`npm test`). */
export const COMMAND_LINE: readonly string[] =
  process.env.CHUNKNBD_BUILT === '1'
    ? [join(REPOSITORY, 'dist/cli/main.js')]
    : ['--import', import.meta.resolve('tsx'), join(REPOSITORY, 'cli/main.ts')]

export interface ServeOptions {
  readonly cwd?: string
  readonly env?: Readonly<Record<string, string>>
  /** Lines to wait for on standard output: one for each export and address. */
  readonly uriCount?: number
  /** A program with its arguments that ends up as the server; what to run is added to them. */
  readonly launcher?: readonly string[]
  /** Kills it at once, also before it is ready. */
  readonly signal?: AbortSignal
}

export interface Served {
  /** The first URI the server printed. */
  readonly uri: string
  /** All URIs it has printed by now. */
  readonly uris: readonly string[]
  readonly pid: number
  /** The log so far. */
  log(): string
  /** Resolves when the log has text that matches; an error if the server ends before. */
  logged(pattern: RegExp): Promise<void>
  /** Exit status, or the signal that ended it, whoever sent it. */
  readonly ended: Promise<number | NodeJS.Signals>
  /** SIGTERM, then waits for the end. @returns the exit status, or the signal that ended it */
  stop(): Promise<number | NodeJS.Signals>
  /** SIGKILL, as a crash would end it. */
  kill(): Promise<void>
}

/**
 * @param args arguments of `chunknbd serve`; without a `--listen` among them the server listens
 *   on a unix socket in a directory of its own (a launcher is expected to bring a socket)
 */
export async function serve(
  t: ExecutionContext,
  args: readonly string[],
  options: ServeOptions = {},
): Promise<Served> {
  const knows = args.includes('--listen') || args.includes('--connect')
  const listen = knows || options.launcher !== undefined ? [] : ['--listen', unixUri(t)]
  return startCommand(t, ['serve', ...args, ...listen], options)
}

/** Any command that goes on until it is told to stop. @param args its name first */
export async function startCommand(
  t: ExecutionContext,
  args: readonly string[],
  options: ServeOptions = {},
): Promise<Served> {
  const { launcher = [] } = options
  const words = [...launcher, process.execPath, ...COMMAND_LINE, ...args]
  const child = spawn(words[0], words.slice(1), {
    cwd: options.cwd,
    env: { ...process.env, ...options.env },
    stdio: ['ignore', 'pipe', 'pipe'],
  })
  t.teardown(() => end(child, 'SIGKILL'))
  options.signal?.addEventListener('abort', () => child.kill('SIGKILL'))
  let log = ''
  child.stderr.setEncoding('utf8').on('data', (text: string) => (log += text))
  const uris: string[] = []
  await ready(child, uris, options.uriCount ?? 1).catch((error: Error) => {
    throw new Error(`chunknbd ${args.join(' ')}: ${error.message}\n${log}`)
  })
  return {
    uri: uris[0],
    uris,
    pid: child.pid ?? -1,
    log: () => log,
    logged: (pattern) => logged(child, () => log, pattern),
    ended: closed(child),
    stop: () => end(child, 'SIGTERM'),
    kill: async () => void (await end(child, 'SIGKILL')),
  }
}

function unixUri(t: ExecutionContext): string {
  return `nbd+unix:///?socket=${join(tempDirectory(t), 'nbd.sock')}`
}

type Child = ChildProcessByStdio<null, Readable, Readable>

function ready(child: Child, uris: string[], uriCount: number): Promise<void> {
  return new Promise((resolve, reject) => {
    if (uriCount === 0) return resolve()
    const timer = setTimeout(
      () => reject(new Error(`not ready after ${START_LIMIT_MS} ms`)),
      START_LIMIT_MS,
    )
    let partial = ''
    child.stdout.setEncoding('utf8').on('data', (text: string) => {
      const lines = (partial + text).split('\n')
      partial = lines.pop() ?? ''
      uris.push(...lines)
      if (uris.length < uriCount) return
      clearTimeout(timer)
      resolve()
    })
    child.once('error', reject)
    child.once('close', (status, signal) => {
      clearTimeout(timer)
      reject(new Error(`it ended (${signal ?? `exit status ${status}`}) before it was ready`))
    })
  })
}

function logged(child: Child, log: () => string, pattern: RegExp): Promise<void> {
  return new Promise((resolve, reject) => {
    const look = (): void => {
      if (!pattern.test(log())) return
      child.stderr.off('data', look)
      child.off('close', fail)
      resolve()
    }
    const fail = (): void => reject(new Error(`ended without logging ${pattern}:\n${log()}`))
    child.stderr.on('data', look)
    child.once('close', fail)
    look()
  })
}

async function closed(child: Child): Promise<number | NodeJS.Signals> {
  if (child.exitCode === null && child.signalCode === null) await once(child, 'close')
  return child.signalCode ?? child.exitCode ?? -1
}

async function end(child: Child, signal: NodeJS.Signals): Promise<number | NodeJS.Signals> {
  if (child.exitCode === null && child.signalCode === null) {
    child.kill(signal)
    const timer = setTimeout(() => child.kill('SIGKILL'), STOP_LIMIT_MS)
    await closed(child)
    clearTimeout(timer)
  }
  return closed(child)
}
