/** `chunknbd resize`: gives a disk another size, also while it is served. */
import path from 'node:path'
import { Command } from 'commander'
import { ChunkDisk } from '../chunkstore/disk.ts'
import { DiskError } from '../chunkstore/disk-error.ts'
import { type PathEntry, PathMap } from '../chunkstore/path-map.ts'
import type { ResizeResult } from '../chunkstore/resize.ts'
import { createNodeIo } from '../io/node.ts'
import { blocksArgument, mapPathOption, type PartArgument, partArgument } from './arguments.ts'
import { askServer } from './control-client.ts'
import { humanSize, printJson, printLine } from './output.ts'
import type { ResizeRequest } from './resize-request.ts'

interface Options {
  readonly size?: number
  readonly discardTail?: boolean
  readonly part?: readonly PartArgument[]
  readonly mapPath?: readonly PathEntry[]
  readonly json?: boolean
}

const EXAMPLES = `
A disk that is served is resized by its server, as the same user. Connections made afterwards see
the new size. Those that are there keep the old one: reconnect to use what is new; what a smaller
disk has lost they are refused. Make a file system smaller before the disk, larger after it.

A disk gets smaller only if nothing but zeros is cut off, or with --discard-tail. After a crash it
has the old size or the new one. Until something new is written behind the old end, and unless
data was discarded, resizing back undoes it.

A disk with a parent, or one that others stand on, keeps its size: flatten it, or them, first. Only
children whose descriptors are beside it are found; look after others yourself.

Examples:
  chunknbd resize disk.chunkdisk --size 20G
  chunknbd resize disk.chunkdisk --size 1T --part /ssd/a:1000 --part /hdd/new
  chunknbd resize disk.chunkdisk --size 5G --discard-tail`

export function resizeCommand(): Command {
  return new Command('resize')
    .description('Make a disk larger or smaller, also while it is served.')
    .argument('<FILE>', 'the descriptor of the disk')
    .option('--size <SIZE>', 'the new size, a multiple of 4K', blocksArgument)
    .option('--discard-tail', 'cut the end off even if there is data')
    .option(
      '--part <DIR[:MAX_CHUNKS]>',
      'add a directory, or give one another number of chunks; repeat it for more',
      partArgument,
    )
    .addOption(mapPathOption())
    .option('--json', 'print what was done as JSON')
    .addHelpText('after', EXAMPLES)
    .action(resize)
}

interface Resized {
  /** Of the server that did it, or null. */
  readonly process: number | null
  readonly result: ResizeResult
}

async function resize(file: string, options: Options, command: Command): Promise<void> {
  if (options.size === undefined)
    command.error('error: give the new size of the disk (--size SIZE)')
  const request: ResizeRequest = {
    command: 'resize',
    size: options.size,
    discardTail: options.discardTail === true,
    parts: (options.part ?? []).map(({ directory, chunksMax }) => ({
      directory: path.resolve(directory),
      isRelative: !path.isAbsolute(directory),
      chunksMax,
    })),
  }
  const paths = new PathMap(options.mapPath ?? [])
  const { process: server, result } = await resizeAnywhere(file, request, paths)
  const { sizeBefore, size, leftovers } = result
  for (const each of leftovers) {
    const what = `${each} is no part of the disk any more, but cannot be removed`
    process.stderr.write(`chunknbd: ${what}; "chunknbd check --repair" moves it aside\n`)
  }
  if (options.json === true) return printJson({ ...result, file, server })
  const sizes =
    size === sizeBefore ? humanSize(size) : `${humanSize(sizeBefore)} -> ${humanSize(size)}`
  const what = size === sizeBefore ? 'unchanged' : 'resized'
  const hint = size === sizeBefore ? '' : ': reconnect to see it'
  const by = server === null ? '' : ` (by its server, process ${server}${hint})`
  printLine(`${what} ${file}: ${sizes}${by}`)
}

/** By the server that serves it; else here. */
async function resizeAnywhere(
  file: string,
  request: ResizeRequest,
  paths: PathMap,
): Promise<Resized> {
  try {
    const answer = await askServer(file, request)
    if (answer !== null) return { ...answer, result: answer.result as ResizeResult }
  } catch (error) {
    // No such file, for one: opening it tells better what is wrong.
    if ((error as NodeJS.ErrnoException).syscall === undefined) throw error
  }
  const disk = await ChunkDisk.open(createNodeIo().files, file, { paths }).catch((error: Error) => {
    if (!(error instanceof DiskError) || error.code !== 'EINUSE') throw error
    throw new DiskError('EINUSE', `${error.message} (it cannot resize the disk)`)
  })
  try {
    return { process: null, result: await disk.resize(request) }
  } finally {
    await disk.close()
  }
}
