/**
 * A run: the selected servers, each started on data of its own, and the workloads, each of which
 * visits the servers in turn, round after round. Machines are noisy: what is compared later is
 * only what happened within one round. A visit that fails leaves a gap, and the run goes on.
 */
import { copyVisit, createRandomFile, fioFileVisit, fioVisit } from './client-visit.ts'
import { whyImpossible } from './clients.ts'
import { fillDisk, touchDisk, loadVisit, type LoadTool } from './load-visit.ts'
import { resetMemoryPeak } from './process-usage.ts'
import type { Row, Visit } from './results.ts'
import { RunningServer } from './running-server.ts'
import { REFERENCE, type ServerKind } from './servers.ts'
import { type Workload, writes } from './workloads.ts'

export interface Plan {
  /** Every page is read before the rounds of a workload that reads. */
  readonly touches: boolean
  readonly rounds: number
  /** Of each visit. */
  readonly seconds: number
  readonly diskBytes: number
  /** When the process is as old as this, workloads still to come get fewer rounds, at least 1. */
  readonly secondsMax: number
  readonly kinds: readonly ServerKind[]
  readonly workloads: readonly Workload[]
}

export interface Listener {
  progress(text: string): void
  /** As soon as it is complete. */
  row(row: Row): void
}

/** The bare file under fio: no server, but in the cold rows the one to be compared with. */
export const BARE_FILE = { name: 'file', title: 'fio on a bare file', version: '', isOurs: false }

/** A first visit that does not count, long enough for V8 to compile what the workload uses. */
const WARM_UP_SECONDS = 0.5

interface Host {
  readonly name: string
  /** null: no server. */
  readonly server: RunningServer | null
}

export class Measurement {
  readonly rows: Row[] = []
  readonly skipped: string[] = []
  readonly failures: string[] = []
  readonly #tool: LoadTool
  readonly #plan: Plan
  readonly #listener: Listener
  /** Names of those whose disk is as fillDisk left it, or rewritten with the same tags. */
  readonly #tagged = new Set<string>()
  #workloadsLeft = 0
  #randomFile: string | null = null

  constructor(tool: LoadTool, plan: Plan, listener: Listener) {
    this.#tool = tool
    this.#plan = plan
    this.#listener = listener
  }

  async run(): Promise<void> {
    const { kinds, workloads } = this.#plan
    const possible: Workload[] = []
    for (const workload of workloads) {
      const reason = await whyImpossible(this.#tool.workspace, workload)
      if (reason === null) possible.push(workload)
      else this.skipped.push(`${workload.title}: ${reason}`)
    }
    this.#workloadsLeft = possible.length
    for (const kind of kinds) {
      await RunningServer.prepare(this.#tool.workspace, kind, this.#plan.diskBytes)
    }
    await this.#measureAll(
      possible.filter(({ isCold }) => !isCold),
      kinds,
    )
    await this.#measureCold(possible.filter(({ isCold }) => isCold))
  }

  async #measureCold(workloads: readonly Workload[]): Promise<void> {
    const kinds = this.#plan.kinds.filter(({ servesCold }) => servesCold)
    if (kinds.some(({ isOurs }) => isOurs)) {
      await this.#measureAll(workloads, kinds)
      return
    }
    const reason = 'the help of our `serve --cache` lists no mode `none`, or ours is not selected.'
    this.skipped.push(...workloads.map(({ title }) => `${title}: ${reason}`))
  }

  async #measureAll(workloads: readonly Workload[], kinds: readonly ServerKind[]): Promise<void> {
    if (workloads.length === 0) return
    const isCold = workloads[0].isCold
    const servers: RunningServer[] = []
    for (const kind of kinds) {
      const server = await this.#start(kind, isCold)
      if (server !== null) servers.push(server)
    }
    // An engine may be impossible on this machine, but not all of them.
    if (kinds.some((kind) => kind.isOurs) && !servers.some(({ kind }) => kind.isOurs)) {
      this.failures.push('Our server did not start.')
    }
    const hosts: Host[] = servers.map((server) => ({ name: server.kind.name, server }))
    if (isCold) hosts.unshift({ name: BARE_FILE.name, server: null })
    for (const workload of workloads) {
      const leftMs = this.#plan.secondsMax * 1000 - performance.now()
      const row = await this.#measure(workload, hosts, leftMs / this.#workloadsLeft--)
      this.rows.push(row)
      this.#listener.row(row)
    }
    for (const server of servers) await server.stop()
  }

  async #start(kind: ServerKind, isCold: boolean): Promise<RunningServer | null> {
    this.#listener.progress(`starting ${kind.title}`)
    try {
      const { workspace, diskBytes } = this.#tool
      const server = await RunningServer.start(workspace, kind, diskBytes, isCold)
      await this.#fill(server)
      return server
    } catch (error) {
      const reason = `${kind.title}: ${(error as Error).message}`
      if (!this.skipped.includes(reason)) this.skipped.push(reason)
      return null
    }
  }

  async #fill(server: RunningServer): Promise<void> {
    const { name, title } = server.kind
    if (this.#tagged.has(name)) return
    this.#listener.progress(`filling the disk of ${title}`)
    await fillDisk(this.#tool, server)
    this.#tagged.add(name)
  }

  /** @param shareMs of the time that is left; a round is begun only if it should fit */
  async #measure(workload: Workload, hosts: readonly Host[], shareMs: number): Promise<Row> {
    const start = performance.now()
    await this.#warmUp(workload, hosts)
    const visits = new Map<string, (Visit | null)[]>(hosts.map(({ name }) => [name, []]))
    let roundMs = 0
    for (let round = 0; round < this.#plan.rounds; round++) {
      const roundStart = performance.now()
      if (round > 0 && roundStart - start + roundMs > shareMs) break
      // Nobody is always the first, or always after the same one.
      const first = round % Math.max(1, hosts.length)
      for (const host of [...hosts.slice(first), ...hosts.slice(0, first)]) {
        this.#listener.progress(`${workload.title}: round ${round + 1}, ${host.name}`)
        const visit = await this.#tryVisit(host, workload, this.#plan.seconds, round + 1)
        visits.get(host.name)?.push(visit)
      }
      roundMs = performance.now() - roundStart
    }
    const { name, title, operationBytes } = workload
    const reference = workload.isCold ? BARE_FILE.name : REFERENCE
    return {
      name,
      title,
      operationBytes,
      reference: visits.has(reference) ? reference : null,
      visits: Object.fromEntries(visits),
    }
  }

  async #warmUp(workload: Workload, hosts: readonly Host[]): Promise<void> {
    for (const host of hosts) {
      if (host.server === null) continue
      this.#listener.progress(`${workload.title}: warming up ${host.name}`)
      const mustTouch = this.#plan.touches && !workload.isCold && workload.readPercent > 0
      if (mustTouch) await this.#tryTouch(host, workload)
      if (workload.client === 'load') {
        await this.#tryVisit(host, workload, WARM_UP_SECONDS, 0)
      }
      resetMemoryPeak(host.server.pid)
    }
  }

  async #tryTouch(host: Host, workload: Workload): Promise<void> {
    try {
      if (host.server !== null) await touchDisk(this.#tool, host.server)
    } catch (error) {
      this.#fail(workload, host, error as Error)
    }
  }

  async #tryVisit(
    host: Host,
    workload: Workload,
    seconds: number,
    round: number,
  ): Promise<Visit | null> {
    try {
      const visit = await this.#visit(host, workload, seconds, round)
      await host.server?.settle(writes(workload))
      return visit
    } catch (error) {
      this.#fail(workload, host, error as Error)
      return null
    }
  }

  #fail(workload: Workload, host: Host, { message }: Error): void {
    const log = host.server?.log.trim() ?? ''
    const reason = `${message}${log === '' ? '' : ` (its log: ${log})`}`
    this.failures.push(`${workload.title}, ${host.name}: ${reason}`)
  }

  async #visit(host: Host, workload: Workload, seconds: number, round: number): Promise<Visit> {
    const { workspace, diskBytes } = this.#tool
    const { server } = host
    // fio takes no seed of 0.
    const seed = round + 1
    if (server === null) {
      return fioFileVisit(workspace, this.#file(), workload, seconds, seed)
    }
    if (workload.client === 'load') {
      await this.#fill(server)
      return loadVisit(this.#tool, server, workload, seconds, seed)
    }
    if (writes(workload)) this.#tagged.delete(server.kind.name)
    if (workload.client === 'fio') return fioVisit(workspace, server, workload, seconds, seed)
    return copyVisit(workspace, server, workload, this.#file(), diskBytes)
  }

  /** A file of random bytes as large as the disks. */
  #file(): string {
    if (this.#randomFile === null) {
      this.#randomFile = this.#tool.workspace.path('random')
      createRandomFile(this.#randomFile, this.#tool.diskBytes)
    }
    return this.#randomFile
  }
}
