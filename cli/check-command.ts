/** `chunknbd check`: holds a disk's files to the rules of the layout. */
import { Command } from 'commander'
import { checkDisk } from '../chunkstore/check.ts'
import { createNodeIo } from '../io/node.ts'
import { printJson, printLine } from './output.ts'

const EXAMPLES = `
Prints a line for each finding and exits with 1 if there is one. Changes nothing.

Examples:
  chunknbd check disk.chunkdisk
  chunknbd check disk.chunkdisk --json`

export function checkCommand(): Command {
  return new Command('check')
    .description('Check descriptor, directories and chunk files of a disk and its parents.')
    .argument('<FILE>', 'the descriptor of the disk')
    .option('--json', 'print the findings as JSON')
    .addHelpText('after', EXAMPLES)
    .action(check)
}

async function check(file: string, options: { readonly json?: boolean }): Promise<void> {
  const findings = await checkDisk(createNodeIo().files, file)
  if (options.json === true) printJson({ file, ok: findings.length === 0, findings })
  else if (findings.length === 0) printLine(`${file}: ok`)
  else for (const each of findings) printLine(`${each.file}: ${each.rule}: ${each.message}`)
  if (findings.length > 0) process.exitCode = 1
}
