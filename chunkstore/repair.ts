/**
 * Mends what can be mended without losing anything, under the writer's lock. Each step is one
 * rename, unlink or new directory, durable before the next, so it may be interrupted anywhere and
 * run again. What is taken out of a part is moved aside, never deleted, but for files that cannot
 * hold anything. Parents are never touched.
 */
import path from 'node:path'
import type { Files } from '../io/io.ts'
import { Aside } from './aside.ts'
import { checkDisk, type Finding, Rule } from './check.ts'
import { DiskError } from './disk-error.ts'
import { makeDurableDirectory, syncDirectory } from './durable-directory.ts'
import type { Part } from './part.ts'
import { PathMap } from './path-map.ts'
import { Action, makePlan, type Plan, type RepairOptions, type Step } from './repair-plan.ts'
import { RepairSite } from './repair-site.ts'

export const MendOutcome = { MENDED: 'mended', PLANNED: 'planned', FAILED: 'failed' } as const
export type MendOutcome = (typeof MendOutcome)[keyof typeof MendOutcome]

export interface Mend {
  readonly rule: Rule
  readonly file: string
  readonly outcome: MendOutcome
  readonly message: string
}

export interface Leftover extends Finding {
  /** What a person can do. */
  readonly advice: string
}

export interface RepairReport {
  /** In the order in which it was done, or (dry run) would be. */
  readonly mends: readonly Mend[]
  /** What is wrong after that, or (dry run) would be. */
  readonly findings: readonly Leftover[]
}

const DEFAULTS: RepairOptions = {
  dryRun: false,
  createParts: false,
  preferFull: false,
  removeForeignLock: false,
  removeEmpty: false,
  paths: PathMap.NONE,
}

/** While one of these is found, nobody can tell what belongs to the disk. */
const BLOCKING: readonly Rule[] = [Rule.DESCRIPTOR, Rule.PARENT, Rule.DUPLICATE_PART]

const FIRST: readonly Rule[] = [Rule.FOREIGN_LOCK, Rule.STALE_LOCK, Rule.PART]

/**
 * @param file path of the descriptor
 * @throws DiskError EINUSE if the disk is in use
 */
export async function repairDisk(
  files: Files,
  file: string,
  options: Partial<RepairOptions> = {},
): Promise<RepairReport> {
  const absolute = path.resolve(file)
  const all = { ...DEFAULTS, ...options }
  const { paths } = all
  let site: RepairSite
  try {
    site = await RepairSite.open(files, absolute, paths)
  } catch (error) {
    if (!(error instanceof DiskError) || error.code !== 'EDESCRIPTOR') throw error
    return {
      mends: [],
      findings: advise(await checkDisk(files, absolute, { paths }), absolute, null),
    }
  }
  try {
    return await repairSite(files, site, all)
  } finally {
    await site.close(files)
  }
}

async function repairSite(
  files: Files,
  site: RepairSite,
  options: RepairOptions,
): Promise<RepairReport> {
  const { file, parent } = site.descriptor
  if (options.removeEmpty && parent !== null) {
    const why = 'its empty chunks hide what the parent has; commit or flatten it first'
    throw new DiskError('ECHAIN', `${file}: ${why}`)
  }
  const found = await checkDisk(files, file, { isLocked: true, paths: options.paths })
  if (found.some(({ rule }) => BLOCKING.includes(rule))) {
    return { mends: [], findings: advise(found, file, null) }
  }
  const plan = await makePlan(files, site, options)
  const mender = new Mender(files, options.dryRun)
  const mends: Mend[] = []
  for (const step of plan.steps) {
    const mend = await mender.mend(step)
    mends.push(mend)
    // The steps behind it were decided as if it were done.
    if (FIRST.includes(mend.rule) && mend.outcome === MendOutcome.FAILED) break
  }
  const mended = new Set(options.dryRun ? plan.steps.map((step) => step.file) : [])
  const left = await checkDisk(files, file, { isLocked: true, mended, paths: options.paths })
  return { mends, findings: advise(left, file, plan) }
}

class Mender {
  readonly #files: Files
  readonly #dryRun: boolean
  readonly #asides = new Map<Part, Aside>()

  constructor(files: Files, dryRun: boolean) {
    this.#files = files
    this.#dryRun = dryRun
  }

  async mend(step: Step): Promise<Mend> {
    const { rule, file } = step
    try {
      const outcome = this.#dryRun ? MendOutcome.PLANNED : MendOutcome.MENDED
      return { rule, file, outcome, message: `${await this.#do(step)}: ${step.why}` }
    } catch (error) {
      const message = `cannot ${step.action} it: ${(error as Error).message}`
      return { rule, file, outcome: MendOutcome.FAILED, message }
    }
  }

  /** @returns what was, or would be, done */
  async #do({ rule, action, file, part }: Step): Promise<string> {
    const name = path.basename(file)
    if (action === Action.ASIDE && part !== null) {
      const aside = this.#asideOf(part)
      if (this.#dryRun) return `would be moved to ${await aside.reserve(name)}`
      return `moved to ${await aside.move(name)}`
    }
    const done = action === Action.REMOVE ? 'removed' : 'created'
    if (this.#dryRun) return `would be ${done}`
    if (action === Action.CREATE) {
      await makeDurableDirectory(this.#files, file)
      return done
    }
    await this.#files.remove(file)
    // There may be many of these, and no harm in those that come back.
    if (rule !== Rule.EMPTY_CHUNK) await syncDirectory(this.#files, path.dirname(file))
    return done
  }

  #asideOf(part: Part): Aside {
    let aside = this.#asides.get(part)
    if (aside === undefined) {
      aside = new Aside(this.#files, part)
      this.#asides.set(part, aside)
    }
    return aside
  }
}

/** Adds what was refused and is no finding of the check, and what a person can do about each. */
function advise(found: readonly Finding[], disk: string, plan: Plan | null): Leftover[] {
  const refusals = plan?.refusals ?? []
  const known = new Map(refusals.map(({ rule, file, advice }) => [`${rule} ${file}`, advice]))
  const locks = refusals.filter(({ rule }) => rule === Rule.FOREIGN_LOCK)
  const extra = locks.map(({ rule, file }) => ({ rule, file, disk, message: 'no writer starts' }))
  return [...extra, ...found].map((finding) => {
    const { rule, file } = finding
    if (finding.disk !== disk && !BLOCKING.includes(rule)) {
      const advice = `a parent is never touched: repair ${finding.disk} while no child is in use`
      return { ...finding, advice }
    }
    return { ...finding, advice: known.get(`${rule} ${file}`) ?? ADVICE[rule] }
  })
}

const NOTHING_MENDED = 'until then nothing is mended'
const MENDED_LATER = 'repair again when what kept this from being mended is settled'

const ADVICE: Readonly<Record<Rule, string>> = {
  [Rule.DESCRIPTOR]: `correct the descriptor; ${NOTHING_MENDED}`,
  [Rule.PARENT]: `bring the parent back, or correct the descriptors; ${NOTHING_MENDED}`,
  [Rule.DUPLICATE_PART]: `give each disk directories of its own; ${NOTHING_MENDED}`,
  [Rule.PART]: 'make it a directory that can be read',
  [Rule.DUPLICATE_CHUNK]: MENDED_LATER,
  [Rule.WRONG_SIZE]: 'bring the file back from a backup; it cannot be read as it is',
  [Rule.TOO_MANY]: "move chunk files to a part with room, or raise this part's number",
  [Rule.ORPHAN]: MENDED_LATER,
  [Rule.TEMPORARY]: MENDED_LATER,
  [Rule.FOREIGN_LOCK]: MENDED_LATER,
  [Rule.STALE_LOCK]: MENDED_LATER,
  [Rule.EMPTY_CHUNK]: MENDED_LATER,
  [Rule.CHECKSUMS]: 'bring the file back, or make all checksums anew: "chunknbd scrub --rebuild"',
}
