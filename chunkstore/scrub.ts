/**
 * Reads all data of a disk and of its parents and holds it to its checksums: `chunknbd scrub`.
 * Takes no lock and changes nothing; the disk may be served meanwhile.
 */
import path from 'node:path'
import { type Files, LockKind } from '../io/io.ts'
import { ChainMode, closeChain, openChain } from './chain.ts'
import { LayerScrubber } from './checksums/layer-scrubber.ts'
import { Pace } from './checksums/pace.ts'
import { DiskError } from './disk-error.ts'
import { SCRUB_RETURNS_MAX, SCRUB_SERVED_RATE } from './limits.ts'
import { ChecksumKind } from './options.ts'
import { Part } from './part.ts'
import { PathMap } from './path-map.ts'

export interface ScrubFinding {
  /** The chunk file. */
  readonly file: string
  /** Descriptor of the disk of the chain that has it: the disk itself, or a parent. */
  readonly disk: string
  /** Bytes from the start of the chunk file, and how many are damaged from there. */
  readonly position: number
  readonly length: number
  /** Where that is on the disk, as clients see it. */
  readonly offset: number
  readonly message: string
}

export interface LayerScrub {
  readonly disk: string
  /** False: it was left out. */
  readonly hasChecksums: boolean
  readonly verifiedBytes: number
  /** Being written to all the time, or left by a crash: nobody knows the sums. */
  readonly unknownBytes: number
}

export interface ScrubReport {
  /** A server writes to the disk. */
  readonly isServed: boolean
  readonly layers: readonly LayerScrub[]
  readonly findings: readonly ScrubFinding[]
}

export interface ScrubOptions {
  readonly paths: PathMap
  /** Bytes a second; 0: no limit; null: as is usual for a disk that is served, or is not. */
  readonly rate: number | null
  /** Reads past the kernel's memory, where that is possible. */
  readonly isDirect: boolean
  /** How often to come back to what is being written. */
  readonly returns: number
  /** Told of what is damaged as it is found. */
  readonly onFinding: (finding: ScrubFinding) => void
}

const DEFAULTS: ScrubOptions = {
  paths: PathMap.NONE,
  rate: null,
  isDirect: true,
  returns: SCRUB_RETURNS_MAX,
  onFinding: () => {},
}

/** @throws DiskError if the chain cannot be opened, or has no checksums at all */
export async function scrubDisk(
  files: Files,
  file: string,
  options: Partial<ScrubOptions> = {},
): Promise<ScrubReport> {
  const all = { ...DEFAULTS, ...options }
  const layers = await openChain(files, path.resolve(file), ChainMode.LOOK, all.paths)
  try {
    if (layers.every(({ descriptor }) => descriptor.checksums === ChecksumKind.NONE)) {
      const fix = 'make disks with "create --checksums crc32c"'
      throw new DiskError('EDESCRIPTOR', `${file} has no checksums: ${fix}`)
    }
    const isServed = await hasWriter(files, layers[0].parts[0])
    const pace = new Pace(all.rate ?? (isServed ? SCRUB_SERVED_RATE : 0))
    const findings: ScrubFinding[] = []
    const found = (finding: ScrubFinding): void => {
      findings.push(finding)
      all.onFinding(finding)
    }
    const reports: LayerScrub[] = []
    for (const [depth, layer] of layers.entries()) {
      const scrubber = new LayerScrubber(files, layer, { pace, isDirect: all.isDirect, found })
      // Nobody writes to a parent: what is left there, a crash has left.
      reports.push(await scrubber.run(isServed && depth === 0 ? all.returns : 0))
    }
    return { isServed, layers: reports, findings }
  } finally {
    await closeChain(files, layers)
  }
}

/** On a descriptor of its own: a lock is held no longer than this takes. */
async function hasWriter(files: Files, { directory, chunksMax }: Part): Promise<boolean> {
  const part = new Part(directory, chunksMax)
  await part.open(files)
  try {
    return !(await files.lock(part.fd, LockKind.SHARED).catch(() => true))
  } finally {
    await part.close(files)
  }
}
