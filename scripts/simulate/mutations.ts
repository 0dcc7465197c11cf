/** Safeguards of crash safety, each with the text that makes it and the text without it. */
import assert from 'node:assert/strict'

export interface Mutation {
  readonly what: string
  readonly file: string
  /** It is there exactly once. */
  readonly from: string
  readonly to: string
}

/** @returns the source without the safeguard */
export function mutate(source: string, { file, from, to }: Mutation): string {
  const parts = source.split(from)
  assert(parts.length === 2, `${file}: ${parts.length - 1} times, not once: ${from}`)
  return parts.join(to)
}

const FLUSHER = 'chunkstore/flusher.ts'
const CREATOR = 'chunkstore/chunk-creator.ts'
const UNMAP = 'chunkstore/unmap.ts'

export const MUTATIONS: Readonly<Record<string, Mutation>> = {
  'data-sync': {
    what: 'a flush syncs the data of chunk files',
    file: FLUSHER,
    from: 'await operation.run((each) => this.#store.files.sync(each))',
    to: '0',
  },
  'directory-sync': {
    what: 'a flush syncs directories',
    file: FLUSHER,
    from: 'await operation.run((each) => this.#store.files.syncDirectory(each))',
    to: '0',
  },
  'directory-sync-round': {
    what: 'a flush comes to the directories',
    file: FLUSHER,
    from: '    for (const part of parts) await this.syncPart(part)\n    await sums',
    to: '    await sums',
  },
  'directory-sync-fua': {
    what: 'FUA syncs the directory',
    file: FLUSHER,
    from: '    for (const part of parts) await this.syncPart(part)\n    waiter.',
    to: '    waiter.',
  },
  'data-sync-fua': {
    what: 'FUA syncs the data',
    file: FLUSHER,
    from: '    const errno = await this.#syncChunks(chunks)\n    for',
    to: '    const errno = 0\n    for',
  },
  'inherited-sync': {
    what: 'the data an earlier server left is synced',
    file: FLUSHER,
    from: 'await operation.run((each) => files.sync(each))',
    to: '0',
  },
  'inherited-names': {
    what: 'the names an earlier server left are synced',
    file: 'chunkstore/disk.ts',
    from: '      if (!all.readOnly) await layers[0].settleNames(files)\n',
    to: '',
  },
  inherited: {
    what: 'a flush covers what an earlier server left',
    file: 'chunkstore/disk.ts',
    from: 'if (!all.readOnly) store.flusher.inherit()',
    to: '',
  },
  'new-name': {
    what: 'a new chunk file makes its directory to be synced',
    file: CREATOR,
    from: '    this.#store.flusher.partModified(chunk.part)\n  }\n}',
    to: '  }\n}',
  },
  'copy-sync': {
    what: 'a copied chunk is synced before it has its name',
    file: CREATOR,
    from: 'await sync.run((operation) => this.#store.files.sync(operation)),',
    to: '0,',
  },
  rename: {
    what: 'a chunk is copied under a temporary name',
    file: CREATOR,
    from: 'const temporary = chunk.part.temporaryPath(chunk.index)',
    to: 'const temporary = chunk.path',
  },
  truncated: {
    what: 'a chunk that was emptied is to be synced',
    file: UNMAP,
    from: '  store.flusher.chunkModified(chunk)\n  chunk.checksums?.emptied()',
    to: '  chunk.checksums?.emptied()',
  },
  punched: {
    what: 'a chunk with a new hole is to be synced',
    file: UNMAP,
    from: '  store.flusher.chunkModified(chunk)\n  if (operation.region',
    to: '  if (operation.region',
  },
  written: {
    what: 'a chunk that was written is to be synced',
    file: 'chunkstore/write.ts',
    from: '  store.flusher.chunkModified(chunk)\n',
    to: '',
  },
  'covered-before': {
    what: 'a sync covers what was written before it began, no more',
    file: FLUSHER,
    from: '    else chunk.synced = Math.max(chunk.synced, covered)\n  }\n\n  /** What was synced',
    to: '    else chunk.synced = chunk.modified\n  }\n\n  /** What was synced',
  },
  'names-covered-before': {
    what: 'a sync of a directory covers the names before it began, no more',
    file: FLUSHER,
    from: 'else part.synced = Math.max(part.synced, covered)',
    to: 'else part.synced = part.modified',
  },
  'failed-sync': {
    what: 'a failed sync is final',
    file: FLUSHER,
    from: '    this.failure = EIO\n',
    to: '',
  },
  'next-round': {
    what: 'a flush that arrives during a round waits for the next',
    file: FLUSHER,
    from: 'if (clean && !this.#running) return true',
    to: 'if (clean) return true',
  },
  'close-flushes': {
    what: 'a disk is flushed when it is closed',
    file: 'chunkstore/disk.ts',
    from: '    await store.flusher.flushAll()\n',
    to: '',
  },
  'close-synced': {
    what: 'a file is synced before it is closed',
    file: 'chunkstore/open-files.ts',
    from: 'return syncs && chunk.modified > chunk.synced',
    to: 'return false',
  },
  'fua-waits': {
    what: 'FUA is waited for',
    file: 'chunkstore/operation.ts',
    from: 'return store.flusher.syncRange(first, last, this) ? outcome : PENDING',
    to: 'return outcome',
  },
  'made-directory': {
    what: 'create syncs the directory above one it makes',
    file: 'chunkstore/durable-directory.ts',
    from: '  for (const each of missing) await syncDirectory(files, path.dirname(each))\n',
    to: '',
  },
  'stale-temporaries': {
    what: 'a writer removes what a crash left of copies',
    file: 'chunkstore/chain.ts',
    from: 'if (writable) await removeTemporaries(files, layer, contents)',
    to: '',
  },
  'writers-lock': {
    what: 'one process writes',
    file: 'chunkstore/disk.ts',
    from: 'const mode = all.readOnly ? ChainMode.READ : ChainMode.WRITE',
    to: 'const mode = ChainMode.READ',
  },
  'marks-sync': {
    what: 'a mark is durable before anything changes',
    file: 'chunkstore/checksums/marks.ts',
    from: '      await file.sync()\n      return 0',
    to: '      return 0',
  },
  'sums-sync': {
    what: 'checksums are durable before their mark goes',
    file: 'chunkstore/checksums/file-access.ts',
    from: 'orThrow(await operation.run((each) => files.sync(each)), `syncing ${name}`)',
    to: '',
  },
  'sums-after-data': {
    what: 'data is durable before its mark goes',
    file: 'chunkstore/checksums/keeper.ts',
    from: 'if (wanted > chunk.synced) await flusher.syncChunk(chunk)',
    to: 'chunk.synced = Math.max(chunk.synced, wanted)',
  },
  'sums-names': {
    what: 'names of checksum files are durable before their mark goes',
    file: 'chunkstore/checksums/keeper.ts',
    from: 'await this.#syncNames([chunk.part, checksums.part])',
    to: '',
  },
  'placed-sync': {
    what: 'a copy is synced before it has its name',
    file: 'chunkstore/place-copy.ts',
    from: '    await syncFile(files, target, temporary)\n',
    to: '',
  },
  'placed-rename': {
    what: 'commit and flatten copy under a temporary name',
    file: 'chunkstore/place-copy.ts',
    from: 'const temporary = part.temporaryPath(index)',
    to: 'const temporary = part.chunkPath(index)',
  },
  'moved-sync': {
    what: 'a chunk is synced before it replaces one that is durable',
    file: 'chunkstore/commit.ts',
    from: '      await syncFile(files, fd, chunk.path)\n',
    to: '',
  },
  'moved-copy': {
    what: 'a copy has its name for good before the first file goes',
    file: 'chunkstore/commit.ts',
    from: '    await syncNames(this.#files, [part])\n',
    to: '',
  },
  'moved-names': {
    what: 'names are synced at the end of a commit',
    file: 'chunkstore/commit.ts',
    from: `    await syncNames(this.#files, parent.parts)
    await syncNames(this.#files, child.parts)
`,
    to: '',
  },
  'flattened-names': {
    what: 'copies have their names before the parent is taken out',
    file: 'chunkstore/flatten.ts',
    from: '    await syncNames(files, child.parts)\n',
    to: '',
  },
}
