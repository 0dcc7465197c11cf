/** `chunknbd commit`: merges a disk into its parent. */
import { Command } from 'commander'
import { commitDisk } from '../chunkstore/commit.ts'
import { type PathEntry, PathMap } from '../chunkstore/path-map.ts'
import { createNodeIo } from '../io/node.ts'
import { mapPathOption } from './arguments.ts'
import { printJson, printLine } from './output.ts'

const EXAMPLES = `
The disk's chunk files replace those of its parent: renamed where that is possible, else copied.
Nobody may be serving either disk. FILE stays and reads as before; it is a child without chunks
then. Other disks that stand on the parent would read other data: those found beside FILE or the
parent are a reason to refuse, those elsewhere are yours to know.

Whatever interrupts it, FILE reads the same before, meanwhile and after; run it again to finish.

Examples:
  chunknbd commit child.chunkdisk
  chunknbd commit child.chunkdisk && rm -r child.chunkdisk child.chunks`

interface Options {
  readonly breakSiblings?: boolean
  readonly mapPath?: readonly PathEntry[]
  readonly json?: boolean
}

export function commitCommand(): Command {
  return new Command('commit')
    .description('Merge a disk into its parent.')
    .argument('<FILE>', 'the descriptor of the disk')
    .option('--break-siblings', 'go on although other disks stand on the parent')
    .addOption(mapPathOption())
    .option('--json', 'print what was done as JSON')
    .addHelpText('after', EXAMPLES)
    .action(commit)
}

async function commit(file: string, options: Options): Promise<void> {
  const { files } = createNodeIo()
  const result = await commitDisk(files, file, {
    breakSiblings: options.breakSiblings === true,
    paths: new PathMap(options.mapPath ?? []),
  })
  if (options.json === true) return printJson(result)
  const { moved, copied, parent } = result
  printLine(`committed ${file} to ${parent}: ${moved} chunks moved, ${copied} copied`)
}
