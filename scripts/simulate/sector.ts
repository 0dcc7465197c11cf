/**
 * What one sector of a disk may hold: now, as a client may read it, and on the disk, if the power
 * were lost now.
 *
 *   now    the versions that may be current, each with the changes under way that it has in it
 *   old    versions that were current, and may still be what the disk has: until a flush is
 *          answered that was sent after they were replaced
 *
 * A change under way may be in at any moment. Changes of one connection take effect in the order
 * in which they were sent, except that one may fail.
 */
export const SECTOR = 512

/** A write, or zeros (`data` is null), under way or done. */
export interface Change {
  readonly number: number
  readonly connection: number
  /** Absolute, bytes. */
  readonly offset: number
  readonly length: number
  readonly data: Uint8Array | null
  readonly sentAt: number
}

interface Version {
  readonly content: Uint8Array
  /** Of the changes under way: those that are in, and those that failed before a later one. */
  readonly done: readonly Change[]
  readonly failed: readonly Change[]
}

const ZEROS = new Uint8Array(SECTOR)

export class Sector {
  /** Absolute, bytes. */
  readonly offset: number
  #now: Version[]
  /** Versions that were replaced, and when. */
  #old: { readonly content: Uint8Array; readonly left: number }[] = []
  #open: Change[] = []
  /** Changes under way when a failed sync lost something: they may be lost with it. */
  #endangered: readonly Change[] = []
  /** A failed sync lost something: what is read now may be gone from memory later. */
  #isInDoubt = false
  #versions: readonly Version[] | null = null
  #stamp = 0

  constructor(offset: number, content: Uint8Array = ZEROS) {
    this.offset = offset
    this.#now = [version(content)]
  }

  /** Another number after everything that may change what is read. */
  get stamp(): number {
    return this.#stamp
  }

  /** Changes under way. */
  get openCount(): number {
    return this.#open.length
  }

  /** What a read may find now. */
  contents(): Uint8Array[] {
    const versions = this.#closure()
    if (versions.length === 1) return [versions[0].content]
    return distinct(versions.map((each) => each.content))
  }

  /** What a power loss now may leave. */
  contentsOnDisk(): Uint8Array[] {
    if (this.#old.length === 0) return this.contents()
    return distinct([...this.contents(), ...this.#old.map((each) => each.content)])
  }

  begin(change: Change): void {
    this.#stamp++
    this.#open.push(change)
    this.#versions = null
  }

  /** The change was answered with success. @param durable it would survive a power loss */
  succeed(change: Change, time: number, durable: boolean): void {
    const before = this.contents()
    const all = this.#closure()
    const isLost = this.#endangered.includes(change) && !durable
    this.#end(change, isLost ? all : all.filter((each) => each.done.includes(change)))
    if (durable) this.#old = this.#old.filter((each) => each.left > change.sentAt)
    else this.#leave(before, time)
    const isWhole = change.offset <= this.offset && this.#isBehind(change)
    if (isWhole && !isLost && this.#now.length === 1) this.#isInDoubt = false
  }

  #isBehind({ offset, length }: Change): boolean {
    return offset + length >= this.offset + SECTOR
  }

  /** The change failed, or nobody will tell: it is in, or not. @param refused it is not */
  fail(change: Change, time: number, refused = false): void {
    const before = this.contents()
    const all = this.#closure()
    this.#end(change, refused ? all.filter((each) => !each.done.includes(change)) : all)
    this.#leave(before, time)
  }

  /** A flush that was sent at this time was answered. */
  flushed(sentAt: number): void {
    if (this.#old.length > 0) this.#old = this.#old.filter((each) => each.left > sentAt)
  }

  /** A failed sync may have lost any version that was not durable, also from memory. */
  lose(): void {
    const isSure = this.#now.length === 1 && this.#open.length === 0
    if (isSure && this.#old.length === 0) return
    this.#isInDoubt = true
    this.#stamp++
    this.#endangered = this.#open
    const lost = this.#old.map((each) => version(each.content))
    this.#now = unique([...this.#now, ...lost])
    this.#versions = null
  }

  /** The process is dead: what was under way is in, or not. */
  kill(): void {
    this.#now = this.contents().map((content) => version(content))
    this.#open = []
    this.#endangered = []
    this.#versions = null
  }

  /** After `kill`, or while no change is under way: this is what is there. */
  found(content: Uint8Array, time: number): void {
    if (this.#isInDoubt || (this.#now.length === 1 && this.#open.length === 0)) return
    const before = this.contents()
    this.#now = [version(content)]
    this.#versions = null
    this.#leave(before, time)
  }

  /** After a power loss: this is what the disk has. */
  foundOnDisk(content: Uint8Array): void {
    const isSure = this.#now.length === 1 && isSame(this.#now[0].content, content)
    if (isSure && this.#old.length + this.#open.length === 0) return
    this.#now = [version(content)]
    this.#old = []
    this.#open = []
    this.#isInDoubt = false
    this.#versions = null
  }

  #end(change: Change, versions: readonly Version[]): void {
    this.#stamp++
    const without = (list: readonly Change[]): Change[] => list.filter((each) => each !== change)
    this.#now = unique(
      versions.map(({ content, done, failed }) => ({
        content,
        done: without(done),
        failed: without(failed),
      })),
    )
    this.#open = without(this.#open)
    this.#versions = null
  }

  #leave(before: readonly Uint8Array[], time: number): void {
    const after = this.contents()
    for (const content of before) {
      if (!after.some((each) => isSame(each, content))) this.#old.push({ content, left: time })
    }
  }

  /** All versions that may be current, whatever of the changes under way is in. */
  #closure(): readonly Version[] {
    if (this.#versions !== null) return this.#versions
    let versions = [...this.#now]
    for (let index = 0; index < versions.length; index++) {
      for (const change of this.#open) versions.push(...this.#next(versions[index], change))
      if (this.#open.length > 1) versions = unique(versions)
    }
    this.#versions = versions
    return versions
  }

  #next(from: Version, change: Change): Version[] {
    const isOpen = (each: Change): boolean =>
      !from.done.includes(each) && !from.failed.includes(each)
    if (!isOpen(change)) return []
    const ofConnection = this.#open.filter((each) => each.connection === change.connection)
    if (ofConnection.some((each) => each.sentAt < change.sentAt && isOpen(each))) return []
    const content = this.#after(change, from.content)
    const next: Version[] = [{ content, done: [...from.done, change], failed: from.failed }]
    const hasLater = ofConnection.some((each) => each.sentAt > change.sentAt)
    if (hasLater) next.push({ ...from, failed: [...from.failed, change] })
    return next
  }

  #after(change: Change, before: Uint8Array): Uint8Array {
    const start = Math.max(change.offset - this.offset, 0)
    const end = Math.min(change.offset + change.length - this.offset, SECTOR)
    const from = this.offset + start - change.offset
    const data = change.data?.subarray(from, from + end - start) ?? ZEROS.subarray(start, end)
    if (data.length === SECTOR) return data
    const content = new Uint8Array(before)
    content.set(data, start)
    return content
  }
}

function version(content: Uint8Array): Version {
  return { content, done: [], failed: [] }
}

export function isSame(a: Uint8Array, b: Uint8Array): boolean {
  return a === b || Buffer.compare(a, b) === 0
}

export function distinct(contents: readonly Uint8Array[]): Uint8Array[] {
  const found: Uint8Array[] = []
  for (const content of contents) {
    if (!found.some((each) => isSame(each, content))) found.push(content)
  }
  return found
}

function unique(versions: readonly Version[]): Version[] {
  const found: Version[] = []
  for (const each of versions) {
    const isKnown = found.some(
      (other) =>
        isSame(each.content, other.content) &&
        isSameSet(each.done, other.done) &&
        isSameSet(each.failed, other.failed),
    )
    if (!isKnown) found.push(each)
  }
  return found
}

function isSameSet(a: readonly Change[], b: readonly Change[]): boolean {
  return a.length === b.length && a.every((each) => b.includes(each))
}
