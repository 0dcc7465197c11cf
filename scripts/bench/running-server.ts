/** A server that runs, on data of its own in the workspace. */
import { mkdirSync, readFileSync, rmSync } from 'node:fs'
import net from 'node:net'
import { join } from 'node:path'
import { setTimeout as delay } from 'node:timers/promises'
import { cpuSeconds } from './process-usage.ts'
import { pidFile, type Place, type ServerKind } from './servers.ts'
import { keepTail, type Workspace } from './workspace.ts'

const START_MS_MAX = 15_000
const STOP_MS_MAX = 30_000
const QUIET_MS_MAX = 5_000
const LOOK_MS = 20

export class RunningServer {
  readonly kind: ServerKind
  readonly socket: string
  readonly pid: number
  readonly #workspace: Workspace
  readonly #stderr: () => string

  /** Makes the disk; it is there for every start of this kind in this workspace. */
  static async prepare(workspace: Workspace, kind: ServerKind, diskBytes: number): Promise<void> {
    const place = placeOf(workspace, kind, diskBytes)
    mkdirSync(place.directory)
    await kind.prepare(place)
  }

  /** @param isCold past every cache */
  static async start(
    workspace: Workspace,
    kind: ServerKind,
    diskBytes: number,
    isCold: boolean,
  ): Promise<RunningServer> {
    const place = placeOf(workspace, kind, diskBytes)
    // What an earlier start of this kind may have left behind.
    rmSync(place.socket, { force: true })
    const [program, ...args] = kind.command(place, isCold)
    const child = workspace.spawn(program, args)
    child.stdin?.end()
    child.stdout?.resume()
    const stderr = keepTail(child)
    let end: string | null = null
    child.once('error', (error) => (end = error.message))
    child.once('close', (status, signal) => (end ??= `it ended: ${signal ?? status}`))
    const hasEnded = (): string | null => (kind.isDaemon ? null : end)
    if (!(await isListening(place.socket, hasEnded))) {
      child.kill('SIGKILL')
      const log = stderr()
        .trim()
        .replaceAll(/\s*\n\s*/g, '; ')
      throw new Error(`${hasEnded() ?? 'it does not listen'}${log === '' ? '' : ` (${log})`}`)
    }
    const pid = kind.isDaemon ? Number(readFileSync(pidFile(place), 'utf8')) : (child.pid ?? -1)
    workspace.adopt(pid)
    return new RunningServer(workspace, kind, place.socket, pid, stderr)
  }

  private constructor(
    workspace: Workspace,
    kind: ServerKind,
    socket: string,
    pid: number,
    stderr: () => string,
  ) {
    this.#workspace = workspace
    this.kind = kind
    this.socket = socket
    this.pid = pid
    this.#stderr = stderr
  }

  get uri(): string {
    return `nbd+unix:///${this.kind.exportName}?socket=${this.socket}`
  }

  /** The end of what it has printed to its standard error. */
  get log(): string {
    return this.#stderr()
  }

  /**
   * Waits until nothing of the last visit is left to do, neither for the kernel (all dirty pages
   * of the file system are written) nor for the server: ours flushes when a client has gone.
   */
  async settle(hasWritten: boolean): Promise<void> {
    if (hasWritten) await this.#workspace.run('sync', ['-f', this.#workspace.directory])
    const deadline = performance.now() + QUIET_MS_MAX
    let before = -1
    for (let used = cpuSeconds(this.pid); used !== before; used = cpuSeconds(this.pid)) {
      if (performance.now() > deadline) return
      before = used
      await delay(LOOK_MS)
    }
  }

  async stop(): Promise<void> {
    const deadline = performance.now() + STOP_MS_MAX
    send(this.pid, 'SIGTERM')
    while (send(this.pid, 0) && performance.now() < deadline) await delay(LOOK_MS)
    send(this.pid, 'SIGKILL')
    this.#workspace.release(this.pid)
  }
}

function placeOf(workspace: Workspace, kind: ServerKind, diskBytes: number): Place {
  const directory = workspace.path(`data-${kind.name}`)
  return { directory, socket: join(directory, 'sock'), diskBytes }
}

/** @param signal 0: only look. @returns false if there is no such process any more */
function send(pid: number, signal: NodeJS.Signals | 0): boolean {
  try {
    return process.kill(pid, signal)
  } catch {
    return false
  }
}

async function isListening(socket: string, hasEnded: () => string | null): Promise<boolean> {
  const deadline = performance.now() + START_MS_MAX
  while (performance.now() < deadline && hasEnded() === null) {
    if (await canConnect(socket)) return true
    await delay(LOOK_MS)
  }
  return false
}

function canConnect(path: string): Promise<boolean> {
  return new Promise((resolve) => {
    const socket = net.connect({ path })
    socket.once('connect', () => socket.destroy())
    socket.once('error', () => socket.destroy())
    socket.once('close', (hadError) => resolve(!hadError))
  })
}
