/** `chunknbd check`: holds a disk's files to the rules of the layout, and mends what is safe. */
import { Command } from 'commander'
import { checkDisk } from '../chunkstore/check.ts'
import { MendOutcome, repairDisk } from '../chunkstore/repair.ts'
import type { RepairOptions } from '../chunkstore/repair-plan.ts'
import { type PathEntry, PathMap } from '../chunkstore/path-map.ts'
import { createNodeIo } from '../io/node.ts'
import { mapPathOption } from './arguments.ts'
import { printJson, printLine } from './output.ts'

interface Options extends Partial<Omit<RepairOptions, 'paths'>> {
  readonly mapPath?: readonly PathEntry[]
  readonly repair?: boolean
  readonly json?: boolean
}

const EXAMPLES = `
Prints a line for each finding. Exits with 0 if all is well, 1 if something is wrong (with
--repair: still wrong after it), 2 on wrong usage. Without --repair nothing is changed.

--repair mends what cannot lose data, and says for the rest what you can do:
  stale-temporary   removed: a crash left it, it holds nothing that is not elsewhere
  duplicate-chunk   moved aside if it holds nothing that the other file does not: an empty one
                    older than the full one, the same bytes, the beginning of an unfinished copy
  orphan            moved aside: a chunk, or its checksums, beyond the end of the disk
  part              a directory that is missing is made with --create-parts, unless a part that
                    is filled after it holds chunks: most often it is only not mounted
  foreign-lock      chunkdisk's ".lock", that of another machine, or of a disk that was served for
                    reading stops every repair; --remove-foreign-lock removes it
  stale-lock        removed: a ".lock" that a server of this machine left behind
  empty-chunk       removed with --remove-empty, if the disk has no parent: empty or absent, a chunk
                    is zeros; but an empty file no longer counts for its part's number, nor says
                    where the chunk will be
Files go to the directory ".chunknbd-aside" of their part and overwrite nothing there; when you
have looked at them, delete them. The disk must not be served. Parents are never touched. It may
be interrupted at any time and run again.

Examples:
  chunknbd check disk.chunkdisk
  chunknbd check disk.chunkdisk --json
  chunknbd check disk.chunkdisk --repair --dry-run`

export function checkCommand(): Command {
  return new Command('check')
    .description('Check descriptor, directories and chunk files of a disk and its parents.')
    .argument('<FILE>', 'the descriptor of the disk')
    .option('--repair', 'mend what is safe to mend')
    .option('--dry-run', 'with --repair: only say what would be done')
    .option('--create-parts', 'with --repair: make part directories that are missing')
    .option('--prefer-full', 'with --repair: a full chunk wins over an empty one that is newer')
    .option('--remove-foreign-lock', 'with --repair: remove lock files of others')
    .option('--remove-empty', 'with --repair: remove empty chunk files of a disk without a parent')
    .addOption(mapPathOption())
    .option('--json', 'print the findings as JSON')
    .addHelpText('after', EXAMPLES)
    .action(check)
}

const REPAIR_OPTIONS = {
  dryRun: '--dry-run',
  createParts: '--create-parts',
  preferFull: '--prefer-full',
  removeForeignLock: '--remove-foreign-lock',
  removeEmpty: '--remove-empty',
} as const

async function check(file: string, options: Options, command: Command): Promise<void> {
  if (options.repair === true) return repair(file, options)
  for (const [name, written] of Object.entries(REPAIR_OPTIONS)) {
    if (options[name as keyof typeof REPAIR_OPTIONS] === true) {
      command.error(`error: ${written} goes with --repair`)
    }
  }
  const paths = new PathMap(options.mapPath ?? [])
  const findings = await checkDisk(createNodeIo().files, file, { paths })
  if (options.json === true) printJson({ file, ok: findings.length === 0, findings })
  else if (findings.length === 0) printLine(`${file}: ok`)
  else for (const each of findings) printLine(`${each.file}: ${each.rule}: ${each.message}`)
  if (findings.length > 0) process.exitCode = 1
}

async function repair(file: string, options: Options): Promise<void> {
  const paths = new PathMap(options.mapPath ?? [])
  const { mends, findings } = await repairDisk(createNodeIo().files, file, { ...options, paths })
  const dryRun = options.dryRun === true
  const count = (outcome: MendOutcome): number =>
    mends.filter((mend) => mend.outcome === outcome).length
  const left = findings.length + count(MendOutcome.PLANNED)
  const ok = left === 0 && count(MendOutcome.FAILED) === 0
  if (!ok) process.exitCode = 1
  if (options.json === true) return printJson({ file, ok, dryRun, mends, findings })
  for (const { file: where, rule, outcome, message } of mends) {
    printLine(`${where}: ${rule}: ${outcome}: ${message}`)
  }
  for (const { file: where, rule, message, advice } of findings) {
    printLine(`${where}: ${rule}: ${message}\n  ${advice}`)
  }
  const done = dryRun
    ? `${count(MendOutcome.PLANNED)} can be mended`
    : `${count(MendOutcome.MENDED)} mended`
  const failed = count(MendOutcome.FAILED)
  const rest = [`${failed} failed`, `${findings.length} need you`].filter(
    (each) => !each.startsWith('0'),
  )
  printLine(`${file}: ${[ok ? 'ok' : 'not ok', done, ...rest].join(', ')}`)
}
