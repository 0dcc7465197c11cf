/**
 * Decides what `repair` does about a disk. Looks only; what is decided here is safe as long as the
 * writer's lock is held. Every rule that is not handled here needs a person.
 */
import path from 'node:path'
import type { Files } from '../io/io.ts'
import { Rule } from './check.ts'
import { orphanSums } from './checksums/checksum-problems.ts'
import { type Copy, judgeCopies } from './duplicates.ts'
import { stateOf } from './layer.ts'
import type { FoundChunk, Part } from './part.ts'
import { findLockFile, LockState, whyLocked } from './part-lock.ts'
import type { PathMap } from './path-map.ts'
import type { RepairSite } from './repair-site.ts'

export interface RepairOptions {
  /** Change nothing, tell what would be done. */
  readonly dryRun: boolean
  /** Make part directories that are missing, where nothing says that they held chunks. */
  readonly createParts: boolean
  /** Of a full and an empty file of one chunk take the full one, also if the empty one is newer. */
  readonly preferFull: boolean
  /** Remove the lock files of chunkdisk, of readers and of other machines: nobody uses the disk. */
  readonly removeForeignLock: boolean
  /** Remove the empty chunk files of a disk without a parent: absent they read as zeros as well. */
  readonly removeEmpty: boolean
  readonly paths: PathMap
}

export const Action = { REMOVE: 'remove', ASIDE: 'move aside', CREATE: 'create' } as const
export type Action = (typeof Action)[keyof typeof Action]

/** One change that is complete or not made at all. */
export interface Step {
  readonly rule: Rule
  readonly file: string
  readonly action: Action
  /** Where the file is; null for a part that is to be made. */
  readonly part: Part | null
  readonly why: string
}

export interface Refusal {
  readonly rule: Rule
  readonly file: string
  /** Why it is not mended, and what a person can do. */
  readonly advice: string
}

export interface Plan {
  readonly steps: readonly Step[]
  readonly refusals: readonly Refusal[]
}

export async function makePlan(
  files: Files,
  site: RepairSite,
  options: RepairOptions,
): Promise<Plan> {
  const plan = { steps: [] as Step[], refusals: [] as Refusal[] }
  await planLockFiles(files, site, options, plan)
  // Where somebody else may be at work nothing is touched.
  if (plan.refusals.length > 0) return plan
  await planMissing(files, site, options, plan)
  planTemporaries(site, plan)
  const unseen = site.unseenCount - plan.steps.filter((step) => step.rule === Rule.PART).length
  // Without all files of a chunk nobody can say which one it is.
  if (unseen === 0) await planDuplicates(files, site, options, plan)
  if (unseen === 0 && options.removeEmpty) planEmpty(site, plan)
  planOrphans(site, plan)
  return plan
}

type Draft = { readonly steps: Step[]; readonly refusals: Refusal[] }

async function planLockFiles(
  files: Files,
  site: RepairSite,
  options: RepairOptions,
  plan: Draft,
): Promise<void> {
  for (const { part, contents } of site.parts) {
    if (!contents.hasLockFile) continue
    const found = await findLockFile(files, part)
    const { state, file } = found
    const remove = (rule: Rule, why: string): void =>
      void plan.steps.push({ rule, file, action: Action.REMOVE, part, why })
    if (state === LockState.LEFT_BEHIND) {
      remove(Rule.STALE_LOCK, 'a server of this machine that was killed left it')
    } else if (options.removeForeignLock) {
      remove(Rule.FOREIGN_LOCK, 'a lock of others, to be removed as asked')
    } else if (state !== LockState.ABSENT) {
      const { why, fix } = whyLocked(found)
      const advice = `${why}; give --remove-foreign-lock ${fix}. Nothing was mended`
      plan.refusals.push({ rule: Rule.FOREIGN_LOCK, file, advice })
    }
  }
}

/**
 * A directory that is not there may be one that is not mounted: made anew it would show zeros where
 * there is data. So that is done on request only, and not against the evidence: parts are filled
 * in order, so where a later one has chunks this one was full.
 */
async function planMissing(
  files: Files,
  site: RepairSite,
  options: RepairOptions,
  plan: Draft,
): Promise<void> {
  const rule = Rule.PART
  for (const line of site.missing) {
    const file = line.directory
    const refuse = (advice: string): void => void plan.refusals.push({ rule, file, advice })
    const filled = line.chunksMax > 0 ? site.laterPartWithChunks(line) : null
    const folder = path.dirname(file)
    if (filled !== null) {
      const evidence = `${filled.directory} has chunks, and takes some only when this one is full`
      refuse(`${evidence}: mount what holds it, or bring it back`)
    } else if (!(await isDirectory(files, folder))) {
      refuse(`${folder} is missing too: mount what holds it, or make that directory`)
    } else if (!options.createParts) {
      refuse('mount what holds it; if it never held a chunk, --create-parts makes it')
    } else {
      const why = 'chunks it may have held do not show any more; no later part has any'
      plan.steps.push({ rule, file, action: Action.CREATE, part: null, why })
    }
  }
}

async function isDirectory(files: Files, directory: string): Promise<boolean> {
  return files.status(directory).then(
    (status) => status.isDirectory,
    () => false,
  )
}

/** They hold what a parent has, at most: nothing was ever written to a chunk under that name. */
function planTemporaries(site: RepairSite, plan: Draft): void {
  const why = 'a crash left it while a chunk was being made'
  for (const { part, contents } of site.parts) {
    for (const name of contents.temporaries) {
      const file = path.join(part.directory, name)
      plan.steps.push({ rule: Rule.TEMPORARY, file, action: Action.REMOVE, part, why })
    }
  }
}

async function planDuplicates(
  files: Files,
  site: RepairSite,
  options: RepairOptions,
  plan: Draft,
): Promise<void> {
  const rule = Rule.DUPLICATE_CHUNK
  for (const places of duplicates(site)) {
    const copies: Copy[] = []
    const parts = new Map<string, Part>()
    for (const { part, found } of places) {
      const copy = await look(files, part, found, site.descriptor.geometry.chunkSize)
      copies.push(copy)
      parts.set(copy.path, part)
    }
    const verdicts = await judgeCopies(files, copies, options.preferFull)
    const advice = verdicts.find((verdict) => !verdict.mayGo)?.why
    for (const { copy, mayGo, why } of verdicts) {
      const part = parts.get(copy.path) ?? null
      if (mayGo) plan.steps.push({ rule, file: copy.path, action: Action.ASIDE, part, why })
    }
    // The check names whichever it comes to last.
    if (advice === undefined) continue
    for (const { path: file } of copies) plan.refusals.push({ rule, file, advice })
  }
}

interface Place {
  readonly part: Part
  readonly found: FoundChunk
}

function duplicates(site: RepairSite): Place[][] {
  const places = new Map<number, Place[]>()
  for (const { part, contents } of site.parts) {
    for (const found of contents.chunks) {
      const others = places.get(found.index)
      if (others === undefined) places.set(found.index, [{ part, found }])
      else others.push({ part, found })
    }
  }
  return [...places.values()].filter((each) => each.length > 1)
}

async function look(files: Files, part: Part, found: FoundChunk, chunkSize: number): Promise<Copy> {
  const file = path.join(part.directory, found.name)
  const { size, isFile } = found
  const state = stateOf(found, chunkSize)
  // A symbolic link to nothing has no more to tell.
  if (!isFile) return { path: file, state, isFile, size, mtimeMs: 0, identity: file }
  const { mtimeMs, identity } = await files.status(file)
  return { path: file, state, isFile, size, mtimeMs, identity }
}

/** Not those of a child: they hide what the parent has. */
function planEmpty(site: RepairSite, plan: Draft): void {
  const why = 'without a file the chunk reads as zeros as well'
  const doubled = new Set(
    duplicates(site)
      .flat()
      .map((place) => place.found.index),
  )
  for (const { part, contents } of site.parts) {
    for (const { index, name, size, isFile } of contents.chunks) {
      if (size > 0 || !isFile || doubled.has(index)) continue
      const file = path.join(part.directory, name)
      plan.steps.push({ rule: Rule.EMPTY_CHUNK, file, action: Action.REMOVE, part, why })
    }
  }
}

function planOrphans(site: RepairSite, plan: Draft): void {
  const { chunkCount } = site.descriptor.geometry
  const why = `the disk has only ${chunkCount} chunks`
  for (const { part, contents } of site.parts) {
    for (const name of [...contents.orphans, ...orphanSums(site.descriptor, contents)]) {
      const file = path.join(part.directory, name)
      plan.steps.push({ rule: Rule.ORPHAN, file, action: Action.ASIDE, part, why })
    }
  }
}
