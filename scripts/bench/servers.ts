/**
 * Who is measured: the floors, the peers found on this machine, and our own server in its variants.
 * A table of how each is started; starting is done by running-server.ts.
 */
import { closeSync, ftruncateSync, openSync, writeFileSync } from 'node:fs'
import { basename, join } from 'node:path'
import type { Programs } from './programs.ts'
import type { ServerDescription } from './results.ts'
import type { Workspace } from './workspace.ts'

/** Where a server keeps its data, and where it listens. */
export interface Place {
  readonly directory: string
  readonly socket: string
  readonly diskBytes: number
}

export interface ServerKind extends ServerDescription {
  readonly exportName: string
  /** Whether it can be told to go past the kernel's page cache. */
  readonly servesCold: boolean
  /** Whether it leaves the foreground, and writes its id to `pid` in its directory. */
  readonly isDaemon: boolean
  prepare(place: Place): Promise<void> | void
  /** @param isCold past every cache; only if `servesCold` */
  command(place: Place, isCold: boolean): readonly string[]
}

export interface Found {
  readonly kinds: readonly ServerKind[]
  /** One sentence for each that is missing. */
  readonly skipped: readonly string[]
}

/** Ratios are ratios to this one. */
export const REFERENCE = 'nbdkit'

/** Another build of ours: `--also NAME=MAIN.js`. */
export interface OurBuild {
  readonly name: string
  /** Path of its dist/cli/main.js. */
  readonly main: string
}

/** @param selected names, or beginnings of names, of servers; none selects all */
export async function findServers(
  workspace: Workspace,
  programs: Programs,
  builds: readonly OurBuild[],
  selected: readonly string[],
): Promise<Found> {
  const isWanted = ({ name }: { readonly name: string }): boolean =>
    selected.length === 0 || selected.some((each) => name.startsWith(each))
  const kinds = [floor(programs), fileFloor(programs)].filter(isWanted)
  const skipped: string[] = []
  for (const { versionArgument, ...peer } of PEERS.filter(isWanted)) {
    const version = await readVersion(workspace, peer.name, versionArgument)
    if (version === null) skipped.push(`${peer.name}: it is not installed.`)
    else kinds.push({ ...peer, version })
  }
  for (const build of builds) kinds.push(...(await ours(workspace, build)).filter(isWanted))
  return { kinds, skipped }
}

function floor(programs: Programs): ServerKind {
  return {
    name: 'floor',
    title: 'floor (no storage)',
    version: 'scripts/bench/floor.c',
    isOurs: false,
    exportName: '',
    servesCold: false,
    isDaemon: false,
    prepare: () => {},
    command: ({ socket, diskBytes }) => [programs.floor, socket, String(diskBytes)],
  }
}

/** The same on a file: what one thread can do with the page cache of the kernel. */
function fileFloor(programs: Programs): ServerKind {
  return {
    ...floor(programs),
    name: 'file-floor',
    title: 'floor on a file',
    prepare: createRawFile,
    command: (place) => [programs.floor, place.socket, String(place.diskBytes), rawFile(place)],
  }
}

type Peer = Omit<ServerKind, 'version'> & { readonly versionArgument: string }

/** Their names are those of their programs. */
const PEERS: readonly Peer[] = [
  {
    name: REFERENCE,
    title: 'nbdkit file',
    versionArgument: '--version',
    isOurs: false,
    exportName: '',
    servesCold: false,
    isDaemon: false,
    prepare: createRawFile,
    command: (place) => {
      const listen = ['--unix', place.socket]
      return ['nbdkit', '--foreground', '--exit-with-parent', ...listen, 'file', rawFile(place)]
    },
  },
  {
    name: 'qemu-nbd',
    title: 'qemu-nbd io_uring',
    versionArgument: '--version',
    isOurs: false,
    exportName: '',
    servesCold: true,
    isDaemon: false,
    prepare: createRawFile,
    command: (place, isCold) => {
      const listen = ['--persistent', '--shared=16', `--socket=${place.socket}`]
      const access = ['--aio=io_uring', `--cache=${isCold ? 'none' : 'writeback'}`]
      return ['qemu-nbd', ...listen, ...access, '--format=raw', rawFile(place)]
    },
  },
  {
    name: 'nbd-server',
    title: 'nbd-server',
    versionArgument: '-V',
    isOurs: false,
    exportName: 'disk',
    servesCold: false,
    isDaemon: true,
    prepare: (place) => {
      createRawFile(place)
      const lines = ['[generic]', `unixsock = ${place.socket}`, '[disk]']
      lines.push(`exportname = ${rawFile(place)}`, 'flush = true', '')
      writeFileSync(configFile(place), lines.join('\n'))
    },
    command: (place) => ['nbd-server', '-C', configFile(place), '-p', pidFile(place)],
  },
]

/** One for each engine that `serve --help` knows, or a single one if it knows no engines. */
async function ours(workspace: Workspace, build: OurBuild): Promise<ServerKind[]> {
  const node = process.execPath
  const help = await workspace.run(node, [build.main, 'serve', '--help'])
  const version = (await workspace.run(node, [build.main, '--version'])).trim()
  const engines = listChoices(help, '--engine').filter((engine) => engine !== 'auto')
  const servesCold = listChoices(help, '--cache').includes('none')
  return (engines.length === 0 ? [null] : engines).map((engine) => ({
    name: engine === null ? build.name : `${build.name}-${engine}`,
    title: engine === null ? build.name : `${build.name} ${engine}`,
    version,
    isOurs: true,
    exportName: '',
    servesCold,
    isDaemon: false,
    prepare: async ({ directory, diskBytes }) => {
      const file = join(directory, 'disk.chunkdisk')
      await workspace.run(node, [build.main, 'create', file, '--size', String(diskBytes)])
    },
    command: ({ directory, socket }, isCold) => {
      const listen = ['--listen', `nbd+unix:///?socket=${socket}`, '--log-level', 'warn']
      const chosen = engine === null ? [] : ['--engine', engine]
      const cache = isCold ? ['--cache', 'none', '--page-cache', '0'] : []
      const file = join(directory, 'disk.chunkdisk')
      return [node, build.main, 'serve', file, ...listen, ...chosen, ...cache]
    },
  }))
}

/** From an option to its choices, but not into the next option's. */
const CHOICES = /^ \S+ <\w+>(?:(?! --\w).)*?\(choices: ((?:"[^"]*"(?:, )?)+)/

/** @returns the choices of an option in a help text; none if there is no such option */
export function listChoices(help: string, option: string): string[] {
  const joined = help.replaceAll(/\s+/g, ' ')
  const start = joined.indexOf(` ${option} `)
  if (start < 0) return []
  const match = CHOICES.exec(joined.slice(start))
  return match === null ? [] : [...match[1].matchAll(/"([^"]*)"/g)].map((choice) => choice[1])
}

async function readVersion(
  workspace: Workspace,
  program: string,
  argument: string,
): Promise<string | null> {
  try {
    const { stdout, stderr } = await workspace.attempt(program, [argument])
    return /\d+(?:\.\d+)+/.exec(stdout + stderr)?.[0] ?? basename(program)
  } catch {
    return null
  }
}

/** Sparse at first; it is filled through the server, as every other disk is. */
function createRawFile(place: Place): void {
  const fd = openSync(rawFile(place), 'wx')
  ftruncateSync(fd, place.diskBytes)
  closeSync(fd)
}

function rawFile({ directory }: Place): string {
  return join(directory, 'disk.img')
}

function configFile({ directory }: Place): string {
  return join(directory, 'config')
}

export function pidFile({ directory }: Place): string {
  return join(directory, 'pid')
}
