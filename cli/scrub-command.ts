/** `chunknbd scrub`: reads a disk and holds its data to the checksums. */
import { Command, InvalidArgumentError } from 'commander'
import { type PathEntry, PathMap } from '../chunkstore/path-map.ts'
import { rebuildSums } from '../chunkstore/rebuild-sums.ts'
import { scrubDisk, type ScrubFinding, type ScrubReport } from '../chunkstore/scrub.ts'
import { createNodeIo } from '../io/node.ts'
import { mapPathOption, sizeArgument } from './arguments.ts'
import { humanSize, printJson, printLine } from './output.ts'

interface Options {
  readonly rate?: number
  readonly cached?: boolean
  readonly rebuild?: boolean
  readonly mapPath?: readonly PathEntry[]
  readonly json?: boolean
}

const EXAMPLES = `
Reads all data of the disk and of its parents, past the kernel's cache where that is possible, and
prints a line for each run of damaged pages: the chunk file, where in it, where that is on the
disk. Changes nothing. The disk may be served meanwhile; it must be on this machine. Exits with 0
if nothing is damaged, 1 if something is, 2 on wrong usage.

What is being written to just then is looked at again later; what has no checksums yet, because
writes to it were not flushed or a crash left it so, is counted as unknown.

To mend what is damaged write it anew: a page that is overwritten has a new checksum. --rebuild
takes all data as it is and makes new checksums for it. The disk must not be served then.

Examples:
  chunknbd scrub disk.chunkdisk
  chunknbd scrub disk.chunkdisk --rate 20M
  chunknbd scrub disk.chunkdisk --rebuild`

export function scrubCommand(): Command {
  return new Command('scrub')
    .description('Verify the checksums of a disk and its parents, also while it is served.')
    .argument('<FILE>', 'the descriptor of the disk')
    .option(
      '--rate <SIZE>',
      'bytes a second, 0: no limit (default: 64M if the disk is served, else no limit)',
      rateArgument,
    )
    .option('--cached', 'read what the kernel has in memory, not what is on the disk')
    .option('--rebuild', 'believe the data: make all checksums of the disk anew')
    .addOption(mapPathOption())
    .option('--json', 'print what was found as JSON')
    .addHelpText('after', EXAMPLES)
    .action(scrub)
}

function rateArgument(text: string): number {
  const rate = sizeArgument(text)
  if (rate === 0 || rate >= 4096) return rate
  throw new InvalidArgumentError('It must be 0 or at least 4K.')
}

async function scrub(file: string, options: Options, command: Command): Promise<void> {
  const { json = false, cached = false, rate = null } = options
  const paths = new PathMap(options.mapPath ?? [])
  if (options.rebuild === true) {
    if (cached || rate !== null) command.error('error: --rebuild goes without --rate and --cached')
    return rebuild(file, paths, json)
  }
  const onFinding = json ? () => {} : printFinding
  const { files } = createNodeIo()
  const report = await scrubDisk(files, file, { paths, rate, isDirect: !cached, onFinding })
  if (report.findings.length > 0) process.exitCode = 1
  if (json) printJson({ file, ok: report.findings.length === 0, ...report })
  else printSummary(file, report)
}

function printFinding({ file, position, length, offset, disk, message }: ScrubFinding): void {
  const where = `${length} bytes at ${position} (at ${offset} of ${disk})`
  printLine(`${file}: ${where}: ${message}`)
}

function printSummary(file: string, { layers, findings }: ScrubReport): void {
  const sum = (of: 'verifiedBytes' | 'unknownBytes'): number =>
    layers.reduce((total, layer) => total + layer[of], 0)
  const bad = findings.reduce((total, { length }) => total + length, 0)
  const words = [bad > 0 ? `${humanSize(bad)} damaged` : 'ok']
  words.push(`${humanSize(sum('verifiedBytes'))} verified`)
  if (sum('unknownBytes') > 0) words.push(`${humanSize(sum('unknownBytes'))} unknown`)
  const without = layers.filter((layer) => !layer.hasChecksums).map(({ disk }) => disk)
  if (without.length > 0) words.push(`without checksums: ${without.join(', ')}`)
  printLine(`${file}: ${words.join(', ')}`)
}

function say(fields: object, message: string): void {
  process.stderr.write(`chunknbd: ${message}: ${JSON.stringify(fields)}\n`)
}

async function rebuild(file: string, paths: PathMap, json: boolean): Promise<void> {
  const log = { info: () => {}, warn: say, error: say }
  const { left } = await rebuildSums(createNodeIo().files, file, paths, log)
  if (left > 0) process.exitCode = 1
  if (json) return printJson({ file, ok: left === 0, left })
  const what = left === 0 ? 'ok, all checksums are new' : `${left} regions cannot be read`
  printLine(`${file}: ${what}`)
}
