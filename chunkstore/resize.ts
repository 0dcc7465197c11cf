/**
 * Changes the size of a disk while requests go on; those that reach where the end moves wait for
 * it. The descriptor is replaced in one step, so after a crash the disk has the old size or the
 * new one, and all its data: what must read as zeros afterwards is zeros before, and what is cut
 * off with its data goes when it is no part of the disk any more.
 *
 *   grow          zeros behind the old end in its chunk ─▶ descriptor
 *   shrink        the tail is all zeros: its files go   ─▶ descriptor
 *   discard tail                                           descriptor ─▶ the tail's files go
 */
import { ChunkState } from './chunk.ts'
import { checkedGeometry } from './descriptor.ts'
import { editDescriptor } from './descriptor-edit.ts'
import { DescriptorFile } from './descriptor-file.ts'
import { DiskError } from './disk-error.ts'
import type { Gate } from './gate.ts'
import type { Geometry } from './geometry.ts'
import type { Part } from './part.ts'
import { syncNames } from './place-copy.ts'
import { closeParts, openParts, type PartRequest, planParts } from './resize-parts.ts'
import { otherChildren } from './siblings.ts'
import { formatSize } from './size.ts'
import type { Store } from './store.ts'
import { clearBehind, flush, forget, removeChunks, removeSums, TailSearch } from './tail.ts'

const EIO = 5

export interface ResizeOptions {
  /** Bytes. */
  readonly size: number
  /** Cut the end off even if there is data. */
  readonly discardTail: boolean
  /** Parts that are added, or get another number of chunk files. */
  readonly parts: readonly PartRequest[]
}

export interface ResizeResult {
  /** The descriptor. */
  readonly file: string
  readonly sizeBefore: number
  readonly size: number
  /** Chunk files behind the new end that could not be removed; `check --repair` moves them. */
  readonly leftovers: readonly string[]
}

/** What a disk lends to its resize. */
export interface ResizeSite {
  readonly store: Store
  readonly gate: Gate
  /** Resolves when no request is under way that reaches behind an offset. */
  readonly drained: (offset: number) => Promise<void>
  /** The disk is to be closed: give up where that is possible. */
  readonly isClosing: () => boolean
}

/**
 * Only one at a time.
 * @throws DiskError that says why not and what to do. The size has not changed then; with ESYNC
 *   nobody knows which one a power loss leaves, and the disk refuses changes until opened again.
 */
export async function resizeDisk(site: ResizeSite, options: ResizeOptions): Promise<ResizeResult> {
  const { store, gate } = site
  const { files, top } = store
  const before = store.geometry
  const { file } = top.descriptor
  await refuseKind(store)
  const after = checkedSize(store, options.size)
  const { chunksMax, added } = await planParts(store, after.chunkCount, options.parts)
  const text = editDescriptor(top.text, { diskSize: after.diskSize, chunksMax, added })
  const result = { file, sizeBefore: before.diskSize, size: after.diskSize }
  if (text === top.text) return { ...result, leftovers: [] }
  const end = Math.min(before.diskSize, after.diskSize)
  const search = new TailSearch(store, end, site.isClosing)
  const keeps = after.diskSize < before.diskSize && !options.discardTail
  if (keeps) await refuseData(store, search, false)
  await refuseStrangers(store, after)
  await refuseChanged(store)
  const parts = await openParts(store, added)
  const boundary = end - (end % before.chunkSize)
  gate.close(boundary)
  try {
    await site.drained(boundary)
    if (keeps) await refuseData(store, search, true)
    const leftovers = await moveEnd(store, { after, text, parts, discards: options.discardTail })
    return { ...result, leftovers }
  } catch (error) {
    const strangers = parts.filter((part) => !top.parts.includes(part))
    await closeParts(files, strangers)
    throw error
  } finally {
    gate.open(store.geometry.diskSize)
  }
}

async function refuseKind({ files, layers, top, flusher, options }: Store): Promise<void> {
  const { file, parent } = top.descriptor
  if (options.readOnly) throw new DiskError('EINUSE', `${file}: it is open for reading only`)
  if (options.movable) {
    const why = 'its chunk files may be moved at any time (--movable)'
    throw new DiskError('EINUSE', `${file}: ${why}; stop its server, then resize it`)
  }
  if (flusher.failure !== 0) {
    throw new DiskError('ESYNC', `${file}: a sync failed; open the disk again first`)
  }
  if (layers.length > 1) {
    const rule = `it stands on ${parent}, and both must have the same size`
    throw new DiskError('ECHAIN', `${file}: ${rule}; make it independent first: chunknbd flatten`)
  }
  const children = await otherChildren(files, top, top, options.paths)
  if (children.length === 0) return
  const who = children.length === 1 ? `${children[0]} stands` : `${children.join(', ')} stand`
  const rule = `${who} on it, and must have the same size`
  throw new DiskError('ECHAIN', `${file}: ${rule}; make that independent first: chunknbd flatten`)
}

function checkedSize({ top, geometry }: Store, size: number): Geometry {
  const { file } = top.descriptor
  const { chunkSize } = geometry
  if (size >= chunkSize) return checkedGeometry(size, chunkSize, file)
  const least = `a disk has at least one chunk, here ${formatSize(chunkSize)}`
  throw new DiskError('EDESCRIPTOR', `${file}: ${least}; choose a larger size`)
}

async function refuseData(store: Store, search: TailSearch, isQuiet: boolean): Promise<void> {
  const found = await search.find(isQuiet)
  if (found < 0) return
  const { file } = store.top.descriptor
  const what = `there is data behind the new end, the first at offset ${found}`
  throw new DiskError('ETAIL', `${file}: ${what}; move it, or cut it off with --discard-tail`)
}

async function refuseChanged({ files, top }: Store): Promise<void> {
  const isSame = await top.verify(files).then(
    () => true,
    () => false,
  )
  if (isSame) return
  const { file } = top.descriptor
  throw new DiskError(
    'EINUSE',
    `${file} was changed since the disk was opened; open it again first`,
  )
}

/** Files with the names of chunks that do not exist yet would become part of the disk. */
async function refuseStrangers({ files, top, geometry }: Store, after: Geometry): Promise<void> {
  for (const part of top.parts) {
    await part.checkPlace(files)
    const last = after.chunkCount - 1
    const [name] = await part.namesBetween(files, geometry.chunkCount, last)
    if (name === undefined) continue
    const what = `${part.directory}/${name} is beyond the end now, and would be in the disk then`
    throw new DiskError('EPART', `${what}; "chunknbd check --repair" moves it aside`)
  }
}

interface Move {
  readonly after: Geometry
  /** Of the new descriptor. */
  readonly text: string
  /** Those that are added. */
  readonly parts: readonly Part[]
  readonly discards: boolean
}

/** Nobody uses the end. @returns chunk files behind it that could not be removed */
async function moveEnd(store: Store, { after, text, parts, discards }: Move): Promise<string[]> {
  const shrinks = after.diskSize < store.geometry.diskSize
  const shorter = shrinks ? after : store.geometry
  const last = shorter.chunkCount - 1
  const used = shorter.usedSizeOf(last)
  // So that no file that goes is looked for by a flush.
  await flush(store)
  refuseDamaged(store, last, used)
  const cutsData = shrinks && discards
  if (!cutsData) await clearTail(store, last, used)
  await replaceDescriptor(store, text, parts)
  store.geometry = after
  return cutsData ? discardTail(store, last, used) : []
}

/** Zeros give way to zeros, or it is behind the end: nobody sees how far a crash let it get. */
async function clearTail(store: Store, last: number, used: number): Promise<void> {
  await clearBehind(store, last, used)
  await flush(store)
  const [failure] = (await removeChunks(store, last + 1)).values()
  if (failure !== undefined) throw failure
  await removeSums(store, last + 1)
  // Whoever removed them: they must not come back when they would be part of the disk.
  await syncNames(store.files, store.top.parts)
}

/** The disk is shorter already: what fails here can be seen by nobody. */
async function discardTail(store: Store, last: number, used: number): Promise<string[]> {
  const { log } = store.options
  const warn = (error: Error): void =>
    log.warn({ error: error.message }, 'behind the end of a disk')
  await clearBehind(store, last, used).catch(warn)
  const left = [...(await removeChunks(store, last + 1)).keys()]
  for (const chunk of left) forget(store, chunk)
  await removeSums(store, last + 1).catch(warn)
  await syncNames(store.files, store.top.parts).catch(warn)
  return left.map((chunk) => chunk.path)
}

function refuseDamaged({ top, geometry }: Store, index: number, used: number): void {
  const chunk = top.chunks.get(index)
  if (chunk?.state !== ChunkState.DAMAGED || used === geometry.chunkSize) return
  const what = `${chunk.path} is damaged, and the end of the disk is in it`
  throw new DiskError('EPART', `${what}; bring the file back first`)
}

async function replaceDescriptor(
  store: Store,
  text: string,
  parts: readonly Part[],
): Promise<void> {
  const { files, top, flusher, options } = store
  const { file } = top.descriptor
  try {
    await files.replaceText(file, text)
  } catch (error) {
    const isOld = await top.verify(files).then(
      () => true,
      () => false,
    )
    if (isOld) throw error
    flusher.fail(file, EIO, 'replacing the descriptor failed half-way')
    const doubt = 'nobody knows whether the old or the new size survives a power loss'
    throw new DiskError('ESYNC', `${file}: ${doubt}: ${(error as Error).message}`)
  }
  await top.adopt(
    files,
    await DescriptorFile.afterReplacing(files, file, text, options.paths),
    parts,
  )
}
