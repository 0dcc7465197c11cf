/**
 * Which of several files of one chunk is the chunk. One may go only if it holds nothing that the
 * one that stays does not:
 *
 *   it is            | it may go, if
 *   -----------------|------------------------------------------------------------
 *   full             | it has the same bytes
 *   empty            | the one that stays is empty too; or is full and was written later
 *   cut short        | it is the beginning of the one that stays: a copy that was interrupted
 *
 * An empty file that is not older than the full one may be a trim that came later, and the full
 * one a file that should have been gone: only a person can know (`preferFull`).
 */
import type { Files } from '../io/io.ts'
import { ChunkState } from './chunk.ts'
import { haveSameStart } from './same-start.ts'

export interface Copy {
  readonly path: string
  readonly state: ChunkState
  readonly isFile: boolean
  readonly size: number
  readonly mtimeMs: number
  /** Equal for two names of one file. */
  readonly identity: string
}

export interface Verdict {
  readonly copy: Copy
  /** It may go. */
  readonly mayGo: boolean
  /** Why it may; or why not, and what a person can do. */
  readonly why: string
}

/**
 * @param copies in the order of the descriptor's parts; at least two
 * @returns a verdict on each but the one that stays; none may go if that is not clear
 */
export async function judgeCopies(
  files: Files,
  copies: readonly Copy[],
  preferFull: boolean,
): Promise<Verdict[]> {
  const linked = sameFile(copies)
  if (linked !== null) return refuseAll(copies, linked)
  // The oldest first: the others are its copies, and only its time tells when it was written.
  const full = copies
    .filter((copy) => copy.state === ChunkState.FULL)
    .toSorted((a, b) => a.mtimeMs - b.mtimeMs)
  const stays = full[0] ?? copies.find((copy) => copy.state === ChunkState.EMPTY)
  if (stays === undefined) return refuseAll(copies, 'none has a right size; bring back a good one')
  for (const other of full.slice(1)) {
    if (await haveSameStart(files, stays.path, other.path, stays.size)) continue
    const both = `${stays.path} and ${other.path} hold different data`
    return refuseAll(copies, `${both}; find out which is right and move the other elsewhere`)
  }
  const verdicts: Verdict[] = []
  for (const copy of copies) {
    if (copy === stays) continue
    if (copy.state === ChunkState.DAMAGED) verdicts.push(await judgeDamaged(files, copy, stays))
    else if (copy.state === stays.state) verdicts.push(goes(copy, `${stays.path} is the same`))
    else verdicts.push(judgeEmpty(copy, stays, preferFull))
  }
  return verdicts
}

/** @returns why, if two of them are one file under two names */
function sameFile(copies: readonly Copy[]): string | null {
  const seen = new Map<string, string>()
  for (const { path, identity } of copies) {
    const twin = seen.get(identity)
    if (twin !== undefined) return `${twin} and ${path} are one file; remove the name that is wrong`
    seen.set(identity, path)
  }
  return null
}

function judgeEmpty(copy: Copy, stays: Copy, preferFull: boolean): Verdict {
  if (copy.mtimeMs < stays.mtimeMs) {
    return goes(copy, `it is empty, and ${stays.path} was written after it`)
  }
  if (preferFull) return goes(copy, `it is empty, and ${stays.path} is to be preferred`)
  const doubt = `it is empty and not older than ${stays.path}, so it may be a later trim`
  const choice = '--prefer-full takes the full one; or move that elsewhere, and zeros stay'
  return { copy, mayGo: false, why: `${doubt}; ${choice}` }
}

async function judgeDamaged(files: Files, copy: Copy, stays: Copy): Promise<Verdict> {
  const { isFile, size } = copy
  if (isFile && size < stays.size) {
    if (await haveSameStart(files, stays.path, copy.path, size)) {
      return goes(copy, `it is an unfinished copy of ${stays.path}`)
    }
  }
  const why = `it has a wrong size, and what it holds is not in ${stays.path}`
  return { copy, mayGo: false, why: `${why}; move the wrong one of the two elsewhere` }
}

function goes(copy: Copy, why: string): Verdict {
  return { copy, mayGo: true, why }
}

function refuseAll(copies: readonly Copy[], why: string): Verdict[] {
  return copies.map((copy) => ({ copy, mayGo: false, why }))
}
