/** `chunknbd info`: what a disk consists of, or what a running server offers. */
import { Command } from 'commander'
import { ChecksumKind } from '../chunkstore/options.ts'
import { type PathEntry, PathMap } from '../chunkstore/path-map.ts'
import { type LayerSurvey, type Survey, surveyDisk } from '../chunkstore/survey.ts'
import type { DirectoryAbilities, Io } from '../io/io.ts'
import { createIo } from '../io/engine.ts'
import { NbdClient } from '../nbd/client.ts'
import type { ExportInfo } from '../nbd/client-replies.ts'
import { formatUri, type NbdUri } from '../nbd/uri.ts'
import { fileOrUriArgument, mapPathOption, PAGE_CACHE_BYTES } from './arguments.ts'
import { humanSize, printColumns, printJson, printLine } from './output.ts'

const EXAMPLES = `
Examples:
  chunknbd info disk.chunkdisk
  chunknbd info nbd://127.0.0.1:10809/disk --json
  chunknbd info 'nbd+unix:///disk?socket=/run/disk.sock'
  chunknbd info nbds://server.example/disk --tls-certificates ~/.pki/libnbd
  chunknbd info 'nbds://alice@server.example/disk?tls-psk-file=keys.psk'`

interface Options {
  readonly mapPath?: readonly PathEntry[]
  readonly json?: boolean
  readonly tlsCertificates?: string
  readonly tlsPsk?: string
}

export function infoCommand(): Command {
  return new Command('info')
    .description('Describe a disk (FILE), or what a server offers (URI).')
    .argument('<FILE|URI>', 'descriptor of a disk, or an NBD URI', fileOrUriArgument)
    .addOption(mapPathOption())
    .option('--json', 'print it as JSON')
    .option('--tls-certificates <DIR>', 'ca-cert.pem, client-cert.pem, client-key.pem for nbds://')
    .option('--tls-psk <FILE>', 'pre-shared keys for nbds://USER@HOST')
    .addHelpText('after', EXAMPLES)
    .action(info)
}

async function info(what: string | NbdUri, options: Options, command: Command): Promise<void> {
  const uri = typeof what === 'string' ? null : what
  const { tlsCertificates, tlsPsk } = options
  if (tlsCertificates !== undefined && tlsPsk !== undefined) {
    command.error('error: give --tls-certificates or --tls-psk, not both')
  }
  if ((uri?.tls ?? null) === null && (tlsCertificates ?? tlsPsk) !== undefined) {
    command.error('error: --tls-certificates and --tls-psk are for nbds:// and nbds+unix://')
  }
  if (typeof what !== 'string') return uriInfo(withTls(what, options), options.json === true)
  const { io, reason } = createIo()
  const survey = await surveyDisk(io.files, what, new PathMap(options.mapPath ?? []))
  const features = featuresOf(io, reason, survey)
  if (options.json === true) printJson({ ...survey, features })
  else printSurvey(survey, features)
}

interface Features {
  /** Engine that `serve` would use. */
  readonly engine: string
  /** Why this one. */
  readonly engineReason: string
  /** Null: it cannot be tried, the part directories cannot be written. */
  readonly holePunching: boolean | null
  readonly zeroRange: boolean | null
  /** O_DIRECT, for the cache modes none and directsync. */
  readonly direct: boolean | null
  /** Why not, if `direct` is false. */
  readonly directRefusal: string
  readonly sparseMaps: boolean
  /** What `serve` takes unless it is told otherwise. */
  readonly pageCache: string
  /** Why the system calls are missing, if they are. */
  readonly reason: string
}

function featuresOf(io: Io, engineReason: string, survey: Survey): Features {
  const parts = survey.layers[0].parts
  const all = (ability: keyof DirectoryAbilities): boolean | null => {
    if (parts.some((part) => part.abilities === null)) return null
    return parts.every((part) => part.abilities?.[ability] === true)
  }
  return {
    engine: io.name,
    engineReason,
    holePunching: all('punchHole'),
    zeroRange: all('zeroRange'),
    direct: all('direct'),
    directRefusal: parts.map((part) => part.abilities?.directRefusal).find(Boolean) ?? '',
    sparseMaps: io.features.systemCalls,
    pageCache: humanSize(PAGE_CACHE_BYTES),
    reason: io.features.reason,
  }
}

function printSurvey(survey: Survey, features: Features): void {
  const { diskSize, chunkSize, chunkCount, layers } = survey
  const [top] = layers
  printColumns([
    ['file', top.file],
    ['size', `${humanSize(diskSize)} (${diskSize} bytes)`],
    ['chunks', `${chunkCount} of ${humanSize(chunkSize)}`],
    ['present', chunkCounts(top)],
    ['allocated', `${humanSize(top.allocatedBytes)} (${top.allocatedBytes} bytes)`],
    ['engine', `${features.engine} (${features.engineReason})`],
    ['holes', punchText(features)],
    ['O_DIRECT', directText(features)],
    ['page cache', features.pageCache],
    ...(top.checksums === ChecksumKind.NONE ? [] : [['checksums', checksumsText(top)]]),
  ])
  for (const [depth, layer] of layers.entries()) {
    printLine('')
    printLine(
      depth === 0
        ? 'parts'
        : `parent ${depth}: ${layer.file} (${chunkCounts(layer)}${withSums(layer)})`,
    )
    const rows = layer.parts.map((part) => [
      `  ${part.directory}`,
      `${part.chunkFiles} of at most ${part.chunksMax} chunks`,
      `${humanSize(part.allocatedBytes)} allocated`,
    ])
    printColumns(rows)
  }
}

function chunkCounts({ chunks }: LayerSurvey): string {
  const { absent, empty, full, damaged } = chunks
  const bad = damaged > 0 ? `, ${damaged} damaged` : ''
  return `${full} full, ${empty} empty, ${absent} absent${bad}`
}

function withSums({ checksums }: LayerSurvey): string {
  return checksums === ChecksumKind.NONE ? '' : `, checksums ${checksums}`
}

function checksumsText({ checksums }: LayerSurvey): string {
  return `${checksums}, verified at each read`
}

function punchText(features: Features): string {
  if (features.holePunching === null) return 'unknown (a part directory cannot be written)'
  if (features.holePunching) return 'punched inside chunk files'
  const why = features.reason === '' ? 'the file system refuses' : features.reason
  return `only whole chunks are freed (${why})`
}

function directText({ direct, directRefusal }: Features): string {
  if (direct === null) return 'unknown (a part directory cannot be written)'
  return direct ? 'can be used (serve --cache none)' : directRefusal
}

/** What the options say counts more than what the URI says. */
function withTls(uri: NbdUri, { tlsCertificates, tlsPsk }: Options): NbdUri {
  const { tls } = uri
  if (tls === null || (tlsCertificates ?? tlsPsk) === undefined) return uri
  const certificates = tlsCertificates ?? null
  return { ...uri, tls: { ...tls, certificates, keyFile: tlsPsk ?? null } }
}

async function uriInfo(uri: NbdUri, json: boolean): Promise<void> {
  const client = await NbdClient.connect(uri)
  let found: ExportInfo
  try {
    found = await client.info()
  } finally {
    await client.close()
  }
  const text = formatUri(uri.address, uri.exportName, uri.tls)
  if (json) printJson({ uri: text, ...found })
  else printExport(text, found)
}

function printExport(uri: string, found: ExportInfo): void {
  const flags = Object.entries(found.flags).filter(([, set]) => set === true)
  const { blockSizes, size } = found
  printColumns([
    ['uri', uri],
    ['name', found.canonicalName],
    ['description', found.description],
    ['size', `${humanSize(size)} (${size} bytes)`],
    ['flags', flags.map(([name]) => name).join(' ')],
    ['block size', blockSizes === null ? 'not told' : Object.values(blockSizes).join(' / ')],
    ['contexts', found.contexts.join(' ') || 'none'],
  ])
}
