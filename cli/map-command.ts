/** `chunknbd map`: where a disk has data, and which layer it comes from. */
import { Command } from 'commander'
import { type MapExtent, mapDisk } from '../chunkstore/map.ts'
import { type PathEntry, PathMap } from '../chunkstore/path-map.ts'
import { createNodeIo } from '../io/node.ts'
import { mapPathOption } from './arguments.ts'
import { printColumns, printLine } from './output.ts'

const EXAMPLES = `
Kinds: data (bytes in a chunk file), zero (a layer says zeros: an empty chunk, or a hole inside
a chunk file), hole (no layer has a chunk). Depth 0 is the disk itself, 1 its parent.

Examples:
  chunknbd map disk.chunkdisk
  chunknbd map disk.chunkdisk --json | jq '[.[] | select(.kind == "data").length] | add'`

interface Options {
  readonly mapPath?: readonly PathEntry[]
  readonly json?: boolean
}

export function mapCommand(): Command {
  return new Command('map')
    .description('Print the allocation map of a disk.')
    .argument('<FILE>', 'the descriptor of the disk')
    .addOption(mapPathOption())
    .option('--json', 'print the map as JSON')
    .addHelpText('after', EXAMPLES)
    .action(map)
}

async function map(file: string, options: Options): Promise<void> {
  const extents = mapDisk(createNodeIo().files, file, new PathMap(options.mapPath ?? []))
  if (options.json === true) return printArray(extents)
  const rows = [['OFFSET', 'LENGTH', 'KIND', 'DEPTH', 'LAYER']]
  for await (const { offset, length, kind, depth, layer } of extents) {
    rows.push([String(offset), String(length), kind, String(depth ?? '-'), layer ?? '-'])
  }
  printColumns(rows)
}

/** An extent a line, so that a long map is written as it is found. */
async function printArray(extents: AsyncIterable<MapExtent>): Promise<void> {
  let before = '['
  for await (const extent of extents) {
    printLine(before)
    process.stdout.write('  ' + JSON.stringify(extent))
    before = ','
  }
  printLine(before === '[' ? '[]' : '\n]')
}
