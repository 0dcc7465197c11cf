/**
 * Many hostile streams, all by one seed. Guided by what is seen: a stream that shows something new
 * (a reply to an option after another, a command with these flags and this error, an end) is kept,
 * and more are made of it.
 */
import { readdirSync, readFileSync } from 'node:fs'
import { join } from 'node:path'
import { Random } from '../helpers/random.ts'
import { Arena } from './arena.ts'
import { type ClientStream, formatStream, parseStream, spoken } from './client-stream.ts'
import { Mutator } from './mutator.ts'
import type { Settings } from './naive-handshake.ts'

const CORPUS = join(import.meta.dirname, 'corpus')
const KEPT_MAX = 4000
/** A longer stream is not kept: what it shows a short one will. */
const KEPT_BYTES_MAX = 16_384
/** An arena is left after so many streams: what piles up in a server shows before. */
const STREAMS_PER_ARENA = 5000

export interface Found {
  /** Number of the stream, from 0. */
  readonly index: number
  readonly error: Error
  /** As in the corpus; what `replay` takes. */
  readonly text: string
}

export interface Report {
  readonly streams: number
  /** Different things that were seen. */
  readonly features: number
  readonly found: Found | null
}

export interface CampaignOptions {
  /** Called now and then. */
  readonly progress?: (done: number, features: number) => void
  /** The device changes a byte now and then: there is something to find. */
  readonly isFaulty?: boolean
}

export function readCorpus(): ClientStream[] {
  const names = readdirSync(CORPUS).filter((name) => name.endsWith('.txt'))
  return names.toSorted().map((name) => parseStream(readFileSync(join(CORPUS, name), 'utf8')))
}

/** Ends with the first stream that shows something wrong. */
export async function campaign(
  seed: number,
  streams: number,
  { progress = () => {}, isFaulty = false }: CampaignOptions = {},
): Promise<Report> {
  const kept = readCorpus()
  const corpusSize = kept.length
  const seen = new Set<string>()
  const arenas = new Arenas(isFaulty)
  for (let index = 0; index < streams; index++) {
    const random = new Random(mixed(seed, index))
    if (index % STREAMS_PER_ARENA === 0) arenas.leave()
    // The corpus as it is comes first.
    const stream = index < corpusSize ? kept[index] : new Mutator(random, kept).next()
    const tls = tlsFor(stream, random)
    const error = await attempt(arenas, tls, stream, mixed(seed, -1 - index), (feature) => {
      if (seen.has(feature)) return
      seen.add(feature)
      const isNew = index >= corpusSize && kept.at(-1) !== stream
      if (isNew && kept.length < KEPT_MAX && bytesOf(stream) <= KEPT_BYTES_MAX) kept.push(stream)
    })
    if (error !== null) {
      const head = `# tls ${tls} seed ${mixed(seed, -1 - index)}\n`
      const found = { index, error, text: head + formatStream(stream) }
      return { streams: index + 1, features: seen.size, found }
    }
    if ((index + 1) % 1000 === 0) progress(index + 1, seen.size)
  }
  return { streams, features: seen.size, found: null }
}

/** Runs the text of a found stream again, in a fresh arena. @returns what is wrong, or null */
export async function replay(text: string, isFaulty = false): Promise<Error | null> {
  const [, tls = 'off', seed = '0'] = /^# tls (\w+) seed (\d+)/.exec(text) ?? []
  return attempt(
    new Arenas(isFaulty),
    tls as Settings['tls'],
    parseStream(text),
    Number(seed),
    () => {},
  )
}

async function attempt(
  arenas: Arenas,
  tls: Settings['tls'],
  stream: ClientStream,
  seed: number,
  onFeature: (feature: string) => void,
): Promise<Error | null> {
  try {
    const arena = await arenas.of(tls)
    for (const feature of arena.run(spoken(stream), new Random(seed)))
      onFeature(`${tls} ${feature}`)
    return null
  } catch (error) {
    return error as Error
  }
}

function bytesOf({ messages }: ClientStream): number {
  return messages.reduce((sum, { bytes }) => sum + bytes.length, 0)
}

/** Streams that ask for TLS mostly meet a server that has it. */
function tlsFor({ tlsAt }: ClientStream, random: Random): Settings['tls'] {
  if (tlsAt < 0) return random.chance(0.9) ? 'off' : random.pick(['on', 'require'] as const)
  return random.pick(['on', 'on', 'require', 'require', 'off'] as const)
}

function mixed(seed: number, index: number): number {
  return Math.imul(Math.imul(seed ^ 0x9e3779b9, 0x85ebca6b) ^ index, 0xc2b2ae35) >>> 0
}

/** One for each mode of TLS. */
class Arenas {
  readonly #open = new Map<string, Arena>()
  readonly #isFaulty: boolean

  constructor(isFaulty: boolean) {
    this.#isFaulty = isFaulty
  }

  async of(tls: Settings['tls']): Promise<Arena> {
    const open = this.#open.get(tls) ?? (await Arena.open(tls, this.#isFaulty))
    this.#open.set(tls, open)
    return open
  }

  leave(): void {
    for (const arena of this.#open.values()) arena.close()
    this.#open.clear()
  }
}
