/** Puts the sums of a chunk into its checksum file. */
import fs from 'node:fs'
import type { Files } from '../../io/io.ts'
import type { Store } from '../store.ts'
import type { ChunkChecksums } from './chunk-checksums.ts'
import { removeChecksumFile } from './checksum-file.ts'
import { cutTo, isMissing, syncData, writeAt } from './file-access.ts'
import type { Region } from './region.ts'
import { bytesOf, sealSlot, SLOT_BYTES } from './slot.ts'

const { O_CREAT, O_RDWR } = fs.constants

/**
 * Runs as `owner.exclusive`.
 * @param regions those of them whose slot is not saved
 * @param sync makes the file durable (not its name), also what was written before
 * @returns false: it failed, which is in the log; the regions keep their marks
 */
export async function saveSums(
  store: Store,
  owner: ChunkChecksums,
  regions: readonly Region[],
  sync: boolean,
): Promise<boolean> {
  const unsaved = regions.filter((region) => region.isUnsaved && region.slot !== null)
  const mustSync = sync && owner.mustSync
  const isVoid = owner.mustEmpty || owner.strays.size > 0
  if (unsaved.length === 0 && !isVoid && !mustSync) return true
  await owner.layer.removing
  try {
    await removeStrays(store.files, owner)
    await owner.part.checkPlace(store.files)
    if (unsaved.length === 0 && owner.mustEmpty) await removeVoid(store.files, owner)
    else if (unsaved.length > 0 || mustSync) await write(store, owner, unsaved, sync)
    return true
  } catch (error) {
    const { code, message } = error as NodeJS.ErrnoException
    const what = 'checksums cannot be saved: they are computed anew when the disk is opened again'
    store.options.log.warn({ file: owner.file, code: code ?? message }, what)
    return false
  }
}

/** Files of that name that would be taken for the chunk's where it has none beside it. */
async function removeStrays(files: Files, owner: ChunkChecksums): Promise<void> {
  for (const part of owner.strays) {
    await part.checkPlace(files)
    await removeChecksumFile(files, part.checksumPath(owner.chunk.index))
    owner.strays.delete(part)
  }
}

/** All sums are 0, as they are where there is no file. */
async function removeVoid(files: Files, owner: ChunkChecksums): Promise<void> {
  const { epoch } = owner
  await removeChecksumFile(files, owner.file)
  if (owner.epoch === epoch) owner.mustEmpty = false
  owner.mustSync = false
}

async function write(
  store: Store,
  owner: ChunkChecksums,
  unsaved: readonly Region[],
  sync: boolean,
): Promise<void> {
  const { files } = store
  const fd = await openOrCreate(store, owner)
  try {
    if (owner.mustEmpty) {
      const { epoch } = owner
      await cutTo(files, fd, owner.file, 0)
      if (owner.epoch === epoch) owner.mustEmpty = false
    }
    owner.mustSync = true
    for (const region of unsaved) await writeSlot(files, fd, owner, region)
    if (sync) await syncOrDoubt(files, fd, owner)
  } finally {
    await files.close(fd).catch(() => {})
  }
}

async function openOrCreate(store: Store, owner: ChunkChecksums): Promise<number> {
  try {
    return await store.files.open(owner.file, O_RDWR)
  } catch (error) {
    if (!isMissing(error)) throw error
  }
  const fd = await store.files.open(owner.file, O_RDWR | O_CREAT)
  store.flusher.partModified(owner.part)
  return fd
}

async function writeSlot(
  files: Files,
  fd: number,
  owner: ChunkChecksums,
  region: Region,
): Promise<void> {
  if (region.slot === null) return
  // A copy: the sums go on changing.
  const image = region.slot.slice()
  sealSlot(image, owner.chunk.index, region.number)
  region.isUnsaved = false
  try {
    await writeAt(files, fd, owner.file, bytesOf(image), region.number * SLOT_BYTES)
  } catch (error) {
    region.isUnsaved = true
    throw error
  }
}

/** After a sync that failed nobody knows what the file has, and the next one would not tell. */
async function syncOrDoubt(files: Files, fd: number, owner: ChunkChecksums): Promise<void> {
  try {
    await syncData(files, fd, owner.file)
    owner.mustSync = false
  } catch (error) {
    for (const region of owner.regions.values()) {
      if (region.slot !== null) region.isUnsaved = true
      else region.doubtAll()
    }
    throw error
  }
}
