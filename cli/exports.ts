/** The exports of a server, in the order they are listed, and what becomes of them. */
import { IDLE_MS } from '../cache/limits.ts'
import type { Io } from '../io/io.ts'
import type { AccessPolicy } from '../nbd/access.ts'
import type { Export, ExportTable } from '../nbd/export.ts'
import type { Peer } from '../nbd/peer.ts'
import { refusalOf } from './access-rules.ts'
import { type Changes, changesTo } from './export-changes.ts'
import type { ExportSettings } from './settings.ts'
import { closeStack, openStack, type SharedOptions, type Stack } from './stack.ts'

/** What there is to be. */
export interface WantedExports {
  readonly exports: readonly ExportSettings[]
  /** Name of the one that clients get who name none; null: none. */
  readonly defaultExport: string | null
}

export class Exports implements ExportTable, AccessPolicy {
  #defaultExport: string | null = null
  #stacks = new Map<string, Stack>()
  readonly #io: Io
  readonly #sweep: NodeJS.Timeout
  /** A change that is going on. */
  #change: Promise<unknown> = Promise.resolve()
  #isClosing = false

  constructor(io: Io) {
    this.#io = io
    this.#sweep = setInterval(() => {
      for (const { cache } of this.#stacks.values()) cache?.sweep()
    }, IDLE_MS)
    this.#sweep.unref()
  }

  find(name: string): Export | null {
    const wanted = name === '' ? this.#defaultExport : name
    return wanted === null ? null : (this.#stacks.get(wanted)?.export ?? null)
  }

  list(): readonly Export[] {
    return [...this.#stacks.values()].map((stack) => stack.export)
  }

  settings(): readonly ExportSettings[] {
    return [...this.#stacks.values()].map((stack) => stack.settings)
  }

  refusal({ name }: Export, peer: Peer): string | null {
    const stack = this.#stacks.get(name)
    // Found a moment ago, and gone since: nobody's.
    return stack === undefined ? 'it is gone' : refusalOf(stack.settings.access, peer)
  }

  isListed({ name }: Export): boolean {
    return this.#stacks.get(name)?.settings.access.hidden === false
  }

  /** Opens all of them, at the beginning. @throws Error if one cannot be opened */
  async open({ exports, defaultExport }: WantedExports, shared: SharedOptions): Promise<void> {
    for (const each of exports) {
      this.#stacks.set(each.name, await openStack(this.#io, each, shared))
    }
    this.#defaultExport = defaultExport
  }

  /**
   * Makes the exports what they are to be, while they are served. Those that stay as they are go on
   * undisturbed, others' rules count for who comes from now on. What is new is opened first: if
   * that fails, nothing has changed. Then those that go lose their clients, each after its answers
   * and a flush. One that is opened again, and cannot be, comes back as it was, if that can be.
   * @param detach ends the connections of an export that cannot be found any more
   * @returns what was changed
   * @throws Error if what is new cannot be opened
   */
  change(
    wanted: WantedExports,
    shared: SharedOptions,
    detach: (entry: Export) => Promise<void>,
  ): Promise<Changes> {
    const change = this.#change.then(() => this.#changeNow(wanted, shared, detach))
    this.#change = change.catch(() => {})
    return change
  }

  async #changeNow(
    { exports, defaultExport }: WantedExports,
    shared: SharedOptions,
    detach: (entry: Export) => Promise<void>,
  ): Promise<Changes> {
    const changes = changesTo(this.settings(), exports)
    const early = await this.#openAll(changes.early, shared)
    const going = [...changes.removed, ...changes.reopened.map(({ before }) => before)]
    const leaving = going.flatMap(({ name }) => this.#stacks.get(name) ?? [])
    const staying = new Map(early.map((stack) => [stack.settings.name, stack]))
    for (const each of changes.kept) {
      const stack = this.#stacks.get(each.name)
      if (stack !== undefined) staying.set(each.name, { ...stack, settings: each })
    }
    const names = exports.map((each) => each.name)
    this.#stacks = inOrder(staying, names)
    this.#defaultExport = defaultExport
    await Promise.all(leaving.map((stack) => end(stack, detach, shared.log)))
    for (const { before, after } of changes.reopened) {
      const stack = (await this.#tryOpen(after, shared)) ?? (await this.#tryOpen(before, shared))
      if (stack !== null) staying.set(after.name, stack)
    }
    for (const each of changes.late) {
      const stack = await this.#tryOpen(each, shared)
      if (stack !== null) staying.set(each.name, stack)
    }
    this.#stacks = inOrder(staying, names)
    return changes
  }

  /** All or none. */
  async #openAll(wanted: readonly ExportSettings[], shared: SharedOptions): Promise<Stack[]> {
    const opened: Stack[] = []
    try {
      for (const each of wanted) opened.push(await openStack(this.#io, each, shared))
      return opened
    } catch (error) {
      await Promise.allSettled(opened.map(closeStack))
      throw error
    }
  }

  /** @returns null: it cannot be had, which is in the log */
  async #tryOpen(settings: ExportSettings, shared: SharedOptions): Promise<Stack | null> {
    if (this.#isClosing) return null
    try {
      return await openStack(this.#io, settings, shared)
    } catch (error) {
      const reason = (error as Error).message
      shared.log.error({ export: settings.name, reason }, 'this export cannot be opened')
      return null
    }
  }

  /** When nobody uses them any more. Closes all, also if one fails. @throws the first failure */
  async close(): Promise<void> {
    this.#isClosing = true
    clearInterval(this.#sweep)
    await this.#change
    const stacks = [...this.#stacks.values()]
    this.#stacks.clear()
    const results = await Promise.allSettled(stacks.map(closeStack))
    const failure = results.find((result) => result.status === 'rejected')
    if (failure !== undefined) throw failure.reason
  }
}

async function end(
  stack: Stack,
  detach: (entry: Export) => Promise<void>,
  log: SharedOptions['log'],
): Promise<void> {
  await detach(stack.export)
  try {
    await closeStack(stack)
  } catch (error) {
    const reason = (error as Error).message
    log.error({ export: stack.export.name, reason }, 'this export was not closed well')
  }
}

function inOrder(stacks: ReadonlyMap<string, Stack>, names: readonly string[]): Map<string, Stack> {
  const ordered = new Map<string, Stack>()
  for (const name of names) {
    const stack = stacks.get(name)
    if (stack !== undefined) ordered.set(name, stack)
  }
  return ordered
}
