/** `chunknbd create`: makes a disk. */
import { Command, Option } from 'commander'
import { createDisk } from '../chunkstore/create.ts'
import { ChecksumKind } from '../chunkstore/options.ts'
import { type PathEntry, PathMap } from '../chunkstore/path-map.ts'
import { createNodeIo } from '../io/node.ts'
import { blocksArgument, mapPathOption, type PartArgument, partArgument } from './arguments.ts'
import { humanSize, printJson, printLine } from './output.ts'

interface Options {
  readonly size?: number
  readonly chunkSize?: number
  readonly part?: readonly PartArgument[]
  readonly parent?: string
  readonly compatible?: boolean
  readonly mapPath?: readonly PathEntry[]
  readonly checksums?: ChecksumKind
  readonly json?: boolean
}

const EXAMPLES = `
Without --part there is one part, the directory NAME.chunks beside the descriptor.

chunkdisk 1.6 on Windows reads a descriptor made with --compatible and --map-path: the paths in it
are those that Windows sees. Give the same --map-path when you use the disk here.

Examples:
  chunknbd create disk.chunkdisk --size 10G
  chunknbd create disk.chunkdisk --size 1T --chunk-size 256M --part /ssd/a:1000 --part /hdd/b
  chunknbd create child.chunkdisk --parent base.chunkdisk
  chunknbd create /mnt/d/new.chunkdisk --size 10G --compatible --map-path 'D:\\=/mnt/d'`

export function createCommand(): Command {
  return new Command('create')
    .description('Make a disk: a descriptor FILE and the directories for its chunk files.')
    .argument('<FILE.chunkdisk>', 'the descriptor to make; nothing is overwritten')
    .option(
      '--size <SIZE>',
      "size of the disk, a multiple of 4K (default: the parent's)",
      blocksArgument,
    )
    .option(
      '--chunk-size <SIZE>',
      "size of a chunk (default: the parent's, or 64M)",
      blocksArgument,
    )
    .option(
      '--part <DIR[:MAX_CHUNKS]>',
      'a directory for chunk files and how many it takes; repeat it for more, filled in order',
      partArgument,
    )
    .option('--parent <FILE>', 'descriptor of the disk that shows through where this has no data')
    .option('--compatible', 'write absolute paths, as chunkdisk needs them (see below)')
    .addOption(mapPathOption())
    .addOption(
      new Option(
        '--checksums <KIND>',
        "of every 4 KiB, verified at each read (default: as the parent's, or none)",
      ).choices(Object.values(ChecksumKind)),
    )
    .option('--json', 'print what was made as JSON')
    .addHelpText('after', EXAMPLES)
    .action(create)
}

async function create(file: string, options: Options, command: Command): Promise<void> {
  if (options.size === undefined && options.parent === undefined) {
    command.error('error: give the size of the disk (--size SIZE), or a parent (--parent FILE)')
  }
  const { files } = createNodeIo()
  const { geometry, parts, ...made } = await createDisk(files, {
    file,
    diskSize: options.size ?? null,
    chunkSize: options.chunkSize ?? null,
    parts: options.part ?? [],
    parent: options.parent ?? null,
    compatible: options.compatible === true,
    paths: new PathMap(options.mapPath ?? []),
    checksums: options.checksums ?? null,
  })
  if (options.json === true) {
    const { diskSize, chunkSize, chunkCount } = geometry
    const shown = parts.map(({ directory, chunksMax }) => ({ directory, chunksMax }))
    printJson({
      file: made.file,
      diskSize,
      chunkSize,
      chunkCount,
      parts: shown,
      parent: made.parent,
    })
    return
  }
  const size = humanSize(geometry.diskSize)
  const chunks = `${geometry.chunkCount} chunks of ${humanSize(geometry.chunkSize)}`
  printLine(`created ${file}: ${size} in ${chunks}`)
}
