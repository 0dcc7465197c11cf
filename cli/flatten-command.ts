/** `chunknbd flatten`: makes a disk independent of its parents. */
import { Command } from 'commander'
import { flattenDisk } from '../chunkstore/flatten.ts'
import { type PathEntry, PathMap } from '../chunkstore/path-map.ts'
import { createNodeIo } from '../io/node.ts'
import { mapPathOption } from './arguments.ts'
import { printJson, printLine } from './output.ts'

const EXAMPLES = `
Copies what shows through from the parents into the disk's own parts, then takes the parent out of
its descriptor. Nobody may be serving FILE. The parents are only read, others may read them too.

Whatever interrupts it, FILE reads the same before, meanwhile and after; run it again to finish.

Examples:
  chunknbd flatten child.chunkdisk
  chunknbd flatten child.chunkdisk --json`

interface Options {
  readonly mapPath?: readonly PathEntry[]
  readonly json?: boolean
}

export function flattenCommand(): Command {
  return new Command('flatten')
    .description('Make a disk independent of its parents.')
    .argument('<FILE>', 'the descriptor of the disk')
    .addOption(mapPathOption())
    .option('--json', 'print what was done as JSON')
    .addHelpText('after', EXAMPLES)
    .action(flatten)
}

async function flatten(file: string, options: Options): Promise<void> {
  const paths = new PathMap(options.mapPath ?? [])
  const result = await flattenDisk(createNodeIo().files, file, paths)
  if (options.json === true) return printJson(result)
  printLine(`flattened ${file}: ${result.copied} chunks copied, no parent any more`)
}
