/** What a disk consists of, read from its files without a lock: the numbers behind `info`. */
import path from 'node:path'
import type { DirectoryAbilities, Files } from '../io/io.ts'
import { ChainMode, closeChain, openChain } from './chain.ts'
import { ChunkState } from './chunk.ts'
import { type Layer, stateOf } from './layer.ts'
import type { ChecksumKind } from './options.ts'
import type { Part, PartContents } from './part.ts'
import { PathMap } from './path-map.ts'

export interface PartSurvey {
  readonly directory: string
  readonly chunksMax: number
  readonly chunkFiles: number
  readonly allocatedBytes: number
  /** What its file system can do, or null: it cannot be tried (no right to write). */
  readonly abilities: DirectoryAbilities | null
}

export interface LayerSurvey {
  readonly file: string
  readonly checksums: ChecksumKind
  readonly parts: readonly PartSurvey[]
  readonly chunks: {
    readonly absent: number
    readonly empty: number
    readonly full: number
    readonly damaged: number
  }
  readonly allocatedBytes: number
}

export interface Survey {
  readonly diskSize: number
  readonly chunkSize: number
  readonly chunkCount: number
  /** The disk itself first, then its parents. */
  readonly layers: readonly LayerSurvey[]
}

/** @throws DiskError if the chain cannot be opened */
export async function surveyDisk(
  files: Files,
  file: string,
  paths = PathMap.NONE,
): Promise<Survey> {
  const layers = await openChain(files, path.resolve(file), ChainMode.LOOK, paths)
  try {
    const surveys: LayerSurvey[] = []
    for (const layer of layers) surveys.push(await surveyLayer(files, layer))
    const { diskSize, chunkSize, chunkCount } = layers[0].descriptor.geometry
    return { diskSize, chunkSize, chunkCount, layers: surveys }
  } finally {
    await closeChain(files, layers)
  }
}

async function surveyLayer(files: Files, layer: Layer): Promise<LayerSurvey> {
  const { chunkSize, chunkCount } = layer.descriptor.geometry
  const contents = await layer.scan(files)
  const states = contents.flatMap((each) => each.chunks.map((found) => stateOf(found, chunkSize)))
  const count = (state: ChunkState): number => states.filter((each) => each === state).length
  const parts: PartSurvey[] = []
  for (const [index, part] of layer.parts.entries()) {
    parts.push(await surveyPart(files, part, contents[index]))
  }
  return {
    file: layer.descriptor.file,
    checksums: layer.descriptor.checksums,
    parts,
    chunks: {
      absent: chunkCount - states.length,
      empty: count(ChunkState.EMPTY),
      full: count(ChunkState.FULL),
      damaged: count(ChunkState.DAMAGED),
    },
    allocatedBytes: parts.reduce((sum, part) => sum + part.allocatedBytes, 0),
  }
}

async function surveyPart(files: Files, part: Part, contents: PartContents): Promise<PartSurvey> {
  return {
    directory: part.directory,
    chunksMax: part.chunksMax,
    chunkFiles: contents.chunks.length,
    allocatedBytes: contents.chunks.reduce((sum, chunk) => sum + chunk.allocated, 0),
    abilities: await files.abilities(part.directory).catch(() => null),
  }
}
