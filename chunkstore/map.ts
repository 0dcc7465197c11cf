/** The allocation map of a disk, read from its files without a lock: what `map` prints. */
import path from 'node:path'
import fs from 'node:fs'
import { type Files, Seek } from '../io/io.ts'
import { AwaitedOperation } from './awaited-operation.ts'
import { ChainMode, closeChain, openChain } from './chain.ts'
import { type Chunk, ChunkState } from './chunk.ts'
import type { Layer } from './layer.ts'
import { PathMap } from './path-map.ts'

export const MapKind = {
  /** Bytes in a chunk file. */
  DATA: 'data',
  /** No layer has a chunk: reads as zeros. */
  HOLE: 'hole',
  /** A layer says zeros: an empty chunk, or a hole in a chunk file. */
  ZERO: 'zero',
} as const
export type MapKind = (typeof MapKind)[keyof typeof MapKind]

export interface MapExtent {
  readonly offset: number
  readonly length: number
  readonly kind: MapKind
  /** Which layer decides: 0 is the disk itself, 1 its parent; null for a hole. */
  readonly depth: number | null
  /** Descriptor of that layer. */
  readonly layer: string | null
}

/** Yields extents in ascending order that cover the whole disk; neighbours differ. */
export async function* mapDisk(
  files: Files,
  file: string,
  paths = PathMap.NONE,
): AsyncGenerator<MapExtent> {
  const layers = await openChain(files, path.resolve(file), ChainMode.LOOK, paths)
  try {
    for (const layer of layers) await layer.scan(files)
    yield* merge(pieces(files, layers))
  } finally {
    await closeChain(files, layers)
  }
}

async function* merge(extents: AsyncGenerator<MapExtent>): AsyncGenerator<MapExtent> {
  let last = null as MapExtent | null
  for await (const extent of extents) {
    if (extent.length === 0) continue
    if (last !== null && last.kind === extent.kind && last.depth === extent.depth) {
      last = { ...last, length: last.length + extent.length }
      continue
    }
    if (last !== null) yield last
    last = extent
  }
  if (last !== null) yield last
}

async function* pieces(files: Files, layers: readonly Layer[]): AsyncGenerator<MapExtent> {
  const { geometry } = layers[0].descriptor
  const present = new Set(layers.flatMap((layer) => [...layer.chunks.keys()]))
  let at = 0
  for (const index of [...present].sort((a, b) => a - b)) {
    const start = geometry.startOf(index)
    yield hole(at, start - at)
    const depth = layers.findIndex((layer) => layer.chunks.has(index))
    const chunk = layers[depth].chunks.get(index)
    const layer = layers[depth].descriptor.file
    const used = geometry.usedSizeOf(index)
    for await (const [from, to, kind] of chunkRuns(files, chunk, used)) {
      yield { offset: start + from, length: to - from, kind, depth, layer }
    }
    at = start + used
  }
  yield hole(at, geometry.diskSize - at)
}

function hole(offset: number, length: number): MapExtent {
  return { offset, length, kind: MapKind.HOLE, depth: null, layer: null }
}

async function* chunkRuns(
  files: Files,
  chunk: Chunk | undefined,
  size: number,
): AsyncGenerator<[number, number, MapKind]> {
  if (chunk === undefined || chunk.state !== ChunkState.FULL) {
    const isData = chunk?.state === ChunkState.DAMAGED
    yield [0, size, isData ? MapKind.DATA : MapKind.ZERO]
    return
  }
  const operation = new AwaitedOperation()
  operation.fd = await files.open(chunk.path, fs.constants.O_RDONLY)
  try {
    for (let at = 0; at < size;) {
      operation.position = at
      const found = await operation.run((each) => files.seek(each, Seek.DATA))
      // ENXIO: no data any more. Any other error: this file system cannot tell, all is data.
      const data = found >= 0 ? Math.min(found, size) : found === -6 ? size : at
      yield [at, data, MapKind.ZERO]
      operation.position = data
      const after = data < size ? await operation.run((each) => files.seek(each, Seek.HOLE)) : size
      at = after >= 0 ? Math.min(after, size) : size
      yield [data, at, MapKind.DATA]
    }
  } finally {
    await files.close(operation.fd)
  }
}
